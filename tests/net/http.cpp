// SPDX-License-Identifier: Apache-2.0
// Publishing with every status code, the looks, health and metrics, the demo page; HTTP itself at its edges.
#include "server_fixture.hpp"

#include <atomic>
#include <cstdio>
#include <thread>
#include <tuple>
#include <vector>

namespace doorstep::testing_net {
namespace {

using testing::HasSubstr;

class http_test : public server_test {
protected:
  static constexpr const char* structured = "Content-Type: application/cloudevents+json; charset=utf-8\r\n";
  static constexpr const char* batch = "Content-Type: application/cloudevents-batch+json\r\n";
  static std::string event_text(const std::string& id) {
    return R"({"specversion":"1.0","id":")" + id + R"(","source":"/shop","type":"t","touser":"alice","data":{"n":1}})";
  }
};

TEST_F(http_test, takes_a_structured_event) {
  std::vector<event> got;
  in.answer = [&](std::vector<event> events, const fake_intake::reply& done) {
    got = std::move(events);
    done(std::vector<publish_outcome>{{"77", 1, 2}});
  };
  start();
  const auto x = post(structured, event_text("77"));
  EXPECT_EQ(x.status, 202);
  EXPECT_EQ(x.body, R"({"events":[{"id":"77","accepted":1,"duplicates":2}]})");
  EXPECT_TRUE(x.has("Content-Type: application/json\r\n"));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].id, "77");
  EXPECT_EQ(got[0].data, R"({"n":1})");
}

TEST_F(http_test, takes_a_binary_event) {
  std::vector<event> got;
  in.answer = [&](std::vector<event> events, const fake_intake::reply& done) {
    got = std::move(events);
    done(std::vector<publish_outcome>{{"x", 1, 0}});
  };
  start();
  EXPECT_EQ(
      post("ce-specversion: 1.0\r\nCe-Id: 5\r\nce-source: /s\r\nce-type: t\r\nce-touser: al%20ice\r\nContent-Type: application/json\r\n", "{\"a\":1}")
          .status,
      202);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].id, "5");
  EXPECT_EQ(got[0].extension("touser"), "al ice");
  EXPECT_EQ(got[0].data, "{\"a\":1}");
}

TEST_F(http_test, takes_a_batch_and_answers_in_its_order) {
  start();
  const auto x = post(batch, "[" + event_text("a") + "," + event_text("b\\\"") + "]");
  EXPECT_EQ(x.status, 202);
  EXPECT_EQ(x.body, R"({"events":[{"id":"a","accepted":1,"duplicates":0},{"id":"b\"","accepted":1,"duplicates":0}]})");
  EXPECT_EQ(post(batch, "[]").body, R"({"events":[]})");
}

TEST_F(http_test, refuses_what_is_no_event_and_names_the_field) {
  bool asked = false;
  in.answer = [&](std::vector<event>, const fake_intake::reply&) { asked = true; };
  start();
  auto x = post(structured, R"({"specversion":"1.0","source":"/s","type":"t"})");
  EXPECT_EQ(x.status, 400);
  EXPECT_TRUE(x.has("Content-Type: application/problem+json\r\n"));
  EXPECT_THAT(x.body, testing::AllOf(HasSubstr("\"field\":\"id\""), HasSubstr("\"status\":400"), HasSubstr("\"code\":\"malformed\"")));
  x = post(batch, "[" + event_text("a") + R"(,{"specversion":"1.0","id":"b","type":"t"}])");
  EXPECT_EQ(x.status, 400);
  EXPECT_THAT(x.body, HasSubstr("\"field\":\"[1].source\""));
  EXPECT_EQ(post(structured, "{").status, 400);
  EXPECT_EQ(post(structured, "").status, 400);
  EXPECT_EQ(post(batch, "{}").status, 400);
  EXPECT_EQ(post("ce-specversion: 1.0\r\nce-id: 5\r\nce-type: t\r\n", "1").status, 400);
  EXPECT_FALSE(asked) << "nothing of a batch is taken when one event is bad";
}

TEST_F(http_test, maps_what_the_intake_says_to_status_codes) {
  failure why;
  in.answer = [&](std::vector<event>, const fake_intake::reply& done) { done(why); };
  start();
  const std::tuple<ec, int, bool> cases[] = {{ec::malformed, 400, false},  {ec::too_large, 413, false}, {ec::queue_full, 429, true},
                                             {ec::unavailable, 503, true}, {ec::stopping, 503, true},   {ec::internal, 500, false}};
  for (const auto& [code, status, retry] : cases) {
    why = {code, "because", "[0].touser"};
    const auto x = post(structured, event_text("1"));
    EXPECT_EQ(x.status, status);
    EXPECT_EQ(x.has("Retry-After: "), retry) << status;
    EXPECT_THAT(x.body, testing::AllOf(HasSubstr("\"detail\":\"because\""), HasSubstr("\"field\":\"[0].touser\""),
                                       HasSubstr(retry ? "\"temporary\":true" : "\"temporary\":false")));
  }
}

