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

TEST_F(store_behind_test, a_shard_reads_no_further_than_so_many_records_ahead_of_the_store) {
  lose_the_store();
  constexpr int events = 40'000;
  std::vector<event> all;
  for (int i = 0; i < events; ++i) all.push_back(made_event(std::to_string(i), "alice"));
  ASSERT_TRUE(publish(std::move(all)));
  auto* const self = dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]));
  EXPECT_LT(self->state.next_offset, 30'000U);
  find_it_again();
  pass(milliseconds{3000});
  EXPECT_EQ(self->state.next_offset, static_cast<std::uint64_t>(events));
  EXPECT_EQ(store_.positions()[0].next_offset, static_cast<std::uint64_t>(events));
}

}  // namespace
}  // namespace doorstep::test
