// SPDX-License-Identifier: Apache-2.0
// ROUTER with rules: one road for records and requests, wide fan-outs in steps, and rules that change in the middle of one.
#include "actors/partition.hpp"
#include "actors/reloader.hpp"
#include "tests/actors/fake_source.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/runtime/routes_fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class routes_test : public house_in_a_bottle {
protected:
  void SetUp() override {
    source_config source;
    source.name = "orders";
    source.format = "json";
    options_.sources.push_back(source);
    options_.routing.fan_out_step = 100;
    options_.routes = table_of(rules_);
    house_in_a_bottle::SetUp();
    auto make = &partition;
    partition_ = spawn_on(system_, nullptr, make, &parts_, partition_birth{{"orders", 0}, 1, -1, &options_.sources[0], &source_, router_});
    caf::anon_send(partition_, alarm{});
    settle();
  }
  void TearDown() override {
    caf::anon_send(partition_, revoke{});
    settle();
    partition_ = nullptr;
    house_in_a_bottle::TearDown();
  }

  void record(const std::string& value) {
    const auto offset = static_cast<std::int64_t>(source_.records.size());
    source_.records[offset] = made_record(offset, "key", value);
  }
  void hand_over() { caf::anon_send(partition_, take_records{source_.take(100)}); }
  static std::string wide(const std::string& id, std::size_t count, const std::string& prefix = "u") {
    std::string out = R"({"id":")" + id + R"(","to":[)";
    for (std::size_t i = 0; i < count; ++i) out.append(i == 0 ? "\"" : ",\"").append(prefix).append(std::to_string(i)).append("\"");
    return out + "]}";
  }
  std::vector<message_ptr> of(const std::string& user) { return log_.messages_of(address::user(user).value(), sequence{}, SIZE_MAX); }
  std::size_t users_with(std::size_t messages, std::size_t count, const std::string& prefix = "u") {
    std::size_t out = 0;
    for (std::size_t i = 0; i < count; ++i) out += of(prefix + std::to_string(i)).size() == messages ? 1 : 0;
    return out;
  }
  void use(const std::string& rules) { caf::anon_send(router_, use_routes{table_of(rules)}); }
  /// Actors run, the log does not commit.
  void run_actors() { sched().run(); }

  std::string rules_ = R"(
[[routes]]
match.where = "/data/to"
to = "users:{/data/to}"
render.title = "Order {/data/id}"
[[routes]]
match.where = "/data/buyer"
to = "user:{/data/buyer}"
)";
  fake_source source_;
  partition_actor partition_;
};

event published_event(const std::string& id, const std::string& data) {
  event x;
  x.id = id;
  x.source = "/test";
  x.type = "test";
  x.data = data;
  return x;
}

TEST_F(routes_test, records_and_published_events_go_by_the_same_rules) {
  record(R"({"id":"7","to":["bob"]})");
  hand_over();
  settle();
  EXPECT_THAT(source_.commits, ElementsAre(1));
  const auto outcome = publish({published_event("8", R"({"id":"8","to":["bob"]})"), published_event("9", R"({"nothing":1})")});
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_EQ((*outcome)[0].accepted, 1U);
  EXPECT_TRUE((*outcome)[1].unmatched);
  EXPECT_EQ((*outcome)[1].accepted, 0U);
  const auto got = of("bob");
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0]->what->extension("title"), "Order 7");
  EXPECT_EQ(got[1]->what->extension("title"), "Order 8");
  EXPECT_EQ(counts_.unmatched.value(), 1);
  EXPECT_EQ(counts_.of_route("route 1").matches.value(), 2);
  EXPECT_EQ(counts_.of_route("route 2").matches.value(), 0);
}

TEST_F(routes_test, how_a_rule_has_it_delivered_reaches_the_log_and_counts_before_what_the_event_asks_for) {
  const std::string to = "[[routes]]\nto = \"users:{/data/to}\"\n";
  use(to + "order = \"strict\"\nkey = \"o-{/data/id}\"\nttl = \"2h\"\nmax_attempts = 4\npriority = 7\n");
  record(R"({"id":"7","to":["bob"]})");
  hand_over();
  settle();
  auto asks = published_event("8", R"({"id":"8","to":["bob"]})");
  asks.extensions = {{"deliverypriority", "2"}};
  ASSERT_TRUE(publish({asks}));
  use(to);
  ASSERT_TRUE(publish({published_event("9", R"({"id":"9","to":["bob"]})")}));
  const auto got = of("bob");
  ASSERT_EQ(got.size(), 3U);
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(got[i]->terms);
    EXPECT_EQ(got[i]->terms->order, delivery_terms::ordering::strict);
    EXPECT_EQ(got[i]->terms->key, i == 0 ? "o-7" : "o-8");
    EXPECT_EQ(got[i]->terms->ttl, milliseconds{7'200'000});
    EXPECT_EQ(got[i]->terms->max_attempts, 4U);
    EXPECT_EQ(got[i]->terms->priority, 7);
  }
  EXPECT_FALSE(got[2]->terms);
}

