// SPDX-License-Identifier: Apache-2.0
// docs/protocol.md as tables, both ways, and the decoder against twenty thousand broken frames.
#include "net/native_codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace doorstep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class T>
T one(std::string_view text) {
  auto frame = decode_frame(text);
  EXPECT_TRUE(frame) << text << ": " << frame.error().detail;
  EXPECT_EQ(frame->commands.size(), 1u) << text << (frame->refused.empty() ? "" : ": " + frame->refused[0].what.detail);
  EXPECT_TRUE(std::holds_alternative<T>(frame->commands.at(0))) << text;
  return std::get<T>(frame->commands.at(0));
}

TEST(decode_frame, reads_every_request_of_the_page) {
  const auto hello = one<client::connect>(R"({"id":1,"connect":{"token":"t.t.t","device":"phone-1","resume":{"user:alice":1041},"counts":true}})");
  EXPECT_EQ(hello.id, 1u);
  EXPECT_EQ(hello.token, "t.t.t");
  EXPECT_EQ(hello.device, "phone-1");
  ASSERT_EQ(hello.resume.size(), 1u);
  EXPECT_EQ(hello.resume[0].first.text(), "user:alice");
  EXPECT_EQ(hello.resume[0].second.value, 1041u);
  EXPECT_TRUE(hello.counts);

  const auto ack = one<client::ack>(R"({"id":2,"ack":{"up_to":{"user:alice":1044},"ids":["a","b"]}})");
  EXPECT_EQ(ack.id, 2u);
  EXPECT_EQ(ack.up_to.at(0).second.value, 1044u);
  EXPECT_THAT(ack.ids, ElementsAre("a", "b"));
  EXPECT_EQ(one<client::ack>(R"({"ack":{"ids":["a"]}})").id, 0u);

  const auto nack = one<client::nack>(R"({"nack":{"ids":["a"],"reason":"cannot render"}})");
  EXPECT_EQ(nack.reason, "cannot render");
  EXPECT_FALSE(nack.retry_in);
  EXPECT_EQ(one<client::nack>(R"({"nack":{"ids":["a"],"retry_in":60000}})").retry_in, milliseconds{60'000});
  EXPECT_EQ(one<client::in_progress>(R"({"in_progress":{"ids":["a","b"]}})").ids, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(one<client::mark>(R"({"id":3,"read":{"up_to":{"user:alice":5}}})").up_to.at(0).second.value, 5u);

  const auto history = one<client::history>(R"({"id":4,"history":{"address":"user:alice","after":1000,"limit":7}})");
  EXPECT_EQ(history.of.text(), "user:alice");
  EXPECT_EQ(history.what.after.value, 1000u);
  EXPECT_EQ(history.what.limit, 7u);
  EXPECT_FALSE(history.what.newest);
  EXPECT_EQ(one<client::history>(R"({"history":{"address":"user:alice"}})").what.limit, 100u);

  EXPECT_EQ(one<client::refresh>(R"({"id":5,"refresh":{"token":"x"}})").token, "x");
  EXPECT_EQ(one<client::ping>(R"({"id":6,"ping":{}})").id, 6u);
  one<client::pong>("{}");
  one<client::pong>(" { } \n");
  EXPECT_EQ(one<client::connect>(R"({"connect":{}})").token, "");
}

TEST(decode_frame, reads_several_objects_one_a_line) {
  const auto frame = decode_frame("{\"id\":1,\"connect\":{}}\n{\"ack\":{\"ids\":[\"a\"]}}\r\n\n{}\n").value();
  ASSERT_EQ(frame.commands.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<client::connect>(frame.commands[0]));
  EXPECT_TRUE(std::holds_alternative<client::ack>(frame.commands[1]));
  EXPECT_TRUE(std::holds_alternative<client::pong>(frame.commands[2]));
}

TEST(decode_frame, ignores_members_it_does_not_know_and_reads_escapes) {
  EXPECT_EQ(one<client::ping>(R"({"id":9007199254740991,"trace":[{"a":1}],"ping":{"x":null}})").id, 9007199254740991u);
  EXPECT_EQ(one<client::connect>(R"({"connect":{"device":"\u00e9\n\ud83d\ude00","x":1}})").device, "\u00e9\n\U0001F600");
}

TEST(decode_frame, reads_what_the_person_did_with_single_messages_with_all_and_back) {
  const auto read = one<client::mark>(R"({"id":3,"read":{"seqs":{"user:alice":[5,7]}}})");
  EXPECT_EQ(read.id, 3u);
  EXPECT_EQ(read.what, inbox_mark::read);
  EXPECT_TRUE(read.on);
  EXPECT_EQ(read.seqs.at(0).second, (std::vector<sequence>{{5}, {7}}));
  const auto unread = one<client::mark>(R"({"unread":{"up_to":{"user:alice":5}}})");
  EXPECT_EQ(unread.what, inbox_mark::read);
  EXPECT_FALSE(unread.on);
  EXPECT_TRUE(one<client::mark>(R"({"seen":{}})").all) << "whoever opens the list has seen what there is";
  EXPECT_FALSE(one<client::mark>(R"({"seen":{"up_to":{"user:alice":5}}})").all);
  EXPECT_EQ(one<client::mark>(R"({"archive":{"all":true}})").what, inbox_mark::archived);
  EXPECT_FALSE(one<client::mark>(R"({"unarchive":{"all":true}})").on);
}

TEST(decode_frame, reads_history_in_both_directions_and_by_time) {
  const auto newest = one<client::history>(R"({"history":{"address":"user:alice","before":99}})").what;
  EXPECT_TRUE(newest.newest);
  EXPECT_EQ(newest.before.value, 99u);
  const auto between = one<client::history>(R"({"history":{"address":"user:alice","after":5,"before":99,"since":1000,"until":2000}})").what;
  EXPECT_FALSE(between.newest);
  EXPECT_EQ(between.since.value, 1000);
  EXPECT_EQ(between.until.value, 2000);
  EXPECT_TRUE(one<client::history>(R"({"history":{"address":"user:alice","until":2000}})").what.newest);
}

TEST(decode_frame, history_is_of_an_address_or_one_list_over_all) {
  EXPECT_TRUE(one<client::history>(R"({"history":{"inbox":true,"since":5}})").inbox);
  for (const char* text : {R"({"history":{}})", R"({"history":{"inbox":true,"address":"all"}})", R"({"history":{"inbox":true,"after":5}})"})
    EXPECT_EQ(decode_frame(text)->refused.size(), 1u) << text;
}

TEST(decode_frame, keeps_what_is_reserved_or_unknown_as_unsupported) {
  EXPECT_EQ(one<client::unsupported>(R"({"publish":{"channel":"x"}})").what, "publish");
  EXPECT_EQ(one<client::subscribe>(R"({"id":3,"subscribe":{"address":"topic:x"}})").to.text(), "topic:x");
  EXPECT_EQ(one<client::unsubscribe>(R"({"unsubscribe":{"address":"topic:x"}})").to.text(), "topic:x");
  EXPECT_EQ(one<client::unsupported>(R"({"id":8,"dance":7})").id, 8u);
}

TEST(decode_frame, refuses_a_frame_that_is_not_of_the_protocol) {
  for (const char* text : {"",
                           " \n ",
                           "hello",
                           "7",
                           "\"x\"",
                           "null",
                           "[]",
                           "[{}]",
                           "{",
                           "}",
                           "{\"a\"",
                           "{\"a\":}",
                           "{} x",
                           "{}\n[]",
                           "{'a':1}",
                           "{\"a\":1,}",
                           "{\"a\":NaN}",
                           "{\"a\":\"\x01\"}",
                           "\xef\xbb\xbf{}",
                           "{\"a\":\"\xff\"}",
                           "// {}\n{}"}) {
    const auto frame = decode_frame(text);
    ASSERT_FALSE(frame) << text;
    EXPECT_EQ(frame.error().code, ec::malformed) << text;
  }
  EXPECT_FALSE(decode_frame(std::string_view("{}\0", 3)));
}

TEST(decode_frame, answers_a_bad_member_with_an_error_for_that_request_alone) {
  std::string ids = "[\"a\"";
  for (int i = 0; i < 1000; ++i) ids += ",\"a\"";
  const std::pair<std::string, const char*> cases[] = {
      {R"({"id":4,"history":{"address":"user:alice","limit":0}})", "history.limit must be 1 to 1000"},
      {R"({"id":4,"history":{"address":"user:alice","limit":1001}})", "history.limit"},
      {R"({"id":4,"history":{"address":"user:alice","limit":1.5}})", "history.limit"},
      {R"({"id":4,"history":{"address":"user:alice","after":-1}})", "history.after"},
      {R"({"id":4,"history":{"address":"alice"}})", "history.address"},
      {R"({"id":4,"history":{}})", "history.address is missing"},
      {R"({"id":4,"ack":{}})", "ack.ids is missing"},
      {R"({"id":4,"ack":7})", "ack must be an object"},
      {R"({"id":4,"ack":null})", "ack must be an object"},
      {R"({"id":4,"ack":{"ids":"a"}})", "ack.ids must be an array"},
      {R"({"id":4,"ack":{"ids":[1]}})", "ack.ids holds"},
      {R"({"id":4,"ack":{"ids":[""]}})", "ack.ids holds"},
      {R"({"id":4,"ack":{"ids":)" + ids + "]}}", "ack.ids has over 1000"},
      {R"({"id":4,"ack":{"up_to":[]}})", "ack.up_to must be an object"},
      {R"({"id":4,"ack":{"up_to":{"user:a":"1"}}})", "ack.up_to holds a seq"},
      {R"({"id":4,"ack":{"up_to":{"user:a":-1}}})", "ack.up_to holds a seq"},
      {R"({"id":4,"ack":{"up_to":{"user:a":9007199254740992}}})", "ack.up_to holds a seq"},
      {R"({"id":4,"ack":{"up_to":{"user:":1}}})", "ack.up_to holds what is not an address"},
      {R"({"id":4,"nack":{"ids":[]}})", "nack.ids is empty"},
      {R"({"id":4,"nack":{"ids":["a"],"reason":7}})", "nack.reason must be a string"},
      {R"({"id":4,"nack":{"ids":["a"],"retry_in":86400001}})", "nack.retry_in must be 0 to 86400000"},
      {R"({"id":4,"nack":{"ids":["a"],"retry_in":"1s"}})", "nack.retry_in must be 0 to 86400000"},
      {R"({"id":4,"in_progress":{"ids":[]}})", "in_progress.ids is empty"},
      {R"({"id":4,"in_progress":{}})", "in_progress.ids is missing"},
      {R"({"id":4,"read":{}})", "read.up_to or seqs or all: one of them must be there"},
      {R"({"id":4,"archive":{"all":true,"up_to":{"user:alice":5}}})", "archive.up_to or seqs or all"},
      {R"({"id":4,"read":{"seqs":{"user:alice":[]}}})", "read.seqs is empty"},
      {R"({"id":4,"read":{"seqs":{"user:alice":[0]}}})", "read.seqs holds what is not a seq"},
      {R"({"id":4,"read":{"seqs":{"alice":[1]}}})", "read.seqs holds what is not an address"},
      {R"({"id":4,"read":{"seqs":[1]}})", "read.seqs must be an object"},
      {R"({"id":4,"history":{"address":"user:alice","until":0}})", "history.until"},
      {R"({"id":4,"refresh":{}})", "refresh.token is missing"},
      {R"({"id":4,"refresh":{"token":""}})", "refresh.token is empty"},
      {R"({"id":4,"connect":{"resume":[]}})", "connect.resume"},
      {R"({"id":4,"connect":{"counts":1}})", "connect.counts"},
      {R"({"id":4,"connect":{"device":")" + std::string(129, 'x') + "\"}}", "connect.device is over 128"},
      {R"({"id":4,"ping":{},"ack":{"ids":["a"]}})", "one request"},
      {R"({"id":4})", "no request"},
  };
  for (const auto& [text, because] : cases) {
    const auto frame = decode_frame(text + "\n{}");
    ASSERT_TRUE(frame) << text;
    EXPECT_EQ(frame->commands.size(), 1u) << "the other object is read: " << text;
    ASSERT_EQ(frame->refused.size(), 1u) << text;
    EXPECT_EQ(frame->refused[0].id, 4u);
    EXPECT_EQ(frame->refused[0].what.code, ec::malformed);
    EXPECT_THAT(frame->refused[0].what.detail, HasSubstr(because)) << text;
  }
  for (const char* id : {"0", "-1", "1.5", "\"1\"", "9007199254740992", "null", "18446744073709551615"}) {
    const auto frame = decode_frame(std::string("{\"id\":") + id + ",\"ping\":{}}").value();
    ASSERT_EQ(frame.refused.size(), 1u) << id;
    EXPECT_EQ(frame.refused[0].id, 0u);
  }
}

TEST(decode_frame, limits_depth_and_objects) {
  const auto nested = [](int depth) { return "{\"ping\":{\"x\":" + std::string(depth, '[') + std::string(depth, ']') + "}}"; };
  EXPECT_TRUE(decode_frame(nested(10)));
  EXPECT_FALSE(decode_frame(nested(20)));
  std::string thousand;
  for (int i = 0; i < 1000; ++i) thousand += "{}\n";
  EXPECT_EQ(decode_frame(thousand)->commands.size(), 1000u);
  EXPECT_EQ(decode_frame(thousand + "{}").error().code, ec::too_large);
}

TEST(decode_frame, survives_twenty_thousand_mutations_of_valid_frames) {
  const std::string seeds[] = {
      R"({"id":1,"connect":{"token":"t.t.t","device":"phone-1","resume":{"user:alice":1041},"counts":true}})",
      "{\"ack\":{\"up_to\":{\"user:alice\":1044},\"ids\":[\"u1rO2n1TQWqZ0mF4x8k2Wg\"]}}\n{\"id\":6,\"ping\":{}}\n{}",
      R"({"nack":{"ids":["u1rO2n1TQWqZ0mF4x8k2Wg"],"reason":"cannot \u00e9 render"}})",
      R"({"id":4,"history":{"address":"user:alice","after":1000,"limit":100}})",
  };
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string spice = "{}[]\",:\\\n0123456789eE+-.tfn\xff\x80 u";
  std::size_t understood = 0, refused = 0, broken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = seeds[random() % std::size(seeds)];
    for (auto n = 1 + random() % 4; n > 0 && !text.empty(); --n) {
      const auto at = random() % text.size();
      switch (random() % 5) {
        case 0: text[at] = spice[random() % spice.size()]; break;
        case 1: text.erase(at, 1 + random() % 5); break;
        case 2: text.insert(at, 1, spice[random() % spice.size()]); break;
        case 3: text.insert(at, text.substr(random() % text.size(), random() % 30)); break;
        default: text[at] = static_cast<char>(random());
      }
    }
    const auto frame = decode_frame(text);
    ++(!frame ? broken : frame->refused.empty() ? understood : refused);
    EXPECT_FALSE(frame && frame->commands.empty() && frame->refused.empty()) << text;
  }
  EXPECT_GT(understood, 100u);
  EXPECT_GT(refused, 100u);
  EXPECT_GT(broken, 100u);
}

message_ptr example(std::string data, bool is_base64 = false) {
  auto what = std::make_shared<event>();
  what->id = "77";
  what->source = "/shop";
  what->type = "order.paid";
  what->time = "2026-11-21T10:00:00Z";
  what->extensions = {{"touser", "alice"}, {"title", "Paid"}, {"link", "/orders/77"}, {"body", "12 \"euro\""}};
  what->data = std::move(data);
  what->data_is_base64 = is_base64;
  auto made = std::make_shared<message>();
  made->to = address::user("alice").value();
  made->seq = {1042};
  made->id = "u1rO2n1TQWqZ0mF4x8k2Wg";
  made->what = what;
  return made;
}

std::string encoded(const server::event& x) {
  std::string out;
  append_event(out, x);
  return out;
}
seq_by_address alice_at(std::uint64_t seq) { return {{address::user("alice").value(), sequence{seq}}}; }

TEST(append_event, writes_every_object_of_the_page) {
  EXPECT_EQ(
      encoded(server::connected{1, "3f9c-17", "alice", alice_at(1040), 32, milliseconds{30000}, milliseconds{25000}, 1795000000}),
      R"({"id":1,"connected":{"session":"3f9c-17","user":"alice","addresses":{"user:alice":1040},"window":32,"ack_timeout_ms":30000,"ping_interval_ms":25000,"expires_at":1795000000}})");
  EXPECT_EQ(
      encoded(server::push{example(R"({"total":12})"), 1, false}),
      R"({"message":{"address":"user:alice","seq":1042,"id":"u1rO2n1TQWqZ0mF4x8k2Wg","attempt":1,"redelivered":false,"event_id":"77","source":"/shop","type":"order.paid",)"
      R"("title":"Paid","link":"/orders/77","body":"12 \"euro\"","time":"2026-11-21T10:00:00Z","data":{"total":12}}})");
  EXPECT_EQ(encoded(server::receipt{0, alice_at(1044), {}}), R"({"receipt":{"up_to":{"user:alice":1044}}})");
  EXPECT_EQ(encoded(server::receipt{2, alice_at(1044), {"a", "b"}}), R"({"id":2,"receipt":{"up_to":{"user:alice":1044},"ids":["a","b"]}})");
  EXPECT_EQ(encoded(server::receipt{2, {}, {"a"}}), R"({"id":2,"receipt":{"ids":["a"]}})");
  EXPECT_EQ(encoded(server::counts{3, 2}), R"({"counts":{"unread":3,"unseen":2}})");
  EXPECT_EQ(encoded(server::history{4, {}, false}), R"({"id":4,"history":{"messages":[],"more":false}})");
  EXPECT_EQ(encoded(server::done{3}), R"({"id":3,"done":{}})");
  EXPECT_EQ(encoded(server::pong{6}), R"({"id":6,"pong":{}})");
  EXPECT_EQ(encoded(server::gap{address::user("alice").value(), {12}, {900}, "retention"}),
            R"({"gap":{"address":"user:alice","from":12,"to":900,"reason":"retention"}})");
  EXPECT_EQ(encoded(server::error{4, {ec::malformed, "limit must be 1 to 1000", {}}}),
            R"({"id":4,"error":{"code":"malformed","message":"limit must be 1 to 1000","temporary":false}})");
  EXPECT_THAT(encoded(server::error{0, {ec::queue_full, {}, {}}}),
              testing::AllOf(HasSubstr(R"({"error":{"code":"queue-full")"), HasSubstr(R"("temporary":true)")));
  std::string bye;
  append_disconnect(bye, close_code::going_away, "the server restarts", milliseconds{2310});
  EXPECT_EQ(bye, R"({"disconnect":{"code":1012,"reason":"the server restarts","reconnect":true,"delay_ms":2310}})");
  bye.clear();
  append_disconnect(bye, close_code::bad_token, "expired", milliseconds{0});
  EXPECT_EQ(bye, R"({"disconnect":{"code":3500,"reason":"expired","reconnect":false,"delay_ms":0}})");
}

