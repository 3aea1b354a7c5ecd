// SPDX-License-Identifier: Apache-2.0
// CloudEvents 1.0.2 as tables from the specification: core, JSON format, HTTP binding (binary and batched), Kafka binding (binary).
#include "runtime/event.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace doorstep {
namespace {

using std::string_literals::operator""s;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const std::string required = R"("specversion":"1.0","id":"A234","source":"/mycontext","type":"com.example.someevent")";

std::string with(const std::string& members) { return "{" + required + (members.empty() ? "" : ",") + members + "}"; }

void expect_equal(const event& a, const event& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.source, b.source);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.subject, b.subject);
  EXPECT_EQ(a.time, b.time);
  EXPECT_EQ(a.data_content_type, b.data_content_type);
  EXPECT_EQ(a.data_schema, b.data_schema);
  EXPECT_EQ(a.extensions, b.extensions);
  EXPECT_EQ(a.data, b.data);
  EXPECT_EQ(a.data_is_base64, b.data_is_base64);
}

void expect_malformed(const result<event>& x, const std::string& field, const std::string& what) {
  ASSERT_FALSE(x) << what;
  EXPECT_EQ(x.error().code, ec::malformed) << what;
  EXPECT_EQ(x.error().field, field) << what << ": " << x.error().detail;
  EXPECT_FALSE(x.error().detail.empty()) << what;
}

TEST(event_json, reads_the_example_of_the_specification) {
  const auto x = event_from_json(R"({
      "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null, "id" : "C234-1234-1234",
      "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5, "unsetextension": null,
      "datacontenttype" : "application/json", "dataschema" : "https://example.com/s#1",
      "data" : { "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true } })");
  ASSERT_TRUE(x);
  EXPECT_EQ(x->id, "C234-1234-1234");
  EXPECT_EQ(x->source, "/mycontext");
  EXPECT_EQ(x->type, "com.example.someevent");
  EXPECT_EQ(x->subject, "");
  EXPECT_EQ(x->time, "2018-04-05T17:31:00Z");
  EXPECT_EQ(x->data_content_type, "application/json");
  EXPECT_EQ(x->data_schema, "https://example.com/s#1");
  EXPECT_THAT(x->extensions, ElementsAre(Pair("comexampleextension1", "value"), Pair("comexampleothervalue", "5")));
  EXPECT_EQ(x->data, R"({ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true })");
  EXPECT_EQ(x->extension("comexampleextension1"), "value");
  EXPECT_EQ(x->extension("other"), "");
}

TEST(event_json, data_is_the_producers_text_on_one_line) {
  const struct {
    std::string written, kept;
  } table[] = {
      {"1e400", "1e400"},
      {"12345678901234567890123", "12345678901234567890123"},
      {R"("a\u00e9\/")", R"("a\u00e9\/")"},
      {"null", "null"},
      {"false", "false"},
      {"\"\"", "\"\""},
      {"[1,  2 ]", "[1,  2 ]"},
      {"{\"b\":1,\"a\":2,\"b\":3}", "{\"b\":1,\"a\":2,\"b\":3}"},
      {"{\n\t\"a\": 1\r\n}", "{ \t\"a\": 1  }"},
      {R"({"a":"]}\"\\"})", R"({"a":"]}\"\\"})"},
  };
  for (const auto& [written, kept] : table) {
    const auto x = event_from_json(with("\"data\": " + written + " "));
    ASSERT_TRUE(x) << written << x.error().detail;
    EXPECT_EQ(x->data, kept);
  }
  EXPECT_EQ(event_from_json(with(""))->data, "");
}

