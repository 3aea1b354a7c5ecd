// SPDX-License-Identifier: Apache-2.0
// SHARD and MAILBOX with a store that does not share the log's rows and lags behind it: what is not stored yet is owed all the same.
#include "runtime/log.hpp"
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>

namespace doorstep::test {
namespace {

using testing::ElementsAre;

class store_behind_test : public house_in_a_bottle {
protected:
  store_behind_test() : house_in_a_bottle(false) {}
  void lose_the_store() { store_.fail_with(failure{ec::unavailable, "no server", {}}); }
  void find_it_again() { store_.fail_with(std::nullopt); }
};

TEST_F(store_behind_test, messages_are_pushed_and_stored_and_acked) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ASSERT_THAT(phone.seen->events(), ElementsAre("1"));
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_EQ(store_.positions()[0].next_offset, 1U);
}

TEST_F(store_behind_test, one_that_waits_for_the_store_reaches_a_user_who_connects_meanwhile) {
  lose_the_store();
  publish_to("alice", "1");
  find_it_again();
  auto& phone = connect("alice");  // the store is read, and does not have it yet
  publish_to("alice", "2");
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2"));
  ack_up_to(phone, "alice", phone.seen->pushes.back().what->seq);
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
}

TEST_F(store_behind_test, whoever_is_attached_is_served_while_the_store_is_away_and_nothing_is_pushed_twice_when_it_is_back) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  lose_the_store();
  publish_to("alice", "2");
  pass(milliseconds{2000});
  publish_to("alice", "3");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2", "3"));
  find_it_again();
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(store_.positions()[0].next_offset, 3U);
}

TEST_F(store_behind_test, mailboxes_that_cannot_be_loaded_do_not_flood_the_log) {
  lose_the_store();
  set_log_output("warn", "text");
  testing::internal::CaptureStderr();
  for (int i = 0; i < 50; ++i) connect("u" + std::to_string(i));
  pass(milliseconds{2000});
  const auto log = testing::internal::GetCapturedStderr();
  set_log_output("off", "text");
  EXPECT_THAT(log, testing::HasSubstr("WARN  mailbox load-failed user=user:u0"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

class small_backlog_test : public store_behind_test {
protected:
  static constexpr std::size_t messages_max = 5'000;
  small_backlog_test() {
    options_.store.backlog_messages_max = messages_max;
    parts_.backlog = std::make_shared<store_backlog>(options_.store, counts_);
  }
  void publish_many(int from, int to) {
    std::vector<event> all;
    for (int i = from; i < to; ++i) all.push_back(made_event(std::to_string(i), "alice"));
    ASSERT_TRUE(publish(std::move(all)));
  }
  shard_state& shard_seen() { return dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]))->state; }
};

TEST_F(small_backlog_test, a_shard_reads_no_further_than_so_many_messages_ahead_of_the_store_and_all_is_stored_once_it_is_back) {
  lose_the_store();
  publish_many(0, 20'000);
  EXPECT_GE(shard_seen().next_offset, messages_max);
  EXPECT_LT(shard_seen().next_offset, messages_max + 2'000);
  EXPECT_EQ(counts_.store_backlog.value(), static_cast<double>(shard_seen().next_offset));
  EXPECT_GT(counts_.store_backlog_bytes.value(), counts_.store_backlog.value() * sizeof(message));
  find_it_again();
  pass(milliseconds{3000});
  EXPECT_EQ(shard_seen().next_offset, 20'000U);
  EXPECT_EQ(store_.positions()[0].next_offset, 20'000U);
  EXPECT_EQ(counts_.store_backlog.value(), 0);
  EXPECT_EQ(counts_.store_backlog_bytes.value(), 0);
  auto& phone = connect("alice");
  EXPECT_EQ(phone.seen->events().front(), "0");
}

TEST_F(small_backlog_test, publishers_are_refused_while_as_much_waits_for_the_store_as_may_and_what_was_accepted_is_delivered) {
  auto& phone = connect("bob");
  lose_the_store();
  publish_many(0, static_cast<int>(messages_max) - 1);
  publish_to("bob", "b1");
  EXPECT_THAT(phone.seen->events(), ElementsAre("b1"));
  const auto refused = publish({made_event("b2", "bob")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ec::unavailable);
  EXPECT_TRUE(counts_.away.has("intake"));
  ack_up_to(phone, "bob", phone.seen->pushes[0].what->seq);
  EXPECT_TRUE(phone.seen->receipts.empty()) << "not durable yet";
  find_it_again();
  pass(milliseconds{3000});
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_FALSE(counts_.away.has("intake"));
  publish_to("bob", "b2");
  EXPECT_THAT(phone.seen->events(), ElementsAre("b1", "b2"));
}

TEST_F(small_backlog_test, a_write_to_the_store_holds_a_part_of_a_long_backlog_and_its_position_covers_that_part) {
  lose_the_store();
  publish_many(0, static_cast<int>(messages_max) - 1);
  find_it_again();
  sched().advance_time(milliseconds{1000});
  sched().run();
  store_.run();
  EXPECT_EQ(store_.positions()[0].next_offset, 4096U);
  settle();
  EXPECT_EQ(store_.positions()[0].next_offset, messages_max - 1);
}

}  // namespace
}  // namespace doorstep::test