TEST_F(routes_test, a_bad_recipient_is_a_dead_letter_or_a_refusal_that_names_the_rule) {
  record(R"({"to":["a",1.5]})");
  record(R"({"buyer":"good"})");
  hand_over();
  settle();
  pass(milliseconds{2000});
  const auto dead = store_.dead();
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, dead_reason::malformed);
  EXPECT_THAT(dead[0].detail, HasSubstr("users:{/data/to}: route 1: "));
  EXPECT_EQ(of("good").size(), 1U);
  EXPECT_TRUE(of("a").empty()) << "all of an event or nothing";
  const auto refused = publish({published_event("1", R"({"buyer":"x"})"), published_event("2", R"({"buyer":{}})")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "[1].user:{/data/buyer}");
  EXPECT_TRUE(of("x").empty());
}

TEST_F(routes_test, what_nothing_matches_is_dropped_dead_lettered_or_sent_to_the_fallback) {
  record("{}");
  hand_over();
  settle();
  EXPECT_EQ(counts_.records_no_recipient.value(), 1);
  EXPECT_EQ(counts_.unmatched.value(), 1);
  use("[routing]\nunmatched = \"dead_letter\"\n" + rules_);
  record(R"({"n":1})");
  hand_over();
  settle();
  const auto outcome = publish({published_event("5", R"({"n":2})")});
  ASSERT_TRUE(outcome);
  EXPECT_EQ((*outcome)[0].accepted, 0U);
  pass(milliseconds{2000});
  const auto dead = store_.dead();
  ASSERT_EQ(dead.size(), 2U);
  EXPECT_EQ(dead[0].reason, dead_reason::no_route);
  EXPECT_EQ(dead[0].offset, 1);
  EXPECT_EQ(dead[1].reason, dead_reason::no_route);
  EXPECT_EQ(dead[1].what->id, "5");
  use("[routing]\nunmatched = \"fallback\"\nfallback = [\"user:ops\"]\n" + rules_);
  record(R"({"n":3})");
  hand_over();
  settle();
  EXPECT_EQ(of("ops").size(), 1U);
  EXPECT_THAT(source_.commits.back(), 3);
}

