// SPDX-License-Identifier: Apache-2.0
// Log entries as Kafka records: what is written is read back, what is newer stops, what is foreign is named.
#include "storage/log_record.hpp"

#include "tests/support/engines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace doorstep::test {
namespace {

source_record as_read(const encoded_record& x) {
  source_record out;
  out.key = x.key;
  out.value = x.value;
  for (const auto& y : x.headers) out.headers.push_back({y.name, y.value});
  out.own();
  return out;
}

encoded_record written(const log_entry& x) { return encode_log_record({x}); }
result<log_record> decoded(const encoded_record& x) { return decode_log_record(as_read(x)); }

std::string& header_of(encoded_record& x, const std::string& name) {
  return std::find_if(x.headers.begin(), x.headers.end(), [&](const header& y) { return y.name == name; })->value;
}

log_entry entry_with_everything() {
  const auto from = std::make_shared<const origin_partition>(origin_partition{"my orders", 7, "shop.orders", 3});
  auto out = entry_from(from, 41, 40, "alice");
  out.requeue = 2;
  out.terms = std::make_shared<const delivery_terms>(delivery_terms{delivery_terms::ordering::strict, "cart", milliseconds{5}, {}, 3});
  return out;
}

TEST(log_record, what_is_written_is_read_back) {
  const auto entry = entry_with_everything();
  const auto read = decoded(written(entry)).value();
  EXPECT_EQ(read.entry.to, entry.to);
  EXPECT_EQ(read.entry.id, entry.id);
  EXPECT_EQ(read.entry.appended, entry.appended);
  EXPECT_EQ(read.entry.requeue, 2u);
  EXPECT_EQ(*read.entry.came_from.from, *entry.came_from.from);
  EXPECT_EQ(read.entry.came_from.offset, 41);
  EXPECT_EQ(read.entry.came_from.floor, 40);
  EXPECT_EQ(to_json(*read.entry.what), to_json(*entry.what));
  ASSERT_TRUE(read.entry.terms);
  EXPECT_EQ(read.entry.terms->key, "cart");
  EXPECT_EQ(read.entry.terms->ttl, milliseconds{5});
  EXPECT_TRUE(read.others.empty());
}

TEST(log_record, its_headers_are_those_of_the_documentation) {
  auto x = written(entry_with_everything());
  EXPECT_EQ(x.key, "user:alice");
  EXPECT_EQ(header_of(x, "ds-v"), "1");
  EXPECT_EQ(header_of(x, "ds-address"), "user:alice");
  EXPECT_EQ(header_of(x, "ds-appended"), "1000000");
  EXPECT_EQ(header_of(x, "ds-terms"), R"({"order":"strict","key":"cart","ttl_ms":5,"priority":3})");
  EXPECT_EQ(header_of(x, "ds-origin"), "my%20orders 7 shop.orders 3 41");
  EXPECT_EQ(header_of(x, "ds-floor"), "40");
  EXPECT_EQ(header_of(x, "ds-requeue"), "2");
  EXPECT_EQ(header_of(x, "content-type"), "application/cloudevents+json");
}

TEST(log_record, what_nobody_replays_has_no_origin) {
  const auto x = written(entry_for("bob", "1"));
  for (const auto& y : x.headers) EXPECT_THAT(y.name, testing::AllOf(testing::Ne("ds-origin"), testing::Ne("ds-floor"), testing::Ne("ds-requeue")));
  EXPECT_EQ(decoded(x).value().entry.came_from.from, nullptr);
}

TEST(log_record, a_dead_letter_keeps_its_reason_and_an_event_that_is_none) {
  auto entry = entry_for("x", "orders/3/17");
  entry.to = address::dead_letters();
  entry.reason = dead_reason::no_route;
  entry.detail = "it names nobody: \xc3\xa9";
  auto x = written(entry);
  const auto read = decoded(x).value().entry;
  EXPECT_TRUE(read.to.is_dead_letters());
  EXPECT_EQ(read.reason, dead_reason::no_route);
  EXPECT_EQ(read.detail, entry.detail);
  x.value = "no event at all";
  EXPECT_EQ(decoded(x).value().entry.what->data, "no event at all");
}

TEST(log_record, headers_of_a_later_minor_version_are_kept) {
  auto x = written(entry_for("alice", "1"));
  x.headers.push_back({"ds-colour", "blue"});
  const auto read = decoded(x).value();
  ASSERT_EQ(read.others.size(), 1u);
  const auto again = encode_log_record(read);
  EXPECT_EQ(again.headers.back().name, "ds-colour");
  EXPECT_EQ(again.headers.back().value, "blue");
}

TEST(log_record, a_higher_version_is_not_guessed_at) {
  auto x = written(entry_for("alice", "1"));
  header_of(x, "ds-v") = "2";
  header_of(x, "ds-address") = "what:ever";
  const auto read = decoded(x);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ec::unsupported);
}

TEST(log_record, what_we_did_not_write_is_malformed_and_names_its_header) {
  const auto field_after = [](const std::string& name, const std::string& value) {
    auto x = written(entry_with_everything());
    header_of(x, name) = value;
    const auto read = decoded(x);
    return read ? std::string("nothing") : read.error().field + (read.error().code == ec::malformed ? "" : " with another code");
  };
  EXPECT_EQ(field_after("ds-v", ""), "ds-v");
  EXPECT_EQ(field_after("ds-v", "one"), "ds-v");
  EXPECT_EQ(field_after("ds-address", "nobody"), "ds-address");
  EXPECT_EQ(field_after("ds-id", ""), "ds-id");
  EXPECT_EQ(field_after("ds-appended", "yesterday"), "ds-appended");
  EXPECT_EQ(field_after("ds-requeue", "-1"), "ds-requeue");
  EXPECT_EQ(field_after("ds-floor", ""), "ds-floor");
  for (const char* origin : {"", "a 7 b 3", "a 7 b 3 ", "a x b 3 41", "a%2 7 b 3 41", "a 7 b 3 41 5", " 7 b 3 41"})
    EXPECT_EQ(field_after("ds-origin", origin), "ds-origin") << origin;
  EXPECT_EQ(decode_log_record({}).error().field, "ds-v");
  auto no_event = written(entry_for("alice", "1"));
  no_event.value = "{}";
  EXPECT_EQ(decoded(no_event).error().field, "value");
  auto tombstone = as_read(no_event);
  tombstone.value.reset();
  EXPECT_EQ(decode_log_record(tombstone).error().code, ec::malformed);
}

TEST(log_record, its_size_is_never_less_than_its_parts) {
  const auto x = encode_log_record({entry_with_everything()});
  std::size_t parts = x.key.size() + x.value.size();
  for (const auto& y : x.headers) parts += y.name.size() + y.value.size();
  EXPECT_GT(x.bytes(), parts);
}

}  // namespace
}  // namespace doorstep::test
