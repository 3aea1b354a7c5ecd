// SPDX-License-Identifier: Apache-2.0
// From a record to an event and its recipients: the Kafka binding's two modes, plain JSON by pointers, and who shall get it.
#include "runtime/recipients.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace doorstep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A record that owns what a record_view points to.
struct owned_record {
  std::optional<std::string> key;
  std::vector<header> headers;
  std::optional<std::string> value;
  unix_ms timestamp{1795255200123};
  std::uint32_t generation = 0;

  result<routed_event> route(const source_config& source) const {
    std::vector<header_view> views;
    for (const auto& x : headers) views.push_back({x.name, x.value});
    return route_record({"orders", 3, 42, key, views, value, timestamp, generation}, source);
  }
};

owned_record structured(const std::string& more, std::optional<std::string> key = std::nullopt) {
  return {std::move(key),
          {{"Content-Type", "application/cloudevents+json; charset=UTF-8"}},
          R"({"specversion":"1.0","id":"7","source":"/s","type":"t")" + more + "}"};
}

owned_record binary(std::optional<std::string> value, std::vector<header> more = {}) {
  owned_record out{std::nullopt,
                   {{"ce_specversion", "1.0"}, {"ce_id", "7"}, {"ce_source", "/s"}, {"ce_type", "t"}, {"content-type", "application/json"}},
                   std::move(value)};
  for (auto& x : more) out.headers.push_back(std::move(x));
  return out;
}

source_config cloudevents(std::string pointer = {}, bool by_key = true) {
  source_config out;
  out.recipient_pointer = std::move(pointer);
  out.recipient_key = by_key;
  return out;
}

source_config plain(std::string recipient_pointer = {}) {
  source_config out = cloudevents(std::move(recipient_pointer));
  out.format = "json";
  return out;
}

std::vector<std::string> ids(const std::vector<address>& to) {
  std::vector<std::string> out;
  for (const auto& x : to) out.emplace_back(x.id());
  return out;
}

std::vector<std::string> ids(const result<routed_event>& x) { return x ? ids(x->to) : std::vector<std::string>{"failed: " + to_string(x.error())}; }

void expect_malformed(const result<routed_event>& x, const std::string& field, const std::string& what) {
  ASSERT_FALSE(x) << what;
  EXPECT_EQ(x.error().code, ec::malformed) << what;
  EXPECT_EQ(x.error().field, field) << what << ": " << x.error().detail;
  EXPECT_FALSE(x.error().detail.empty()) << what;
}

TEST(route_record, reads_both_modes_of_the_kafka_binding) {
  const auto one = structured(R"(,"touser":"alice","data":{"n":1})").route(cloudevents());
  const auto two = binary(R"({"n":1})", {{"ce_touser", "alice"}}).route(cloudevents());
  ASSERT_TRUE(one) << one.error().detail;
  ASSERT_TRUE(two) << two.error().detail;
  EXPECT_EQ(one->what->data, R"({"n":1})");
  EXPECT_EQ(two->what->data, R"({"n":1})");
  EXPECT_EQ(two->what->data_content_type, "application/json");
  EXPECT_THAT(ids(one), ElementsAre("alice"));
  EXPECT_THAT(ids(two), ElementsAre("alice"));
  EXPECT_EQ(binary(std::nullopt, {{"ce_touser", "a"}}).route(cloudevents())->what->data, "");
}

TEST(route_record, touser_names_one_or_several_and_nobody_twice) {
  const struct {
    std::string touser;
    std::vector<std::string> to;
  } table[] = {
      {"alice", {"alice"}},           {"alice,bob", {"alice", "bob"}},  {" alice , bob,alice ", {"alice", "bob"}},
      {"user:alice", {"user:alice"}}, {"alice smith", {"alice smith"}}, {R"(["alice","a,b", 7 ,"alice"])", {"alice", "a,b", "7"}},
      {R"(["\u00e9"])", {"\u00e9"}},  {"\U0001F98A", {"\U0001F98A"}},   {"[]", {}},
  };
  for (const auto& [touser, to] : table) {
    EXPECT_EQ(ids(binary("{}", {{"ce_touser", touser}}).route(cloudevents())), to) << touser;
    EXPECT_EQ(ids(binary("{}", {{"ToUser", touser}}).route(cloudevents())), to) << touser;
    owned_record record{std::nullopt, {{"touser", touser}}, "{}"};
    EXPECT_EQ(ids(record.route(plain())), to) << touser;
  }
  EXPECT_THAT(ids(structured(R"(,"touser":["alice",42])").route(cloudevents())), ElementsAre("alice", "42"));
  EXPECT_THAT(ids(structured(R"(,"touser":42)").route(cloudevents())), ElementsAre("42"));
}