TEST(append_event, marks_repeats_and_binary_data_and_leaves_out_what_is_not_there) {
  EXPECT_THAT(encoded(server::push{example("\"aGk=\"", true), 3, true}),
              testing::AllOf(HasSubstr(R"("attempt":3,"redelivered":true)"), HasSubstr(R"("data_base64":"aGk=")")));
  auto bare = std::make_shared<message>();
  bare->to = address::user("b").value();
  bare->seq = {1};
  bare->id = "x";
  bare->what = std::make_shared<event>();
  EXPECT_EQ(encoded(server::push{bare, 1, false}), R"({"message":{"address":"user:b","seq":1,"id":"x","attempt":1,"redelivered":false}})");
  server::past read{bare, {}};
  read.states[static_cast<std::size_t>(inbox_mark::delivered)] = unix_ms{5};
  read.states[static_cast<std::size_t>(inbox_mark::read)] = unix_ms{6};
  EXPECT_EQ(encoded(server::history{0, {{bare, {}}, read}, true, sequence_range{{4}, {9}}}),
            R"({"history":{"messages":[{"address":"user:b","seq":1,"id":"x","appended":0,"states":{}},)"
            R"({"address":"user:b","seq":1,"id":"x","appended":0,"states":{"delivered":5,"read":6}}],"more":true,)"
            R"("gap":{"from":5,"to":9,"reason":"retention"}}})");
}