TEST_F(routes_test, an_event_for_ten_thousand_takes_turns_with_what_comes_meanwhile) {
  record(wide("1", 10'000));
  record(R"({"buyer":"later"})");
  hand_over();
  run_actors();
  EXPECT_LE(log_.queued(), 200U) << "two steps are with the log, and no more";
  bool answered = false;
  caf::anon_send(router_, publish_events{{published_event("2", R"({"buyer":"small"})")}, [&](auto x) { answered = x.has_value(); }});
  run_actors();
  log_.run();
  EXPECT_TRUE(answered) << "it was appended behind two steps of a hundred";
  EXPECT_TRUE(source_.commits.empty());
  EXPECT_TRUE(of("later").empty()) << "the partition's order is kept";
  settle();
  EXPECT_EQ(users_with(1, 10'000), 10'000U);
  EXPECT_EQ(of("later").size(), 1U);
  EXPECT_THAT(source_.commits, ElementsAre(2));
  EXPECT_LT(of("small")[0]->seq, of("u9999")[0]->seq);
  EXPECT_EQ(of("u0")[0]->what.get(), of("u9999")[0]->what.get()) << "rendered once";
}

TEST_F(routes_test, a_large_event_for_many_goes_in_smaller_steps) {
  options_.routing.fan_out_bytes = 64 * 1024;
  record(R"({"id":"1","text":")" + std::string(10'000, 'x') + R"(","to":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p"]})");
  hand_over();
  run_actors();
  EXPECT_EQ(log_.queued(), 12U) << "two steps of six times ten kilobytes";
  settle();
  for (const char* user : {"a", "g", "m", "p"}) EXPECT_EQ(of(user).size(), 1U) << user;
  EXPECT_THAT(source_.commits, ElementsAre(1));
}

TEST_F(routes_test, a_batch_behind_a_wide_one_of_its_partition_waits_and_one_fan_out_does_not_starve_another) {
  record(wide("1", 3000));
  hand_over();
  run_actors();
  record(R"({"buyer":"behind"})");
  hand_over();
  bool other_done = false;
  auto more = published_event("x", wide("x", 300, "w"));
  caf::anon_send(router_, publish_events{{more}, [&](auto x) { other_done = x.has_value() && (*x)[0].accepted == 300; }});
  for (int i = 0; i < 12; ++i) {
    run_actors();
    log_.run();
  }
  run_actors();
  EXPECT_TRUE(other_done) << "three steps took turns with those of the wide one";
  EXPECT_TRUE(of("behind").empty());
  EXPECT_TRUE(source_.commits.empty());
  settle();
  EXPECT_GT(of("behind")[0]->seq, of("u2999")[0]->seq);
  EXPECT_THAT(source_.commits, ElementsAre(1, 2));
}

TEST_F(routes_test, a_step_that_fails_commits_nothing_and_all_of_it_is_made_again_without_a_second_message) {
  record(wide("1", 1000));
  record(R"({"buyer":"later"})");
  hand_over();
  run_actors();
  log_.run();
  log_.fail_with(failure{ec::unavailable, "disk full", {}});
  settle();
  EXPECT_TRUE(source_.commits.empty());
  EXPECT_GT(users_with(1, 1000), 0U);
  EXPECT_GT(users_with(0, 1000), 0U);
  log_.fail_with(std::nullopt);
  pass(milliseconds{6000});
  ASSERT_EQ(source_.rewinds, 1);
  hand_over();
  settle();
  EXPECT_EQ(users_with(1, 1000), 1000U);
  EXPECT_EQ(of("later").size(), 1U);
  EXPECT_THAT(source_.commits, ElementsAre(2));
}

TEST_F(routes_test, rules_that_change_in_the_middle_of_a_fan_out_lose_nothing_and_repeat_nothing) {
  record(wide("1", 1000));
  record(R"({"buyer":"b"})");
  hand_over();
  run_actors();
  log_.run();
  use("[[routes]]\nmatch.where = \"/data/buyer\"\nto = \"user:new\"\n[[routes]]\nto = \"users:{/data/to}\"");
  run_actors();
  log_.run();
  log_.fail_with(failure{ec::unavailable, "disk full", {}});
  settle();
  log_.fail_with(std::nullopt);
  pass(milliseconds{6000});
  hand_over();
  settle();
  EXPECT_EQ(users_with(1, 1000), 1000U) << "the rest by the new rules, what was there is recognised";
  EXPECT_EQ(of("new").size(), 1U);
  EXPECT_TRUE(of("b").empty());
  EXPECT_THAT(source_.commits, ElementsAre(2));
}

TEST_F(routes_test, a_partition_that_is_taken_away_ends_its_fan_out) {
  record(wide("1", 10'000));
  hand_over();
  run_actors();
  caf::anon_send(partition_, revoke{});
  partition_ = nullptr;
  settle();
  EXPECT_GT(users_with(0, 10'000), 9'000U);
  publish({published_event("2", R"({"buyer":"small"})")});
  EXPECT_EQ(of("small").size(), 1U);
}

TEST_F(routes_test, a_reload_is_whole_or_not_at_all) {
  std::string file = "[[routes]]\nto = \"user:{/data/id\"";
  parts_.read_again = [&] { return load_config(file, "doorstep.toml", {}, {}); };
  auto make = &reloader;
  caf::actor_config plain;
  int told = 0;
  auto who = system_.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain, make, &parts_, router_, std::function<void()>([&] { ++told; }));
  const auto ask = [&] {
    result<std::string> out = failure{ec::internal, "never answered", {}};
    caf::anon_send(who, reload{[&](auto x) { out = std::move(x); }});
    settle();
    return out;
  };
  const auto refused = ask();
  ASSERT_FALSE(refused);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(refused.error().code, ec::bad_config);
  EXPECT_THAT(refused.error().detail, HasSubstr("doorstep.toml:2:12"));
  publish({published_event("1", R"({"buyer":"old"})")});
  EXPECT_EQ(of("old").size(), 1U) << "the rules before it stay";
  file =
      "[delivery]\nwindow = 3\n[[sources]]\nname = \"orders\"\nbrokers = \"x:1\"\ntopics = [\"a\"]\nformat = \"json\"\n"
      "[[routes]]\nto = \"user:new\"\nmatch.header = { a = \"b\" }";
  const auto taken = ask();
  ASSERT_TRUE(taken) << to_string(taken.error());
  EXPECT_EQ(told, 1) << "sessions may have to read other channels";
  EXPECT_THAT(*taken, HasSubstr("\"routes\":1"));
  EXPECT_THAT(*taken, HasSubstr("\"delivery.window\""));
  EXPECT_TRUE(parts_.routes->reads_headers());
  publish({published_event("2", R"({"buyer":"old"})")});
  EXPECT_EQ(of("old").size(), 1U);
  result<std::vector<publish_outcome>> outcome = failure{ec::internal, "never answered", {}};
  caf::anon_send(router_, publish_events{{published_event("3", "{}")},
                                         [&](auto x) { outcome = std::move(x); },
                                         std::make_shared<const std::vector<header>>(std::vector<header>{{"A", "b"}})});
  settle();
  EXPECT_EQ(of("new").size(), 1U);
  file = "";
  ASSERT_TRUE(ask());
  EXPECT_FALSE(publish({published_event("4", "{}")})) << "without rules touser is needed again";
  caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  who = nullptr;
  settle();
}

}  // namespace
}  // namespace doorstep::test