TEST(route_record, a_bad_touser_is_malformed_and_never_falls_back) {
  for (const std::string bad :
       {" ", ",", "alice,", "alice,,bob", "[", "[\"a\"", "[\"a\"] x", "[[\"a\"]]", "[null]", "[true]", "[1.5]", "[\"\"]", "a\xff", "a\tb"}) {
    auto record = binary("{}", {{"touser", bad}});
    record.key = "carol";
    expect_malformed(record.route(cloudevents()), "touser", bad);
  }
  expect_malformed(binary("{}", {{"touser", std::string(513, 'x')}}).route(cloudevents()), "touser", "too long");
}

TEST(route_record, a_pointer_finds_recipients_where_touser_does_not) {
  const struct {
    std::string pointer, data;
    std::vector<std::string> to;
  } table[] = {
      {"/user", R"({"user":"alice"})", {"alice"}},
      {"/user/id", R"({"user":{"name":"x","id":42}})", {"42"}},
      {"/users", R"({"users":["alice",7,"alice"]})", {"alice", "7"}},
      {"/users/1", R"({"users":["alice","bob"]})", {"bob"}},
      {"/a~1b/m~0n", R"({"a/b":{"m~n":"alice"}})", {"alice"}},
      {"/", R"({"":"alice"})", {"alice"}},
      {"/\u00e9", R"({"\u00e9":"alice"})", {"alice"}},
      {"/user", R"({"user":"x","user":"last"})", {"last"}},
      {"/user", R"({"a":"}\"{","user":"al\"ice"})", {"al\"ice"}},
      // nothing there: the key
      {"/user", R"({"users":1})", {"key"}},
      {"/user", R"({"user":null})", {"key"}},
      {"/user", R"({"user":[]})", {"key"}},
      {"/user/id", R"({"user":"text"})", {"key"}},
      {"/users/2", R"({"users":["alice","bob"]})", {"key"}},
      {"/users/01", R"({"users":["alice","bob"]})", {"key"}},
      {"/users/-", R"({"users":["alice"]})", {"key"}},
  };
  for (const auto& [pointer, data, to] : table) {
    EXPECT_EQ(ids(structured(",\"data\":" + data, "key").route(cloudevents(pointer))), to) << pointer << data;
    owned_record record{"key", {}, data};
    EXPECT_EQ(ids(record.route(plain(pointer))), to) << pointer << data;
  }
  EXPECT_THAT(ids(structured(R"(,"touser":"bob","data":{"user":"alice"})", "key").route(cloudevents("/user"))), ElementsAre("bob"));
  for (const std::string bad : {"true", "{}", "1.5", "[{}]", "\"\"", "\"a\\u0000\"", "[[1]]"}) {
    expect_malformed(structured(",\"data\":{\"user\":" + bad + "}", "key").route(cloudevents("/user")), "/user", bad);
  }
}

TEST(route_record, the_key_is_last_and_can_be_switched_off) {
  EXPECT_THAT(ids(structured("", "alice").route(cloudevents())), ElementsAre("alice"));
  EXPECT_THAT(ids(structured("", "a,b").route(cloudevents())), ElementsAre("a,b"));
  EXPECT_THAT(ids(structured("", "").route(cloudevents())), IsEmpty());
  EXPECT_THAT(ids(structured("").route(cloudevents())), IsEmpty());
  EXPECT_THAT(ids(structured("", "alice").route(cloudevents({}, false))), IsEmpty());
  expect_malformed(structured("", "\xff\xfe").route(cloudevents()), "key", "a binary key");
}

TEST(route_record, plain_json_falls_back_to_what_the_record_says_of_itself) {
  owned_record record{"alice", {}, " {\"total\":\n12}"};
  const auto x = record.route(plain());
  ASSERT_TRUE(x) << x.error().detail;
  EXPECT_EQ(x->what->id, "orders/3/42");
  EXPECT_EQ(x->what->source, "kafka:orders");
  EXPECT_EQ(x->what->type, "doorstep.record");
  EXPECT_EQ(x->what->time, "2026-11-21T10:00:00.123Z");
  EXPECT_EQ(x->what->subject, "");
  EXPECT_EQ(x->what->data, "{\"total\": 12}");
  EXPECT_TRUE(event_from_json(to_json(*x->what)));
  record.generation = 2;  // the topic was made anew: the same offset is another record
  EXPECT_EQ(record.route(plain())->what->id, "orders/3/42");
  EXPECT_EQ(record.route(plain())->what->source, "kafka:orders#2");
}