TEST_F(http_test, wants_a_key_and_a_content_type_and_limits_the_size) {
  settings.internal.body_bytes_max = 1000;
  settings.internal.batch_events_max = 2;
  start();
  EXPECT_EQ(post(structured, event_text("1"), "key-number-two-02").status, 202);
  const auto refused = post(structured, event_text("1"), "key-3");
  EXPECT_EQ(refused.status, 401);
  EXPECT_TRUE(refused.has("WWW-Authenticate: Bearer"));
  EXPECT_EQ(get(up->internal_port(), "/v1/events", "", "POST").status, 401);
  for (const char* type : {"", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n",
                           "ce-specversion: 1.0\r\nContent-Type: application/cloudevents+xml\r\n"})
    EXPECT_EQ(post(type, event_text("1")).status, 415) << type;
  EXPECT_EQ(post(structured, std::string(1001, ' ')).status, 413);
  EXPECT_EQ(post(batch, "[" + event_text("1") + "," + event_text("2") + "," + event_text("3") + "]").status, 413);
  const auto other = get(up->internal_port(), "/v1/events", "Authorization: Bearer key-number-one-01\r\n");
  EXPECT_EQ(other.status, 405);
  EXPECT_TRUE(other.has("Allow: POST\r\n"));
}

TEST_F(http_test, answers_503_itself_when_the_intake_takes_too_long_and_ignores_what_comes_later) {
  settings.internal.append_timeout = milliseconds{30};
  fake_intake::reply late;
  in.answer = [&](std::vector<event>, fake_intake::reply done) { late = std::move(done); };
  start();
  raw_client x(up->internal_port());
  const auto body = event_text("1");
  const auto text = "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key-number-one-01\r\n" + std::string(structured) +
                    "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  x.write(text);
  EXPECT_EQ(x.read_response().status, 503);
  late(std::vector<publish_outcome>{{"late", 1, 0}});
  x.write("GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(x.read_response().body, "{\"live\":true}") << "the late answer is not the next request's";
}

TEST_F(http_test, answers_from_any_thread) {
  std::thread elsewhere;
  in.answer = [&](std::vector<event> events, fake_intake::reply done) {
    elsewhere = std::thread([events = std::move(events), done = std::move(done)] { done(std::vector<publish_outcome>{{events[0].id, 1, 0}}); });
  };
  start();
  EXPECT_EQ(post(structured, event_text("7")).body, R"({"events":[{"id":"7","accepted":1,"duplicates":0}]})");
  elsewhere.join();
}

TEST_F(http_test, answers_pipelined_requests_in_order_on_one_connection) {
  start();
  raw_client x(up->internal_port());
  const auto body = event_text("p");
  const auto publish = "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key-number-one-01\r\n" + std::string(structured) +
                       "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  x.write(publish + "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n" + publish + "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(x.read_response().status, 202);
  EXPECT_EQ(x.read_response().status, 200);
  EXPECT_EQ(x.read_response().status, 202);
  const auto last = x.read_response();
  EXPECT_EQ(last.status, 404);
  EXPECT_TRUE(last.has("Connection: close\r\n"));
  EXPECT_TRUE(x.at_end());
}

TEST_F(http_test, reads_a_chunked_body_and_says_continue) {
  start();
  raw_client x(up->internal_port());
  const auto head = "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key-number-one-01\r\n" + std::string(structured);
  x.write(head + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(x.read_response().status, 100);
  const auto body = event_text("c");
  char size[16];
  std::snprintf(size, sizeof size, "%zx", body.size());
  x.write(std::string(size) + "\r\n" + body + "\r\n0\r\n\r\n");
  EXPECT_EQ(x.read_response().status, 202);
  raw_client stranger(up->internal_port());
  stranger.write("POST /v1/events HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(stranger.read_response().status, 401) << "before a byte of the body";
}

TEST_F(http_test, refuses_broken_and_overlong_requests_and_drops_slow_ones) {
  settings.http.request_timeout = milliseconds{40};
  settings.http.header_bytes_max = 2048;
  start();
  EXPECT_EQ(request(up->internal_port(), "hello\r\n\r\n").status, 400);
  EXPECT_EQ(request(up->internal_port(), "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(4000, 'x') + "\r\n\r\n").status, 431);
  EXPECT_EQ(request(up->internal_port(),
                    "POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key-number-one-01\r\nContent-Length: 99999999\r\n\r\n")
                .status,
            413);
  raw_client slow(up->internal_port());
  slow.write("GET /health/li");
  EXPECT_TRUE(slow.at_end());
  raw_client silent(up->public_port());
  EXPECT_TRUE(silent.at_end());
}

TEST_F(http_test, shows_health) {
  start();
  const auto port = up->internal_port();
  EXPECT_EQ(get(port, "/health/live").body, "{\"live\":true}");
  EXPECT_EQ(get(port, "/health/ready").body, "{\"ready\":true,\"reasons\":[]}");
  EXPECT_EQ(get(port, "/health/startup").status, 200);
  look.reasons = {"the store is \"away\"", "no shard"};
  look.is_started = false;
  const auto x = get(port, "/health/ready");
  EXPECT_EQ(x.status, 503);
  EXPECT_EQ(x.body, R"({"ready":false,"reasons":["the store is \"away\"","no shard"]})");
  EXPECT_EQ(get(port, "/health/startup").status, 503);
  EXPECT_EQ(get(port, "/health/live", "", "POST").status, 405);
  EXPECT_EQ(get(up->public_port(), "/health/live").status, 404) << "not on the public port";
}

TEST_F(http_test, shows_metrics_that_were_refreshed) {
  start();
  const auto x = get(up->internal_port(), "/metrics");
  EXPECT_EQ(x.status, 200);
  EXPECT_TRUE(x.has("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(x.body, HasSubstr("doorstep_connections_limit 16384"));
  EXPECT_EQ(look.refreshes, 1);
  const auto head = get(up->internal_port(), "/metrics", "", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_FALSE(head.has("Content-Length: 0\r\n"));
}

TEST_F(http_test, answers_looks_to_those_with_a_key) {
  start();
  const auto port = up->internal_port();
  const std::string key = "Authorization: Bearer key-number-one-01\r\n";
  EXPECT_EQ(get(port, "/v1/actors").status, 401);
  EXPECT_EQ(get(port, "/v1/actors", key).body, R"({"kind":"node"})");
  EXPECT_EQ(get(port, "/v1/mailboxes/al%20ice%2Fx?y=1", key).body, R"({"user":"al ice/x"})");
  EXPECT_EQ(get(port, "/v1/mailboxes/nobody", key).status, 404);
  EXPECT_EQ(get(port, "/v1/mailboxes/", key).status, 404);
  EXPECT_EQ(get(port, "/v1/mailboxes/a%00b", key).status, 400);
  EXPECT_EQ(get(port, "/v1/mailboxes/%zz", key).status, 400);
  EXPECT_EQ(get(port, "/v1/mailboxes/a/b", key).status, 404);
  EXPECT_EQ(get(port, "/v1/dead-letters", key).body, R"({"after":"","limit":100})");
  EXPECT_EQ(get(port, "/v1/dead-letters?limit=7&after=t%2F0%2F5", key).body, R"({"after":"t/0/5","limit":7})");
  for (const char* limit : {"0", "1001", "x", "7x", "-1", ""})
    EXPECT_EQ(get(port, std::string("/v1/dead-letters?limit=") + limit, key).status, 400) << limit;
  EXPECT_EQ(
      get(port, "/v1/dead-letters?user=al&topic=t&reason=expired&since=2026-11-21T10:00:00Z&until=2026-11-21T11:00:00.5%2B01:00&state=all", key).body,
      R"({"after":"","limit":100,"user":"al","topic":"t","reason":"expired","since":1795255200000,"until":1795255200500,"all":true})");
  for (const char* bad : {"reason=ugly", "since=yesterday", "user=", "state=alive", "colour=red"}) {
    const auto answer = get(port, std::string("/v1/dead-letters?") + bad, key);
    EXPECT_EQ(answer.status, 400) << bad;
    const std::string field(bad, std::string_view(bad).find('='));
    EXPECT_NE(answer.body.find("\"field\":\"" + field + "\""), std::string::npos) << answer.body;
  }
  EXPECT_EQ(get(port, "/v1/dead-letters/t%2F0%2F5", key).body, R"({"id":"t/0/5"})");
  EXPECT_EQ(get(port, "/v1/dead-letters/nothing", key).status, 404);
  EXPECT_EQ(get(port, "/v1/dead-letters/nothing").status, 401);
  EXPECT_EQ(get(port, "/v1/nothing", key).status, 404);
  EXPECT_EQ(get(up->public_port(), "/v1/actors", key).status, 404) << "not on the public port";
}

TEST_F(http_test, requeues_and_purges_what_a_body_names_and_says_which_part_of_it_is_wrong) {
  start();
  const auto ask = [&](const std::string& what, const std::string& body) { return post("", body, "key-number-one-01", "/v1/dead-letters/" + what); };
  EXPECT_EQ(ask("requeue", R"({"id":"a"})").body, R"({"requeue":{"after":"","limit":100,"id":"a"}})");
  EXPECT_EQ(ask("requeue", R"({"ids":["a","b"]})").body, R"({"requeue":{"after":"","limit":100,"id":"a","id":"b"}})");
  EXPECT_EQ(ask("purge", R"({"reason":"expired","user":"al","limit":7})").body, R"({"purge":{"after":"","limit":7,"user":"al","reason":"expired"}})");
  EXPECT_EQ(ask("purge", R"({"all":true})").body, R"({"purge":{"after":"","limit":100}})");
  const auto conflict = ask("requeue", R"({"id":"t/0/1"})");
  EXPECT_EQ(conflict.status, 409);
  EXPECT_THAT(conflict.body, HasSubstr(R"("field":"id")"));
  for (const auto& [body, field] : std::vector<std::pair<std::string, std::string>>{{"", "body"},
                                                                                    {"[]", "body"},
                                                                                    {"{}", "ids"},
                                                                                    {R"({"limit":5})", "ids"},
                                                                                    {R"({"ids":[]})", "ids"},
                                                                                    {R"({"ids":[1]})", "ids"},
                                                                                    {R"({"id":""})", "id"},
                                                                                    {R"({"all":false})", "all"},
                                                                                    {R"({"all":true,"limit":0})", "limit"},
                                                                                    {R"({"reason":"ugly"})", "reason"},
                                                                                    {R"({"since":5})", "since"}}) {
    const auto x = ask("purge", body);
    EXPECT_EQ(x.status, 400) << body;
    EXPECT_THAT(x.body, HasSubstr("\"field\":\"" + field + "\"")) << body;
  }
  EXPECT_EQ(post("", R"({"all":true})", "wrong-key", "/v1/dead-letters/purge").status, 401);
  EXPECT_EQ(get(up->internal_port(), "/v1/dead-letters/purge", "Authorization: Bearer key-number-one-01\r\n").status, 405);
}

TEST_F(http_test, shows_the_demo_page_only_where_it_is_on_and_with_safe_headers) {
  const asset page{"text/html; charset=utf-8", "<!doctype html>"}, script{"text/javascript", "1"};
  assets = [&](std::string_view path) { return path == "/" ? &page : path == "/demo.js" ? &script : nullptr; };
  start();
  EXPECT_EQ(get(up->public_port(), "/").status, 404);
  up->stop();
  settings.demo.enabled = true;
  start();
  const auto x = get(up->public_port(), "/?a=b");
  EXPECT_EQ(x.body, "<!doctype html>");
  EXPECT_TRUE(x.has("Content-Security-Policy: default-src 'self'"));
  EXPECT_TRUE(x.has("X-Content-Type-Options: nosniff"));
  EXPECT_EQ(get(up->public_port(), "/demo.js").body, "1");
  const auto head = get(up->public_port(), "/", "", "HEAD");
  EXPECT_TRUE(head.has("Content-Length: 15\r\n"));
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(get(up->public_port(), "/", "", "POST").status, 405);
  EXPECT_EQ(get(up->public_port(), "/../etc/passwd").status, 404);
}

TEST_F(http_test, says_which_address_is_in_use) {
  start();
  config other = settings;
  other.http.listen = "127.0.0.1:" + std::to_string(up->public_port());
  http_server second_server(other, {&first}, door, in, look, numbers);
  const auto failed = second_server.start();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ec::unavailable);
  EXPECT_THAT(failed.error().detail, HasSubstr(other.http.listen + " is in use"));
  EXPECT_EQ(failed.error().field, "http.listen");
}

TEST_F(http_test, refuses_a_listen_option_that_is_no_address) {
  for (const char* text : {"8000", "nowhere.example:8000", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:80x"}) {
    settings.internal.listen = text;
    http_server x(settings, {&first}, door, in, look, numbers);
    const auto failed = x.start();
    ASSERT_FALSE(failed) << text;
    EXPECT_EQ(failed.error().code, ec::bad_config);
    EXPECT_EQ(failed.error().field, "internal.listen");
  }
}

TEST_F(http_test, connections_come_and_go_on_two_loops_at_once) {
  start();
  constexpr int clients = 4, rounds = 250;
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < rounds; ++n) {
        raw_client x(up->public_port());
        if (n % 3 == i % 3) continue;  // gone before it was served
        x.write("GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        if (x.read_response().status == 404) ++answered;
      }
    });
  for (auto& x : threads) x.join();
  EXPECT_EQ(answered, 4 * 250 - 84 - 83 - 83 - 84);  // the rounds in which n % 3 == i % 3
}

}  // namespace
}  // namespace doorstep::testing_net
