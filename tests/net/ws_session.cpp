// SPDX-License-Identifier: Apache-2.0
// A doorstep.v1 connection as the wire shows it: getting in, staying in, and each way out.
#include "server_fixture.hpp"

#include <future>

namespace doorstep::testing_net {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ws_session_test : public server_test {};

TEST_F(ws_session_test, takes_the_token_from_the_connect_object) {
  start();
  ws_client x(up->public_port());
  ASSERT_EQ(x.answer.status, 101);
  EXPECT_TRUE(x.answer.has("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) << "the accept key of RFC 6455, section 1.3";
  x.say(R"({"id":1,"connect":{"device":"phone-1","token":")" + token("alice") + "\"}}");
  EXPECT_THAT(x.hear().text, StartsWith(R"({"id":1,"connected":{"session":"s1","user":"alice")"));
  EXPECT_TRUE(door.said.wait_for("connected alice phone-1"));
  EXPECT_TRUE(door.asked.all().empty()) << "the user was not known before the upgrade";
}

TEST_F(ws_session_test, takes_the_token_from_the_authorization_header_and_does_not_mind_another_in_the_frame) {
  start();
  ws_client x(up->public_port(), bearer("alice") + "Sec-WebSocket-Protocol: doorstep.v1\r\n");
  ASSERT_EQ(x.answer.status, 101);
  EXPECT_TRUE(x.answer.has("Sec-WebSocket-Protocol: doorstep.v1\r\n"));
  x.say(R"({"connect":{"token":"nonsense"}})");
  EXPECT_THAT(x.hear().text, HasSubstr(R"("user":"alice")"));
  EXPECT_EQ(door.asked.all(), std::vector<std::string>{"alice"});
}

TEST_F(ws_session_test, takes_the_token_from_the_subprotocol_and_echoes_only_its_own_name) {
  start();
  ws_client x(up->public_port(), "Sec-WebSocket-Protocol: doorstep.token." + token("bob") + ", doorstep.v1\r\n");
  ASSERT_EQ(x.answer.status, 101);
  EXPECT_TRUE(x.answer.has("Sec-WebSocket-Protocol: doorstep.v1\r\n")) << x.answer.head;
  EXPECT_FALSE(x.answer.has("doorstep.token"));
  x.say(R"({"connect":{}})");
  EXPECT_THAT(x.hear().text, HasSubstr(R"("user":"bob")"));
}

TEST_F(ws_session_test, closes_with_3500_after_the_upgrade_when_the_token_is_refused) {
  start();
  ws_client by_header(up->public_port(), "Authorization: Bearer a.b.c\r\n");
  EXPECT_EQ(by_header.answer.status, 101);
  EXPECT_THAT(by_header.hear_close(), AllOf(StartsWith("3500: {\"disconnect\":{\"code\":3500,"), HasSubstr("\"reconnect\":false")));
  ws_client by_protocol(up->public_port(), "Sec-WebSocket-Protocol: doorstep.v1, doorstep.token.x\r\n");
  EXPECT_THAT(by_protocol.hear_close(), StartsWith("3500: "));
  ws_client by_frame(up->public_port());
  by_frame.say(R"({"connect":{"token":")" + token("alice", std::chrono::seconds{-1}) + "\"}}");
  EXPECT_THAT(by_frame.hear_close(), AllOf(StartsWith("3500: "), HasSubstr("expired")));
  ws_client without(up->public_port());
  without.say(R"({"connect":{}})");
  EXPECT_THAT(without.hear_close(), StartsWith("3500: "));
  EXPECT_EQ(numbers.tokens_refused.value(), 4);
  EXPECT_TRUE(door.said.all().empty()) << "no actor is made for a stranger";
}

TEST_F(ws_session_test, lives_on_the_loop_of_the_users_mailbox) {
  door.home = &second;
  door.on_connected = [this](std::shared_ptr<connection> who, loop& where) {
    door.said.add((&where == &second ? "second " : "first ") + who->remote().substr(0, 10));
  };
  start();
  for (int i = 0; i < 4; ++i) {
    auto x = connected();
    x->say(R"({"id":9,"ping":{}})");
    EXPECT_EQ(x->hear().text, R"({"id":9,"pong":{}})");
  }
  EXPECT_TRUE(door.said.wait_for("closed"));
  for (const auto& line : door.said.all())
    EXPECT_THAT(line, Not(AnyOf(StartsWith("first"), HasSubstr("ANOTHER")))) << "all four are on the second loop";
  EXPECT_TRUE(door.said.wait_for("second 127.0.0.1:"));
}

TEST_F(ws_session_test, closes_with_3002_when_no_connect_object_comes) {
  settings.ws.connect_timeout = milliseconds{40};
  start();
  ws_client x(up->public_port(), bearer("alice"));
  EXPECT_THAT(x.hear_close(), AllOf(StartsWith("3002: "), HasSubstr("\"reconnect\":true")));
}

TEST_F(ws_session_test, refuses_a_foreign_origin_before_the_upgrade) {
  settings.http.origins = {"same-host", "https://app.example"};
  start();
  const auto port = up->public_port();
  const auto own = "Origin: http://127.0.0.1:" + std::to_string(port) + "\r\n";
  EXPECT_EQ(ws_client(port, "Origin: https://evil.example\r\n").answer.status, 403);
  EXPECT_EQ(ws_client(port, "Origin: null\r\n").answer.status, 403);
  EXPECT_EQ(ws_client(port, "Origin: https://app.example.evil\r\n").answer.status, 403);
  EXPECT_EQ(ws_client(port, "Origin: https://App.Example\r\n").answer.status, 101);
  EXPECT_EQ(ws_client(port, own).answer.status, 101);
  EXPECT_EQ(ws_client(port).answer.status, 101) << "no browser";
  EXPECT_EQ(numbers.sessions_refused.value(), 3);
}

TEST_F(ws_session_test, refuses_another_subprotocol_and_bytes_before_the_upgrade) {
  start();
  EXPECT_EQ(ws_client(up->public_port(), "Sec-WebSocket-Protocol: graphql-ws\r\n").answer.status, 400);
  EXPECT_EQ(ws_client(up->public_port(), "Sec-WebSocket-Protocol: doorstep.v2, doorstep.token.x\r\n").answer.status, 400);
  raw_client hasty(up->public_port());
  hasty.write(
      "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
      "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x82");
  EXPECT_EQ(hasty.read_response().status, 400);
  EXPECT_EQ(get(up->public_port(), "/v1/ws").status, 426);
  EXPECT_EQ(get(up->public_port(), "/v1/ws", "", "DELETE").status, 405);
}

TEST_F(ws_session_test, answers_503_when_http_connections_max_is_reached) {
  settings.http.connections_max = 2;
  start();
  EXPECT_EQ(numbers.connections_max.value(), 2);
  auto a = connected(), b = connected();
  ws_client c(up->public_port(), bearer("alice"));
  EXPECT_EQ(c.answer.status, 503);
  EXPECT_TRUE(c.answer.has("Retry-After: "));
  EXPECT_TRUE(c.at_end());
  a->send_frame(8, "\x03\xe8");
  EXPECT_EQ(a->hear().opcode, 8);
  EXPECT_TRUE(a->at_end());
  ASSERT_TRUE(door.said.wait_for("closed"));
  EXPECT_EQ(ws_client(up->public_port()).answer.status, 101) << "there is room again";
}

TEST_F(ws_session_test, closes_with_1009_on_a_frame_over_the_limit_and_takes_one_of_just_the_limit) {
  settings.ws.frame_bytes_max = 20'000;
  start();
  auto x = connected();
  const std::string head = R"({"id":2,"ping":{)", tail = "}}";
  x->say(head + std::string(20'000 - head.size() - tail.size(), ' ') + tail);
  EXPECT_EQ(x->hear().text, R"({"id":2,"pong":{}})");
  x->say(head + std::string(20'001 - head.size() - tail.size(), ' ') + tail);
  EXPECT_THAT(x->hear_close(), AllOf(StartsWith("1009: {\"disconnect\":{\"code\":1009,"), HasSubstr("\"reconnect\":false")));
  EXPECT_TRUE(door.said.wait_for("closed"));
}

TEST_F(ws_session_test, closes_with_3005_on_too_many_frames_and_counts_pings_too) {
  settings.ws.frames_per_second_max = 10;
  start();
  auto x = connected();
  for (int i = 0; i < 30; ++i) x->say("{}");
  EXPECT_THAT(x->hear_close(), StartsWith("3005: "));
  auto y = connected();
  for (int i = 0; i < 30; ++i) y->send_frame(9, "");
  EXPECT_THAT(y->hear_close(), StartsWith("3005: "));
}

TEST_F(ws_session_test, closes_with_3501_on_what_is_not_of_the_protocol) {
  start();
  for (const char* text : {"hello", "[]", "{\"id\":1", R"({"ack":{"ids":["a"]}})", R"({"ping":{}})", R"({"publish":{}})"}) {
    ws_client x(up->public_port(), bearer("alice"));
    x.say(text);
    EXPECT_THAT(x.hear_close(), StartsWith("3501: {\"disconnect\":{\"code\":3501,")) << text;
  }
  ws_client binary(up->public_port(), bearer("alice"));
  binary.send_frame(2, R"({"connect":{}})");
  EXPECT_THAT(binary.hear_close(), StartsWith("3501: "));
  auto twice = connected();
  twice->say(R"({"connect":{}})");
  EXPECT_THAT(twice->hear_close(), StartsWith("3501: "));
  EXPECT_EQ(numbers.frames_refused.value(), 7);
}

TEST_F(ws_session_test, answers_a_bad_member_with_an_error_and_goes_on) {
  start();
  auto x = connected();
  x->say("{\"id\":4,\"history\":{\"address\":\"user:alice\",\"limit\":0}}\n{\"id\":5,\"publish\":{}}\n{\"id\":6,\"ping\":{}}");
  EXPECT_EQ(x->hear().text,
            "{\"id\":4,\"error\":{\"code\":\"malformed\",\"message\":\"history.limit must be 1 to 1000\",\"temporary\":false}}\n"
            "{\"id\":5,\"error\":{\"code\":\"unsupported\",\"message\":\"this server does not offer publish\",\"temporary\":false}}\n"
            "{\"id\":6,\"pong\":{}}");
  ws_client early(up->public_port(), bearer("alice"));
  early.say(R"({"id":1,"connect":{"resume":7}})");
  EXPECT_THAT(early.hear().text, HasSubstr("connect.resume"));
  early.say(R"({"id":2,"connect":{}})");
  EXPECT_THAT(early.hear().text, StartsWith(R"({"id":2,"connected")"));
}

TEST_F(ws_session_test, hands_all_commands_of_a_frame_over_at_once) {
  start();
  auto x = connected();
  x->say("{\"id\":2,\"ack\":{\"ids\":[\"a\"]}}\n{}\n{\"read\":{\"up_to\":{\"user:alice\":1}}}\n{\"nack\":{\"ids\":[\"b\"]}}");
  EXPECT_EQ(x->hear().text, R"({"id":2,"receipt":{"ids":["a"]}})");
  EXPECT_TRUE(door.said.wait_for("commands 1 3 2"));
}

message_ptr example(int n, const std::string& data = "1") {
  auto what = std::make_shared<event>();
  what->data = data;
  auto made = std::make_shared<message>();
  made->to = address::user("alice").value();
  made->seq = {static_cast<std::uint64_t>(n)};
  made->id = "m" + std::to_string(n);
  made->what = what;
  return made;
}

TEST_F(ws_session_test, sends_what_was_pushed_within_one_turn_as_one_frame) {
  door.on_connected = [](const std::shared_ptr<connection>& who, loop&) {
    who->push({{example(1), 1, false}, {example(2), 1, false}});
    who->push({{example(3), 2, true}});
    who->send({server::counts{3}});
  };
  start();
  ws_client x(up->public_port(), bearer("alice"));
  x.say(R"({"connect":{}})");
  const auto text = x.hear().text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
  EXPECT_THAT(text, AllOf(StartsWith(R"({"connected")"), HasSubstr(R"("seq":3,"id":"m3","attempt":2,"redelivered":true)"),
                          testing::EndsWith("\n{\"counts\":{\"unread\":3,\"unseen\":0}}")));
}

TEST_F(ws_session_test, closes_with_3000_when_the_client_does_not_read) {
  settings.ws.write_queue_bytes_max = 100'000;
  door.on_connected = [](const std::shared_ptr<connection>& who, loop& where) {
    // Turn after turn, until the kernel's buffers are full and ours too; send() after the close is nothing.
    auto again = std::make_shared<std::function<void(int)>>();
    *again = [who, &where, weak = std::weak_ptr(again)](int left) {
      who->push({{example(left, "\"" + std::string(50'000, 'x') + "\""), 1, false}});
      if (auto self = weak.lock(); self && left > 0) where.post([self, left] { (*self)(left - 1); });
    };
    (*again)(2000);
  };
  start();
  ws_client x(up->public_port(), bearer("alice"), 4096);
  x.say(R"({"connect":{}})");
  EXPECT_TRUE(door.said.wait_for("closed")) << "although the client neither reads nor closes";
}

TEST_F(ws_session_test, pings_an_idle_client_and_closes_with_3001_when_it_does_not_answer) {
  settings.ws.ping_interval = milliseconds{30};
  settings.ws.pong_timeout = milliseconds{300};
  start();
  auto x = connected();
  EXPECT_EQ(x->hear().text, "{}");
  x->say("{}");
  EXPECT_EQ(x->hear().text, "{}") << "answered in time, so there is another one";
  EXPECT_THAT(x->hear_close(), StartsWith("3001: {\"disconnect\""));
  EXPECT_TRUE(door.said.wait_for("closed"));
}

TEST_F(ws_session_test, closes_with_3003_when_the_token_expires_and_not_when_it_was_refreshed) {
  start();
  ws_client stays(up->public_port()), goes(up->public_port());
  const auto brief = R"({"connect":{"token":")" + token("alice", std::chrono::seconds{2}) + "\"}}";
  stays.say(brief);
  goes.say(brief);
  EXPECT_THAT(stays.hear().text, HasSubstr("connected"));
  stays.say(R"({"id":2,"refresh":{"token":"nonsense"}})");
  EXPECT_THAT(stays.hear().text, HasSubstr(R"({"id":2,"error":{"code":"unauthorized")"));
  stays.say(R"({"id":3,"refresh":{"token":")" + token("bob") + "\"}}");
  EXPECT_THAT(stays.hear().text, HasSubstr(R"({"id":3,"error":{"code":"forbidden")"));
  stays.say(R"({"id":4,"refresh":{"token":")" + token("alice") + "\"}}");
  EXPECT_EQ(stays.hear().text, R"({"id":4,"done":{}})");
  EXPECT_THAT(goes.hear_close(), StartsWith("3003: "));
  stays.say(R"({"id":5,"ping":{}})");
  EXPECT_EQ(stays.hear().text, R"({"id":5,"pong":{}})");
}

TEST_F(ws_session_test, a_refresh_that_was_judged_before_a_denial_ends_the_session_all_the_same) {
  door.home = &second;  // the internal port is on the first loop
  door.on_refreshed = [this] { EXPECT_EQ(post("", R"({"user":"alice","deny_for":"1h"})", "key-number-one-01", "/v1/admin/disconnect").status, 200); };
  start();
  const auto x = connected();
  x->say(R"({"id":4,"refresh":{"token":")" + token("alice") + "\"}}");
  EXPECT_THAT(x->hear_close(), StartsWith("3503: "));
  EXPECT_TRUE(door.said.wait_for("refreshed alice"));
  EXPECT_TRUE(door.said.wait_for("closed"));
}

TEST_F(ws_session_test, short_things_of_one_turn_all_arrive_also_when_no_buffer_is_to_spare) {
  std::vector<std::shared_ptr<connection>> who;  // of the first loop
  door.home = &first;
  door.on_connected = [&](const std::shared_ptr<connection>& x, loop&) { who.push_back(x); };
  start();
  const auto a = connected("alice"), b = connected("bob");
  std::promise<void> done;
  first.post([&] {
    for (const auto& x : who)
      for (request_id id = 1; id <= 3; ++id) x->send({server::pong{id}});
    who.clear();
    done.set_value();
  });
  done.get_future().wait();
  for (const auto* x : {&a, &b}) EXPECT_EQ((*x)->hear().text, "{\"id\":1,\"pong\":{}}\n{\"id\":2,\"pong\":{}}\n{\"id\":3,\"pong\":{}}");
}

TEST_F(ws_session_test, tells_the_client_why_and_when_to_come_back) {
  door.on_connected = [](const std::shared_ptr<connection>& who, loop&) {
    who->push({{example(1), 1, false}});
    who->close(close_code::going_away, "the server restarts", milliseconds{2310});
    who->push({{example(2), 1, false}});
  };
  start();
  ws_client x(up->public_port(), bearer("alice"));
  x.say(R"({"connect":{}})");
  EXPECT_THAT(x.hear_close(),
              AllOf(StartsWith("1012: "), HasSubstr("\"m1\""), Not(HasSubstr("\"m2\"")),
                    testing::EndsWith("\n{\"disconnect\":{\"code\":1012,\"reason\":\"the server restarts\",\"reconnect\":true,\"delay_ms\":2310}}")));
  EXPECT_TRUE(door.said.wait_for("closed"));
}

TEST_F(ws_session_test, sends_new_clients_away_while_it_drains) {
  start();
  ws_client early(up->public_port(), bearer("alice"));
  door.drains = true;
  early.say(R"({"connect":{}})");
  EXPECT_THAT(early.hear_close(), AllOf(StartsWith("1012: "), HasSubstr("delay_ms")));
  up->stop_accepting();
  EXPECT_THROW(ws_client(up->public_port(), bearer("alice")), std::runtime_error) << "nobody listens";
  EXPECT_EQ(get(up->internal_port(), "/health/live").status, 200);
  EXPECT_EQ(get(up->internal_port(), "/health/ready").status, 503);
  EXPECT_EQ(post("Content-Type: application/cloudevents+json\r\n", "{}").status, 503);
}

TEST_F(ws_session_test, stop_closes_every_socket_and_tells_every_handler) {
  start();
  auto a = connected("alice"), b = connected("bob");
  ws_client waiting(up->public_port());
  raw_client idle(up->public_port()), idle_inside(up->internal_port());
  up->stop();
  EXPECT_TRUE(a->at_end());
  EXPECT_TRUE(b->at_end());
  EXPECT_TRUE(waiting.at_end());
  first.stop();
  second.stop();
  const auto said = door.said.all();
  EXPECT_EQ(std::count(said.begin(), said.end(), "closed"), 2);
  EXPECT_EQ(numbers.connections.value(), 0);
}

TEST_F(ws_session_test, counts_frames_and_connections) {
  start();
  auto x = connected();
  x->say(R"({"id":2,"ping":{}})");
  x->hear();
  EXPECT_EQ(numbers.frames_in.value(), 2);
  EXPECT_EQ(numbers.connections.value(), 1);
  x->say(R"({"id":3,"ping":{}})");
  x->hear();
  EXPECT_GE(numbers.frames_out.value(), 2);
  EXPECT_GT(numbers.bytes_out.value(), 100);
}

}  // namespace
}  // namespace doorstep::testing_net
