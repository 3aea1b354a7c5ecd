// SPDX-License-Identifier: Apache-2.0
// What stands between a good token and a session: tickets, who is denied, shares of users and addresses, the application's word.
#include "net/connect_hook.hpp"
#include "net/deny_list.hpp"
#include "net/shares.hpp"
#include "net/tickets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doorstep {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
const steady_time now{std::chrono::hours{1000}};

identity alice(std::vector<std::string> roles = {}) {
  identity who{"alice"};
  who.roles = std::move(roles);
  return who;
}

TEST(tickets, are_good_once_for_whom_they_were_made) {
  ticket_office office(10);
  const auto one = office.issue(alice({"admin"}), seconds{30}, now), two = office.issue({"bob"}, seconds{30}, now);
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
  EXPECT_EQ(one->size(), 43U);
  const auto who = office.take(*one, now + seconds{29});
  ASSERT_TRUE(who);
  EXPECT_EQ(who->user, "alice");
  EXPECT_THAT(who->roles, ElementsAre("admin"));
  EXPECT_FALSE(office.take(*one, now + seconds{29}));
  EXPECT_FALSE(office.take("", now));
  EXPECT_FALSE(office.take(two->substr(1), now));
  EXPECT_FALSE(office.take(*two, now + seconds{30})) << "its time is over";
  EXPECT_EQ(office.size(), 0U);
}

TEST(tickets, are_bounded_for_all_and_for_one_user_and_make_room_when_used_or_over) {
  ticket_office office(20);
  for (std::size_t i = 0; i < ticket_office::of_a_user_max; ++i) ASSERT_TRUE(office.issue(alice(), seconds{30}, now));
  EXPECT_EQ(office.issue(alice(), seconds{30}, now).error().code, ec::queue_full);
  for (const auto* user : {"a", "b", "c"}) ASSERT_TRUE(office.issue({user}, seconds{30}, now));
  const auto last = office.issue({"d"}, seconds{30}, now);
  ASSERT_TRUE(last);
  EXPECT_EQ(office.issue({"e"}, seconds{30}, now).error().code, ec::queue_full);
  ASSERT_TRUE(office.take(*last, now));
  EXPECT_TRUE(office.issue({"e"}, seconds{30}, now));
  EXPECT_TRUE(office.issue(alice(), seconds{30}, now + seconds{30}));
  EXPECT_EQ(office.size(), 1U);
}

TEST(tickets, that_are_used_at_once_leave_nothing_behind) {
  ticket_office office(4);
  for (int i = 0; i < 10'000; ++i) {
    const auto ticket = office.issue(alice(), seconds{30}, now);
    ASSERT_TRUE(ticket) << i;
    ASSERT_TRUE(office.take(*ticket, now));
  }
  EXPECT_EQ(office.size(), 0U);
}

TEST(deny_list, means_a_user_a_role_or_a_group_for_its_time) {
  deny_list denied;
  EXPECT_FALSE(denied.has(alice({"admin"}), now));
  ASSERT_TRUE(denied.add("role:admin", seconds{10}, now));
  ASSERT_TRUE(denied.add("user:bob", seconds{20}, now));
  EXPECT_TRUE(denied.has(alice({"admin", "x"}), now));
  EXPECT_FALSE(denied.has(alice({"adm"}), now));
  EXPECT_FALSE(denied.has({"role:admin"}, now)) << "a user of that name has no such role";
  EXPECT_TRUE(denied.has({"bob"}, now + seconds{19}));
  EXPECT_FALSE(denied.has(alice({"admin"}), now + seconds{10}));
  identity member{"carol"};
  member.groups = {"red"};
  EXPECT_TRUE(is_denied({"group:red"}, member));
  EXPECT_FALSE(is_denied({"role:red", "user:red", "group:re"}, member));
}

TEST(deny_list, is_bounded_and_forgets_what_is_over_to_make_room) {
  deny_list denied;
  for (std::size_t i = 0; i < deny_list::entries_max; ++i) ASSERT_TRUE(denied.add("user:" + std::to_string(i), seconds{10}, now));
  EXPECT_EQ(denied.add("user:x", seconds{10}, now).error().code, ec::queue_full);
  EXPECT_TRUE(denied.add("user:7", seconds{100}, now)) << "who is denied can be denied for longer";
  EXPECT_TRUE(denied.add("user:x", seconds{10}, now + seconds{10}));
  EXPECT_TRUE(denied.has({"7"}, now + seconds{50}));
}

