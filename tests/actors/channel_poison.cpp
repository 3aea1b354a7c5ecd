// SPDX-License-Identifier: Apache-2.0
// A message of a channel that can never be delivered, and a channel that cannot be kept alive: neither closes a session, or keeps a mailbox.
#include "actors/dead_letters.hpp"
#include "tests/actors/channel_fixture.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class channel_poison_test : public channel_test {
protected:
  channel_poison_test() {
    options_.delivery.poison_attempts = 3;
    options_.delivery.mailbox_restarts_max = 5;
    options_.delivery.mailbox_restart_window = milliseconds{60'000};
  }
  void pass_often(int times) {
    for (int i = 0; i < times; ++i) pass(milliseconds{50});
  }
};

TEST_F(channel_poison_test, a_message_that_fails_every_push_is_buried_once_and_the_channel_goes_on) {
  auto &ann = come("ann"), &bob = come("bob"), &cat = come("cat");
  for (auto* x : {&ann, &bob, &cat}) x->seen->poison = {"2"};
  send("everybody", "1");
  send("everybody", "2");
  send("everybody", "3");
  pass_often(20);
  ASSERT_EQ(store_.dead().size(), 1U);
  const auto letter = store_.dead()[0];
  EXPECT_EQ(letter.reason, dead_reason::poison);
  EXPECT_EQ(letter.to, address::all());
  EXPECT_EQ(letter.what->id, "2");
  EXPECT_EQ(counts_.poisoned.value(), 1);
  send("everybody", "4");
  for (auto* x : {&ann, &bob, &cat}) {
    EXPECT_FALSE(x->seen->closed_with);
    EXPECT_THAT(x->seen->left, IsEmpty());
    const auto events = x->seen->events();
    EXPECT_EQ(std::count(events.begin(), events.end(), "2"), 0);
    for (const auto* id : {"1", "3", "4"}) EXPECT_GE(std::count(events.begin(), events.end(), id), 1) << id;
    ack(*x, "all", x->seen->pushes.back().what->seq);
    EXPECT_EQ(x->seen->receipts.back().up_to, (seq_by_address{{address::all(), x->seen->pushes.back().what->seq}})) << "the cursor has passed it";
  }
  send("bob", "5");
  EXPECT_EQ(bob.seen->events().back(), "5");
}

TEST(restart_budget, keeps_the_newest_messages_of_a_channel_that_were_given_up) {
  delivery_config limits;
  limits.poison_attempts = 1;
  restart_budget budget;
  budget.note(address::all(), steady_time{}, limits);
  const std::uint64_t count = restart_budget::poisoned_max + 10;
  for (std::uint64_t i = 1; i <= count; ++i) {
    budget.suspect(address::all())->in_hand = sequence{i};
    budget.note(address::all(), steady_time{milliseconds{static_cast<std::int64_t>(i)}}, limits);
  }
  const auto kept = budget.poisoned(address::all());
  ASSERT_EQ(kept.size(), restart_budget::poisoned_max);
  EXPECT_EQ(kept.front(), sequence{11});
  EXPECT_EQ(kept.back(), sequence{count});
  budget.suspect(address::all())->in_hand = sequence{1};  // a forgotten one is met again
  budget.note(address::all(), steady_time{milliseconds{1'000}}, limits);
  EXPECT_EQ(budget.poisoned(address::all()).back(), sequence{1});
}

TEST_F(channel_poison_test, what_was_buried_can_be_requeued_for_the_whole_channel) {
  auto &ann = come("ann"), &bob = come("bob");
  for (auto* x : {&ann, &bob}) x->seen->poison = {"1"};
  send("everybody", "1");
  pass_often(20);
  ASSERT_EQ(store_.dead().size(), 1U);
  for (auto* x : {&ann, &bob}) x->seen->poison = {};
  dead_letter_filter which;
  which.ids = {store_.dead()[0].id};
  std::string answer;
  requeue_dead_letters(parts_, which, [&](const result<std::string>& x) { answer = x ? *x : x.error().detail; });
  settle();
  EXPECT_NE(answer.find("\"requeued\":1"), std::string::npos) << answer;
  for (auto* x : {&ann, &bob}) {
    ASSERT_THAT(x->seen->events(), ElementsAre("1"));
    const auto& again = x->seen->pushes[0];
    EXPECT_EQ(again.what->to, address::all());
    EXPECT_TRUE(again.redelivered) << "it may have been seen before it was buried";
    ack(*x, "all", again.what->seq);
    EXPECT_EQ(x->seen->receipts.back().up_to, (seq_by_address{{address::all(), again.what->seq}}));
  }
  EXPECT_TRUE(store_.dead()[0].requeued);
}

TEST_F(channel_poison_test, a_channel_that_fails_for_all_it_holds_is_left_and_joined_again_while_the_mailbox_goes_on) {
  options_.delivery.poison_attempts = 100;
  auto& bob = come("bob");
  bob.seen->poison = {"1"};
  send("everybody", "1");
  pass_often(20);
  EXPECT_FALSE(bob.seen->closed_with);
  ASSERT_EQ(bob.seen->left.size(), 1U);
  EXPECT_EQ(bob.seen->left[0].addresses, std::vector{address::all()});
  ASSERT_EQ(bob.seen->errors.size(), 1U);
  EXPECT_EQ(bob.seen->errors[0].what.code, ec::internal);
  EXPECT_EQ(bob.seen->errors[0].what.field, "all");
  send("bob", "2");
  ASSERT_THAT(bob.seen->events(), ElementsAre("2"));
  ack(bob, "user:bob", bob.seen->pushes[0].what->seq);
  EXPECT_EQ(bob.seen->receipts.size(), 1U);
  auto& late = come("late");
  ASSERT_EQ(late.seen->connected.size(), 1U) << "it is greeted without the channel";
  EXPECT_THAT(addresses(late), ElementsAre("user:late"));
  bob.seen->poison = {};
  for (int i = 0; i < 20; ++i) pass(milliseconds{5'000});
  ASSERT_EQ(bob.seen->joined.size(), 1U);
  EXPECT_EQ(late.seen->joined.size(), 1U);
  EXPECT_EQ(bob.seen->events().back(), "1");
}

TEST_F(channel_poison_test, a_topic_that_cannot_be_kept_alive_is_refused_to_who_subscribes) {
  options_.delivery.poison_attempts = 100;
  auto& bob = come("bob");
  const auto topic = address::parse("topic:news.eu").value();
  say(bob, client::subscribe{4, topic});
  bob.seen->poison = {"1"};
  send("news", "1");
  pass_often(20);
  EXPECT_EQ(bob.seen->left.size(), 1U);
  auto& late = come("late");
  say(late, client::subscribe{4, topic});
  ASSERT_EQ(late.seen->errors.size(), 1U);
  EXPECT_EQ(late.seen->errors[0].id, 4U);
  EXPECT_EQ(late.seen->errors[0].what.code, ec::internal);
  EXPECT_FALSE(late.seen->closed_with);
}

}  // namespace
}  // namespace doorstep::test