TEST(route_record, plain_json_takes_its_attributes_by_pointer) {
  auto source = plain("/meta/to");
  source.id_pointer = "/meta/id";
  source.type_pointer = "/kind";
  source.time_pointer = "/at";
  source.subject_pointer = "/about";
  source.data_pointer = "/payload";
  owned_record record{"key", {}, R"({"meta":{"id":7,"to":"bob"},"kind":"order.paid","at":"2026-01-02T03:04:05Z","about":"o-1","payload":{"a":1}})"};
  const auto x = record.route(source);
  ASSERT_TRUE(x) << x.error().detail;
  EXPECT_EQ(x->what->id, "7");
  EXPECT_EQ(x->what->type, "order.paid");
  EXPECT_EQ(x->what->time, "2026-01-02T03:04:05Z");
  EXPECT_EQ(x->what->subject, "o-1");
  EXPECT_EQ(x->what->data, "{\"a\":1}");
  EXPECT_THAT(ids(x), ElementsAre("bob"));
  const struct {
    std::string at, time;
  } times[] = {{"1795255200", "2026-11-21T10:00:00.000Z"},
               {"1795255200123", "2026-11-21T10:00:00.123Z"},
               {"\"yesterday\"", "2026-11-21T10:00:00.123Z"},
               {"1.5", "2026-11-21T10:00:00.123Z"}};
  for (const auto& [at, time] : times) {
    record.value = "{\"at\":" + at + "}";
    EXPECT_EQ(record.route(source)->what->time, time) << at;
  }
  record.value = R"({"meta":{"id":"a\nb"}})";
  expect_malformed(record.route(source), "id", "a control character");
}

TEST(route_record, what_cannot_be_understood_is_malformed_and_says_why) {
  for (const std::string bad : {"", "hello", "{", "{\"a\":1}}", "\xff", "{\"a\":\"\xc3\"}"}) {
    owned_record record{"alice", {}, bad};
    expect_malformed(record.route(plain()), "value", bad);
  }
  expect_malformed(owned_record{"alice", {}, std::nullopt}.route(plain()), "value", "a tombstone");
  expect_malformed(owned_record{"alice", {}, "{}"}.route(cloudevents()), "specversion", "no CloudEvent");
  expect_malformed(owned_record{"alice", {}, std::nullopt}.route(cloudevents()), "specversion", "a tombstone without headers");
  expect_malformed(owned_record{"alice", {{"content-type", "application/cloudevents+json"}}, "nonsense"}.route(cloudevents()), "", "bad JSON");
  expect_malformed(owned_record{"alice", {{"content-type", "application/cloudevents+json"}}, std::nullopt}.route(cloudevents()), "",
                   "a structured tombstone");
  expect_malformed(owned_record{"alice", {{"content-type", "application/cloudevents+avro"}}, "x"}.route(cloudevents()), "content-type", "Avro");
  expect_malformed(owned_record{"alice", {{"content-type", "application/cloudevents-batch+json"}}, "[]"}.route(cloudevents()), "content-type",
                   "a batch");
  expect_malformed(binary("{oops").route(cloudevents()), "data", "bad data");
}

TEST(route_record, binary_data_has_no_json_for_the_pointer) {
  auto record = binary("\xff\xfe");
  record.headers[4].value = "image/png";
  record.key = "alice";
  const auto x = record.route(cloudevents("/user"));
  ASSERT_TRUE(x) << x.error().detail;
  EXPECT_TRUE(x->what->data_is_base64);
  EXPECT_THAT(ids(x), ElementsAre("alice"));
}

TEST(recipients_of, asks_for_touser) {
  event x;
  const auto none = recipients_of(x);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().field, "touser");
  EXPECT_THAT(none.error().detail, HasSubstr("missing"));
  x.extensions = {{"touser", "[]"}};
  EXPECT_FALSE(recipients_of(x));
  x.extensions = {{"touser", "alice,\x01"}};
  EXPECT_EQ(recipients_of(x).error().field, "touser");
  x.extensions = {{"touser", "bob,alice,bob"}};
  EXPECT_THAT(ids(*recipients_of(x)), ElementsAre("bob", "alice"));
}

}  // namespace
}  // namespace doorstep