TEST(rate_limit, lets_two_seconds_worth_through_at_once_and_its_rate_after_that) {
  rate_limit limit;
  int taken = 0;
  while (limit.take(1, 100, now) && taken < 1000) ++taken;
  EXPECT_EQ(taken, 200);
  EXPECT_FALSE(limit.take(1, 100, now));
  rate_limit bytes;
  EXPECT_TRUE(bytes.take(2000, 1000, now));
  EXPECT_FALSE(bytes.take(1, 1000, now));
  EXPECT_TRUE(bytes.take(900, 1000, now + seconds{1}));
  EXPECT_TRUE(bytes.take(1'000'000'000, 0, now)) << "0 is no limit";
}

TEST(shares, of_a_user_are_given_back_by_their_end) {
  ws_config limits;
  EXPECT_FALSE(user_shares(limits).is_used());
  limits.connections_per_user_max = 2;
  user_shares shares(limits);
  ASSERT_TRUE(shares.is_used());
  auto one = shares.join("alice"), two = shares.join("alice");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one.get(), two.get()) << "both spend from the same";
  EXPECT_FALSE(shares.join("alice"));
  EXPECT_TRUE(shares.join("bob"));
  one.reset();
  EXPECT_TRUE(shares.join("alice"));
}

TEST(shares, of_an_address_count_the_one_too_many_until_it_ends) {
  EXPECT_FALSE(address_shares(0).join("192.0.2.1"));
  address_shares shares(1);
  auto one = shares.join("192.0.2.1"), two = shares.join("192.0.2.1"), other = shares.join("192.0.2.2");
  EXPECT_FALSE(*one);
  EXPECT_TRUE(*two);
  EXPECT_FALSE(*other);
  one.reset();
  EXPECT_TRUE(*shares.join("192.0.2.1")) << "the second is still there";
  two.reset();
  EXPECT_FALSE(*shares.join("192.0.2.1"));
}

TEST(connect_hook, asks_with_all_that_is_known_quoted) {
  hook_question about{alice({"a\"b"}), "phone", "192.0.2.1:5", "https://x", {{"Cookie", "a=\"b\"\x01"}}};
  EXPECT_EQ(hook_question_text(about),
            "{\"user\":\"alice\",\"roles\":[\"a\\\"b\"],\"groups\":[],\"device\":\"phone\",\"remote\":\"192.0.2.1:5\",\"origin\":\"https://x\","
            "\"headers\":{\"Cookie\":\"a=\\\"b\\\"\\u0001\"}}");
  EXPECT_THAT(hook_question_text({{}, "", "", "", {}}), testing::StartsWith("{\"roles\":[]"));
}

TEST(connect_hook, an_answer_replaces_what_it_names_and_only_shortens_the_end) {
  auto who = alice({"viewer"});
  who.expires_at = 1000;
  who.groups = {"g"};
  const auto answer = read_hook_answer(R"({"allow":true,"user":"bob","roles":"admin, x","expires_at":2000,"info":{"a":[1]}})", who);
  ASSERT_TRUE(answer) << answer.error().detail;
  EXPECT_TRUE(answer->allow);
  EXPECT_EQ(answer->who.user, "bob");
  EXPECT_THAT(answer->who.roles, ElementsAre("admin", "x"));
  EXPECT_THAT(answer->who.groups, ElementsAre("g"));
  EXPECT_EQ(answer->who.expires_at, 1000);
  EXPECT_EQ(answer->who.info, R"({"a":[1]})");
  EXPECT_EQ(read_hook_answer(R"({"allow":true,"expires_at":7,"roles":null})", who)->who.expires_at, 7);
  EXPECT_EQ(read_hook_answer(R"({"allow":false,"reason":"no"})", who)->reason, "no");
}

TEST(connect_hook, whatever_else_it_says_is_no_answer) {
  for (const auto* body :
       {"", "yes", "[]", "{}", R"({"allow":1})", R"({"allow":"true"})", R"({"allow":true,"user":7})", R"({"allow":true,"user":""})",
        R"({"allow":true,"roles":7})", R"({"allow":true,"roles":[7]})", R"({"allow":true,"expires_at":-1})", R"({"allow":true,"expires_at":"x"})"}) {
    const auto answer = read_hook_answer(body, alice());
    ASSERT_FALSE(answer) << body;
    EXPECT_EQ(answer.error().code, ec::unavailable);
  }
  EXPECT_FALSE(read_hook_answer(R"({"allow":true})", {})) << "nobody is let in without a name";
  EXPECT_FALSE(read_hook_answer(R"({"allow":true,"info":")" + std::string(20'000, 'x') + "\"}", alice()));
}

}  // namespace
}  // namespace doorstep
