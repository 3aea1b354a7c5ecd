// SPDX-License-Identifier: Apache-2.0
// What is past its time becomes a dead letter although nobody asks for it, and what is old goes, with a virtual clock.
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;

class expiry_test : public house_in_a_bottle {
protected:
  expiry_test() {
    options_.delivery.expiry_interval = milliseconds{60'000};
    options_.delivery.ttl = milliseconds{300'000};
    anchor_clock();
  }
  void publish_until(const std::string& user, const std::string& id, milliseconds lives) {
    auto x = made_event(id, user);
    x.expires = {parts_.clock.time_at(sched().clock().now()).value + lives.count()};
    ASSERT_TRUE(publish({x}));
  }
  void look() { pass(options_.delivery.expiry_interval + milliseconds{10'000}); }
  cursor acked_by(const std::string& user) const { return store_.record_of(address::user(user).value()).acked; }
  std::vector<std::string> dead() const {
    std::vector<std::string> out;
    for (const auto& x : store_.dead()) out.push_back(x.what->id + " " + std::string(name(x.reason)));
    return out;
  }
  std::uint64_t unread(const std::string& user) {
    std::uint64_t out = 0;
    store_.load(address::user(user).value(), 100, [&](const result<stored_mailbox>& x) { out = x->unread; });
    settle();
    return out;
  }
};

TEST_F(expiry_test, who_never_returns_is_owed_nothing_past_its_time_any_more_exactly_once) {
  publish_until("alice", "1", milliseconds{30'000});
  publish_to("alice", "2");
  publish_until("bob", "3", milliseconds{3'000'000});
  look();
  EXPECT_THAT(dead(), ElementsAre("1 expired"));
  EXPECT_EQ(counts_.expired.value(), 1);
  EXPECT_EQ(unread("alice"), 1u);
  EXPECT_TRUE(boxes().empty()) << "the mailbox was there for that alone";
  look();
  look();
  EXPECT_EQ(store_.dead().size(), 1u);
  pass(milliseconds{300'000});
  look();
  EXPECT_THAT(dead(), ElementsAre("1 expired", "2 expired")) << "the second one by its age";
  EXPECT_EQ(unread("alice"), 0u);
  EXPECT_EQ(unread("bob"), 1u);
  EXPECT_TRUE(boxes().empty());
  auto& phone = connect("bob");
  EXPECT_THAT(phone.seen->events(), ElementsAre("3")) << "it names a later time than delivery.ttl";
}

TEST_F(expiry_test, what_a_client_has_in_hand_is_left_to_it_and_what_waits_behind_it_is_not) {
  options_.delivery.window = 1;
  options_.delivery.ack_timeout = milliseconds{3'600'000};
  auto& phone = connect("alice");
  publish_until("alice", "1", milliseconds{30'000});
  publish_until("alice", "2", milliseconds{30'000});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  look();
  EXPECT_THAT(dead(), ElementsAre("2 expired"));
  say(phone, client::ack{1, {}, {phone.seen->pushes[0].what->id}});
  pass(milliseconds{1'000});
  look();
  EXPECT_THAT(dead(), ElementsAre("2 expired"));
  EXPECT_TRUE(acked_by("alice").is_acked(phone.seen->pushes[0].what->seq));
  publish_to("alice", "3");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "3"));
}

TEST_F(expiry_test, a_store_that_fails_meanwhile_delays_it_and_doubles_nothing) {
  publish_until("alice", "1", milliseconds{30'000});
  pass(milliseconds{59'000});
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  look();
  EXPECT_TRUE(store_.dead().empty());
  store_.fail_with(std::nullopt);
  look();
  look();
  EXPECT_THAT(dead(), ElementsAre("1 expired"));
  EXPECT_EQ(counts_.dead.value(), 1);
}

TEST_F(expiry_test, hundreds_of_users_are_woken_and_put_away_again) {
  for (int i = 0; i < 500; ++i) publish_until("u" + std::to_string(i), std::to_string(i), milliseconds{1'000});
  look();
  EXPECT_EQ(store_.dead().size(), 500u);
  EXPECT_TRUE(boxes().empty());
  EXPECT_EQ(counts_.mailboxes.value(), 0);
}

TEST_F(expiry_test, dead_letters_go_after_their_retention) {
  options_.dead_letters.retention = milliseconds{3'600'000};
  publish_until("alice", "1", milliseconds{1'000});
  look();
  ASSERT_EQ(store_.dead().size(), 1u);
  const auto minutes_later = [&](int minutes) {
    for (int i = 0; i < minutes; ++i) pass(milliseconds{60'000});
  };
  minutes_later(55);
  EXPECT_EQ(store_.dead().size(), 1u);
  minutes_later(25);
  EXPECT_TRUE(store_.dead().empty());
  EXPECT_EQ(counts_.dead_retained_out.value(), 1);
}

}  // namespace
}  // namespace doorstep::test
