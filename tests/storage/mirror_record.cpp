// SPDX-License-Identifier: Apache-2.0
// What consumers of the mirror topic see.
#include "storage/mirror_record.hpp"

#include "tests/support/engines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace doorstep::test {
namespace {

std::map<std::string, std::string> headers_of(const encoded_record& x) {
  std::map<std::string, std::string> out;
  for (const auto& y : x.headers) EXPECT_TRUE(out.emplace(y.name, y.value).second) << y.name << " twice";
  return out;
}

dead_letter letter() {
  dead_letter x;
  x.id = "u1rO2n1TQWqZ0mF4x8k2Wg";
  x.to = user("alice");
  x.reason = dead_reason::nacked;
  x.detail = "cannot render";
  x.source = "shop";
  x.topic = "orders";
  x.partition = 3;
  x.offset = 17;
  x.what = entry_for("alice", "1").what;
  x.first = {1'000};
  x.last = {2'000};
  x.attempts = 4;
  return x;
}

TEST(mirror_record, a_message_is_a_cloud_event_under_its_id_with_everything_else_in_headers) {
  auto x = letter();
  x.requeue = 2;
  const auto record = mirror_record(x);
  EXPECT_EQ(record.key, x.id);
  EXPECT_EQ(event_from_json(record.value).value().id, "1");
  EXPECT_THAT(headers_of(record),
              testing::UnorderedElementsAre(
                  testing::Pair("doorstep-id", x.id), testing::Pair("doorstep-reason", "nacked"), testing::Pair("doorstep-detail", "cannot render"),
                  testing::Pair("doorstep-address", "user:alice"), testing::Pair("doorstep-source", "shop"),
                  testing::Pair("doorstep-topic", "orders"), testing::Pair("doorstep-partition", "3"), testing::Pair("doorstep-offset", "17"),
                  testing::Pair("doorstep-attempts", "4"), testing::Pair("doorstep-first", "1000"), testing::Pair("doorstep-last", "2000"),
                  testing::Pair("doorstep-requeue", "2"), testing::Pair("content-type", "application/cloudevents+json")));
}

TEST(mirror_record, what_came_over_http_names_no_origin) {
  auto x = letter();
  x.offset = -1;
  EXPECT_EQ(headers_of(mirror_record(x)).count("doorstep-topic"), 0u);
}

TEST(mirror_record, a_record_that_nobody_understood_comes_as_it_came) {
  auto x = letter();
  x.to = {};
  event what;
  what.extensions = {{"recordkey", "alice"}, {"valuebytes", "9"}};
  what.data = R"("{\"a\": \n1")";
  x.what = std::make_shared<const event>(what);
  const auto record = mirror_record(x);
  EXPECT_EQ(record.value, "{\"a\": \n1");
  const auto headers = headers_of(record);
  EXPECT_EQ(headers.at("doorstep-record-key"), "alice");
  EXPECT_EQ(headers.count("doorstep-address"), 0u);
  EXPECT_EQ(headers.at("doorstep-value-bytes"), "9") << "eight of nine were kept";

  what.data = R"("/wD+")";
  what.data_is_base64 = true;
  what.extensions = {{"valuebytes", "3"}};
  x.what = std::make_shared<const event>(what);
  EXPECT_EQ(mirror_record(x).value, std::string("\xff\0\xfe", 3));
  EXPECT_EQ(headers_of(mirror_record(x)).count("doorstep-value-bytes"), 0u);
}

TEST(mirror_record, without_its_value_it_says_how_much_there_was) {
  const auto whole = mirror_record(letter());
  const auto rest = without_value(whole);
  EXPECT_EQ(rest.key, whole.key);
  EXPECT_TRUE(rest.value.empty());
  EXPECT_EQ(headers_of(rest).at("doorstep-value-omitted"), std::to_string(whole.value.size()));
}

}  // namespace
}  // namespace doorstep::test