TEST(event_json, data_base64_is_binary_and_other_types_are_strings) {
  const auto binary = event_from_json(with(R"("data_base64":"AB\/+","datacontenttype":"image/png")"));
  ASSERT_TRUE(binary);
  EXPECT_TRUE(binary->data_is_base64);
  EXPECT_EQ(binary->data, "\"AB/+\"");
  const auto text = event_from_json(with(R"("datacontenttype":"text/xml","data":"<much wow=\"xml\"/>")"));
  ASSERT_TRUE(text);
  EXPECT_FALSE(text->data_is_base64);
  EXPECT_EQ(text->data, R"("<much wow=\"xml\"/>")");
}

TEST(event_json, bad_input_names_its_field) {
  const struct {
    std::string text, field;
  } table[] = {
      {"", ""},
      {"{", ""},
      {"nonsense", ""},
      {"[]", ""},
      {"\"x\"", ""},
      {with("") + "x", ""},
      {"{\"id\":\"\xff\"}", ""},
      {R"({"id":"\ud800"})", ""},
      {std::string(1000, '[') + std::string(1000, ']'), ""},
      {R"({"id":"1","source":"/s","type":"t"})", "specversion"},
      {R"({"specversion":"0.3","id":"1","source":"/s","type":"t"})", "specversion"},
      {R"({"specversion":1.0,"id":"1","source":"/s","type":"t"})", "specversion"},
      {R"({"specversion":"1.0","source":"/s","type":"t"})", "id"},
      {R"({"specversion":"1.0","id":null,"source":"/s","type":"t"})", "id"},
      {R"({"specversion":"1.0","id":"","source":"/s","type":"t"})", "id"},
      {R"({"specversion":"1.0","id":"1","type":"t"})", "source"},
      {R"({"specversion":"1.0","id":"1","source":"","type":"t"})", "source"},
      {R"({"specversion":"1.0","id":"1","source":"a b","type":"t"})", "source"},
      {R"({"specversion":"1.0","id":"1","source":"/a%zz","type":"t"})", "source"},
      {R"({"specversion":"1.0","id":"1","source":"/s"})", "type"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":""})", "type"},
      {R"({"specversion":"1.0","id":"1","source":"/s","type":["t"]})", "type"},
      {with(R"("id":"again")"), "id"},
      {with(R"("specversion":"1.0")"), "specversion"},
      {with(R"("ext":"a","ext":"b")"), "ext"},
      {with(R"("subject":"")"), "subject"},
      {with(R"("subject":"a\u0000b")"), "subject"},
      {with(R"("subject":"a\u0085b")"), "subject"},
      {with(R"("subject":"\uffff")"), "subject"},
      {with(R"("dataschema":"")"), "dataschema"},
      {with(R"("dataschema":"/relative")"), "dataschema"},
      {with(R"("datacontenttype":"json")"), "datacontenttype"},
      {with(R"("datacontenttype":"/json")"), "datacontenttype"},
      {with(R"("Ext":"upper")"), "Ext"},
      {with(R"("my_ext":"a")"), "my_ext"},
      {with(R"("my-ext":"a")"), "my-ext"},
      {with(R"("":"a")"), ""},
      {with(R"("ext":1.5)"), "ext"},
      {with(R"("ext":{})"), "ext"},
      {with(R"("ext":["a"])"), "ext"},
      {with(R"("data":1,"data":2)"), "data"},
      {with(R"("data":1,"data_base64":"AAAA")"), "data_base64"},
      {with(R"("data_base64":"A")"), "data_base64"},
      {with(R"("data_base64":"-_-_")"), "data_base64"},
      {with(R"("data_base64":7)"), "data_base64"},
  };
  for (const auto& [text, field] : table) expect_malformed(event_from_json(text), field, text);
}

TEST(event_json, times_are_rfc_3339) {
  for (const std::string good : {"2018-04-05T17:31:00Z", "2018-04-05t17:31:00z", "2018-04-05T17:31:00.123456789Z", "2018-04-05T17:31:00+05:30",
                                 "2018-04-05T17:31:00-00:00", "2016-12-31T23:59:60Z", "2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z"}) {
    EXPECT_TRUE(event_from_json(with("\"time\":\"" + good + "\""))) << good;
  }
  for (const std::string bad : {"",
                                "now",
                                "2018-04-05",
                                "2018-04-05T17:31:00",
                                "2018-04-05 17:31:00Z",
                                "2018-13-05T17:31:00Z",
                                "2018-00-05T17:31:00Z",
                                "2018-04-31T17:31:00Z",
                                "2018-04-00T17:31:00Z",
                                "2023-02-29T00:00:00Z",
                                "1900-02-29T00:00:00Z",
                                "2018-04-05T24:00:00Z",
                                "2018-04-05T17:60:00Z",
                                "2018-04-05T17:31:61Z",
                                "2018-04-05T17:31:00.Z",
                                "2018-04-05T17:31:00+0530",
                                "2018-04-05T17:31:00+24:00",
                                "2018-04-05T17:31:00Zx",
                                "1522949460000",
                                "2018-4-5T17:31:00Z"}) {
    expect_malformed(event_from_json(with("\"time\":\"" + bad + "\"")), "time", bad);
  }
}

TEST(event_json, extensions_of_every_allowed_type_become_text) {
  const auto x = event_from_json(with(R"("zz":"b","aa":true,"n1":-7,"f":false,"e":"","touser":["a","b\n"],"expirytime":"2030-01-01T00:00:00Z")"));
  ASSERT_TRUE(x) << x.error().detail;
  EXPECT_THAT(x->extensions, ElementsAre(Pair("zz", "b"), Pair("aa", "true"), Pair("n1", "-7"), Pair("f", "false"), Pair("e", ""),
                                         Pair("touser", R"(["a","b\n"])"), Pair("expirytime", "2030-01-01T00:00:00Z")));
}

TEST(event_json, events_and_their_json_round_trip_exactly) {
  const event table[] = {
      {"1", "/s", "t", "", "", "", "", {}, "", {}, false},
      {"id \"q\" \\ /",
       "urn:x:\u00e9",
       "t\U0001F98A",
       "sub\u00a0ject",
       "2026-11-21T10:00:00+01:00",
       "application/json; charset=utf-8",
       "https://e.org/s",
       {{"touser", "a,b"}, {"z", ""}, {"a", "\"\\"}},
       "{ \"k\" : [1,2e5] }",
       {},
       false},
      {"1", "/s", "t", "", "", "text/plain", "", {{"touser", R"(["a,b"])"}}, R"("line\nbreak\u0000")", {}, false},
      {"1", "/s", "t", "", "", "application/octet-stream", "", {}, "\"AP8=\"", {}, true},
      {"1", "/s", "t", "", "", "", "", {}, "null", {}, false},
      {"1", "/s", "t", "", "", "", "", {}, "\"\"", {}, true},
  };
  for (const auto& x : table) {
    const auto text = to_json(x);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    const auto back = event_from_json(text);
    ASSERT_TRUE(back) << text << back.error().detail;
    expect_equal(*back, x);
    EXPECT_EQ(to_json(*back), text);
  }
}

TEST(event_batch, all_are_read_and_the_first_bad_one_is_named) {
  const auto good = events_from_json_batch("[" + with("") + ",\n" + with("\"data\":7") + "]");
  ASSERT_TRUE(good);
  ASSERT_EQ(good->size(), 2U);
  EXPECT_EQ((*good)[1].data, "7");
  EXPECT_TRUE(events_from_json_batch(" [ ] ")->empty());
  const struct {
    std::string text, field;
  } table[] = {
      {with(""), ""},
      {"[", ""},
      {"[" + with("") + ",]", ""},
      {"[" + with("") + ",7]", "[1]"},
      {"[" + with("") + "," + with("") + ",{}]", "[2].specversion"},
      {"[" + with("\"time\":\"x\"") + "]", "[0].time"},
  };
  for (const auto& [text, field] : table) {
    const auto bad = events_from_json_batch(text);
    ASSERT_FALSE(bad) << text;
    EXPECT_EQ(bad.error().code, ec::malformed);
    EXPECT_EQ(bad.error().field, field) << text;
  }
}

result<event> event_from_headers(const std::vector<header>& headers, std::string_view prefix, std::string_view content_type,
                                 std::string_view payload) {
  std::vector<header_view> views;
  for (const auto& x : headers) views.push_back({x.name, x.value});
  return doorstep::event_from_headers(views, prefix, content_type, payload);
}

std::vector<header> ce(const std::string& prefix, std::vector<header> more = {}) {
  std::vector<header> out{
      {prefix + "specversion", "1.0"}, {prefix + "id", "A234"}, {prefix + "source", "/mycontext"}, {prefix + "type", "com.example.someevent"}};
  for (auto& x : more) out.push_back({prefix + x.name, x.value});
  return out;
}

TEST(event_headers, binary_mode_over_http_decodes_as_the_binding_says) {
  const struct {
    std::string header, text;
  } table[] = {
      {"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u20ac \U0001F600"},  // the binding's example
      {"plain text", "plain text"},
      {"100%25", "100%"},
      {"%2525", "%25"},  // one round only
      {"%e2%82%ac", "\u20ac"},
      {R"("quoted \"text\" \\ here")", R"(quoted "text" \ here)"},
      {"\"%41\"", "A"},
      {"\"", "\""},
      {"\u20ac", "\u20ac"},
  };
  for (const auto& [value, text] : table) {
    const auto x = event_from_headers(ce("ce-", {{"subject", value}}), "ce-", "", "");
    ASSERT_TRUE(x) << value << x.error().detail;
    EXPECT_EQ(x->subject, text);
  }
  for (const std::string bad : {"%", "%4", "%zz", "a%2", "%FF", "%00", "%0A", "%ED%A0%80"}) {
    expect_malformed(event_from_headers(ce("ce-", {{"subject", bad}}), "ce-", "", ""), "subject", bad);
  }
}

TEST(event_headers, binary_mode_in_kafka_decodes_nothing) {
  const auto x = event_from_headers(ce("ce_", {{"subject", "100%25 \"q\""}}), "ce_", "", "");
  ASSERT_TRUE(x);
  EXPECT_EQ(x->subject, "100%25 \"q\"");
  expect_malformed(event_from_headers(ce("ce_", {{"subject", "\xff"}}), "ce_", "", ""), "subject", "not UTF-8");
}

TEST(event_headers, names_are_compared_without_case_and_others_are_no_attributes) {
  auto headers = ce("CE-", {{"ComExample1", "v"}, {"Touser", "alice"}});
  headers.push_back({"User-Agent", "curl"});
  headers.push_back({"ce", "x"});
  headers.push_back({"ce_other", "x"});
  const auto x = event_from_headers(headers, "ce-", "application/json", "{}");
  ASSERT_TRUE(x) << x.error().detail;
  EXPECT_THAT(x->extensions, ElementsAre(Pair("comexample1", "v"), Pair("touser", "alice")));
  EXPECT_EQ(x->data_content_type, "application/json");
}

TEST(event_headers, the_content_type_says_what_the_payload_is) {
  const struct {
    std::string type, payload, data;
    bool base64;
  } table[] = {
      {"application/json", " {\"a\": 1}\n", "{\"a\": 1}", false},
      {"", "[1,2]", "[1,2]", false},
      {"Text/JSON", "7", "7", false},
      {"application/vnd.acme+json; charset=utf-8", "\"x\"", "\"x\"", false},
      {"APPLICATION/PROBLEM+JSON ;v=1", "null", "null", false},
      {"application/json", "", "", false},
      {"text/plain", "line\n\"q\" \\ \x01", R"("line\n\"q\" \\ \u0001")", false},
      {"text/plain", "a\0b"s, R"("a\u0000b")", false},
      {"application/jsonx", "{}", R"("{}")", false},
      {"application/xml", "<a/>", R"("<a/>")", false},
      {"text/plain", "", "", false},
      {"application/octet-stream", "\xff\xfe", "\"//4=\"", true},
      {"image/png", "\x89PNG", "\"iVBORw==\"", true},
  };
  for (const auto& [type, payload, data, base64] : table) {
    const auto x = event_from_headers(ce("ce_"), "ce_", type, payload);
    ASSERT_TRUE(x) << type << x.error().detail;
    EXPECT_EQ(x->data, data);
    EXPECT_EQ(x->data_is_base64, base64) << type;
    EXPECT_EQ(x->data_content_type, type);
    const auto back = event_from_json(to_json(*x));
    ASSERT_TRUE(back) << back.error().detail;
    expect_equal(*back, *x);
  }
  for (const std::string bad : {"{", "hello", "{} {}", "{'a':1}", "\xff", "\"\xff\"", "01", "[1,]"}) {
    expect_malformed(event_from_headers(ce("ce_"), "ce_", "application/json", bad), "data", bad);
    expect_malformed(event_from_headers(ce("ce_"), "ce_", "", bad), "data", bad);
  }
}

TEST(event_headers, bad_input_names_its_field) {
  for (std::size_t i = 0; i < 4; ++i) {  // each required attribute left out, then empty
    auto headers = ce("ce_");
    const std::string field = headers[i].name.substr(3);
    headers[i].value.clear();
    expect_malformed(event_from_headers(headers, "ce_", "", ""), field, "empty " + field);
    headers.erase(headers.begin() + static_cast<std::ptrdiff_t>(i));
    expect_malformed(event_from_headers(headers, "ce_", "", ""), field, "missing " + field);
  }
  expect_malformed(event_from_headers(ce("ce_", {{"id", "again"}}), "ce_", "", ""), "id", "twice");
  expect_malformed(event_from_headers(ce("ce_", {{"data", "x"}}), "ce_", "", ""), "data", "an attribute called data");
  expect_malformed(event_from_headers(ce("ce_", {{"my-ext", "x"}}), "ce_", "", ""), "my-ext", "a bad name");
  expect_malformed(event_from_headers(ce("ce_", {{"", "x"}}), "ce_", "", ""), "", "no name");
  expect_malformed(event_from_headers(ce("ce_"), "ce_", "text", "x"), "datacontenttype", "no media type");
  expect_malformed(event_from_headers(ce("ce_", {{"datacontenttype", "text/xml"}}), "ce_", "text/plain", "x"), "datacontenttype",
                   "two content types");
  EXPECT_EQ(event_from_headers(ce("ce_", {{"datacontenttype", "text/xml"}}), "ce_", "", "x")->data_content_type, "text/xml");
  EXPECT_THAT(event_from_headers({}, "ce_", "", "{}").error().detail, HasSubstr("specversion is missing"));
}

}  // namespace
}  // namespace doorstep