TEST(append_event, keeps_an_object_on_one_line_whatever_the_producer_wrote) {
  const auto text = encoded(server::push{example("{\n  \"total\": 12\r\n}"), 1, false});
  EXPECT_EQ(text.find_first_of("\r\n"), text.npos);
  EXPECT_THAT(text, HasSubstr("\"data\":{   \"total\": 12  }}}"));
}

TEST(append_event, puts_a_line_break_between_objects) {
  std::string out;
  append_event(out, server::pong{1});
  append_event(out, server::pong{2});
  append_push(out, {example("1"), 1, false});
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
  EXPECT_THAT(out, testing::StartsWith("{\"id\":1,\"pong\":{}}\n{\"id\":2,\"pong\":{}}\n{\"message\":"));
}

TEST(append_quoted, escapes_what_JSON_wants_and_mends_what_is_not_UTF8) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "\"\""},
      {"a\"b\\c/", R"("a\"b\\c/")"},
      {std::string("\x00\x1f\n\r\t", 5), R"("\u0000\u001f\n\r\t")"},
      {"\u00e9\u20ac\U0001F600\x7f", "\"\u00e9\u20ac\U0001F600\x7f\""},
      {"a\xffz", "\"a\uFFFDz\""},
      {"\xc3", "\"\uFFFD\""},
      {"\xe2\x82", "\"\uFFFD\uFFFD\""},
      {"\xc0\xaf", "\"\uFFFD\uFFFD\""},
      {"\xed\xa0\x80", "\"\uFFFD\uFFFD\uFFFD\""},
      {"\xf4\x90\x80\x80", "\"\uFFFD\uFFFD\uFFFD\uFFFD\""},
      {"\xf0\x9f\x98\x80\xf0", "\"\U0001F600\uFFFD\""},
  };
  for (const auto& [text, json] : cases) {
    std::string out;
    append_quoted(out, text);
    EXPECT_EQ(out, json);
  }
}

TEST(close_code, asks_to_come_back_below_3500_except_for_a_frame_too_large) {
  for (const auto x : {close_code::going_away, close_code::slow_client, close_code::ping_timeout, close_code::connect_timeout,
                       close_code::token_expired, close_code::internal_error, close_code::too_many_frames})
    EXPECT_TRUE(may_reconnect(x)) << name(x);
  for (const auto x : {close_code::too_large, close_code::bad_token, close_code::protocol_error, close_code::forbidden})
    EXPECT_FALSE(may_reconnect(x)) << name(x);
}

}  // namespace
}  // namespace doorstep
