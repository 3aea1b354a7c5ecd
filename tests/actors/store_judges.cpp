// SPDX-License-Identifier: Apache-2.0
// SHARD between a log that judges neither replays nor duplicates and a store: nothing is pushed before its verdict, and nothing that was judged is pushed twice.
#include "tests/actors/fixture.hpp"
#include "tests/support/engines.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class store_judges_test : public house_in_a_bottle {
protected:
  store_judges_test() : house_in_a_bottle(false, {1, 0, 65536, milliseconds{24 * 3600 * 1000}, false}) {}
  void lose_the_store() { store_.fail_with(failure{ec::unavailable, "no server", {}}); }
  void find_it_again() { store_.fail_with(std::nullopt); }
  void log(std::vector<log_entry> entries) {
    log_.append(std::move(entries), admission::credited, [](auto) {});
    settle();
  }
  shard_state& state() { return dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]))->state; }
  /// The shard's next life begins with what the store has.
  void restart_the_shard() {
    for (auto& box : boxes()) caf::anon_send_exit(box, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(shards_[0], caf::exit_reason::user_shutdown);
    settle();
    auto make_shard = &shard;
    auto at = store_.positions()[0];
    shards_[0] = spawn_on(system_, nullptr, make_shard, &parts_, shard_birth{shard_id{0}, at.next_offset, writer_, at.origins});
    caf::anon_send(shards_[0], alarm{});
    settle();
  }

  const std::shared_ptr<const origin_partition> orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
};

TEST_F(store_judges_test, messages_are_pushed_and_acked) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ASSERT_THAT(phone.seen->events(), ElementsAre("1"));
  EXPECT_FALSE(phone.seen->pushes[0].redelivered);
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_EQ(store_.positions()[0].next_offset, 1U);
}

TEST_F(store_judges_test, a_duplicate_is_pushed_to_nobody_and_shown_to_nobody) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  publish_to("alice", "1");
  ASSERT_TRUE(publish({made_event("2", "alice"), made_event("1", "alice"), made_event("2", "alice"), made_event("3", "alice")}));
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2", "3"));
  auto& tablet = connect("alice");
  EXPECT_THAT(tablet.seen->events(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(store_.positions()[0].next_offset, 6U);
}

TEST_F(store_judges_test, nothing_is_pushed_before_the_verdict_and_everything_in_order_after_it) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  lose_the_store();
  publish_to("alice", "2");
  publish_to("alice", "1");
  pass(milliseconds{2000});
  publish_to("alice", "3");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  find_it_again();
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2", "3"));
  for (const auto& x : phone.seen->pushes) EXPECT_FALSE(x.redelivered);
}

TEST_F(store_judges_test, one_that_waits_for_its_verdict_reaches_a_user_who_connects_meanwhile) {
  lose_the_store();
  publish_to("alice", "1");
  find_it_again();
  auto& phone = connect("alice");  // the store is read, and does not have it yet
  publish_to("alice", "2");
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2"));
}

TEST_F(store_judges_test, what_a_router_appends_again_is_dropped) {
  auto& phone = connect("alice");
  log({entry_from(orders, 10, 10, "alice"), entry_from(orders, 10, 10, "bob"), entry_from(orders, 11, 10, "alice")});
  // a restarted router has a value of its own, and goes back to what was committed
  const auto again = std::make_shared<const origin_partition>(*orders);
  log({entry_from(again, 10, 10, "alice"), entry_from(again, 11, 10, "alice"), entry_from(again, 12, 12, "alice"),
       entry_from(again, 11, 12, "carol")});
  EXPECT_THAT(phone.seen->events(), ElementsAre("orders/3/10", "orders/3/11", "orders/3/12"));
  EXPECT_EQ(counts_.replays.value(), 3);
  EXPECT_THAT(connect("carol").seen->events(), IsEmpty()) << "below the floor everything was durable";
}

TEST_F(store_judges_test, a_replay_is_recognised_by_the_next_life_of_the_shard_and_the_origin_of_what_it_has_not_stored_is_not_lost) {
  log({entry_from(orders, 10, 10, "alice"), entry_from(orders, 11, 10, "alice")});
  lose_the_store();
  log({entry_from(orders, 12, 10, "alice")});
  restart_the_shard();
  find_it_again();
  restart_the_shard();
  EXPECT_EQ(state().next_offset, 3U);
  const auto replays = counts_.replays.value();
  log({entry_from(orders, 10, 10, "alice"), entry_from(orders, 11, 10, "alice"), entry_from(orders, 12, 10, "alice"),
       entry_from(orders, 13, 10, "alice")});
  EXPECT_EQ(counts_.replays.value() - replays, 3);
  EXPECT_THAT(connect("alice").seen->events(), ElementsAre("orders/3/10", "orders/3/11", "orders/3/12", "orders/3/13"));
}

TEST_F(store_judges_test, a_backlog_is_written_in_pieces_and_origins_come_with_the_last_one) {
  lose_the_store();
  std::vector<log_entry> entries;
  for (std::int64_t i = 0; i < 5000; ++i) entries.push_back(entry_from(orders, i, i, "alice"));
  log(std::move(entries));
  find_it_again();
  for (int i = 0; i < 100 && store_.positions()[0].next_offset == 0; ++i) {
    sched().advance_time(milliseconds{100});
    sched().run();
    store_.run();
  }
  EXPECT_EQ(store_.positions()[0].next_offset, 4096U);
  EXPECT_THAT(store_.positions()[0].origins, IsEmpty()) << "a floor of 4999 would make replays of the other 904";
  restart_the_shard();
  EXPECT_EQ(store_.positions()[0].next_offset, 5000U);
  EXPECT_EQ(store_.positions()[0].origins.size(), 1U);
  EXPECT_EQ(counts_.replays.value(), 0);
  log({entry_from(orders, 4999, 4999, "alice"), entry_from(orders, 5000, 4999, "alice")});
  EXPECT_EQ(counts_.replays.value(), 1);
}

TEST_F(store_judges_test, a_replay_of_a_quiet_source_is_recognised_however_far_the_log_has_gone_on) {
  const auto quiet = std::make_shared<const origin_partition>(origin_partition{"quiet", 0, "quiet", 0});
  log({entry_from(quiet, 5, 5, "alice")});
  for (int n = 0; n < 20; ++n) {
    std::vector<log_entry> others;
    for (int i = 0; i < 1000; ++i) others.push_back(entry_from(orders, n * 1000 + i, n * 1000, "bob"));
    log(std::move(others));
  }
  ASSERT_EQ(store_.positions()[0].next_offset, 20'001U);
  for (const auto at = store_.positions()[0]; const auto& x : at.origins) EXPECT_GT(x.rescan, 0U) << "a start does not read the whole log again";
  restart_the_shard();
  log({entry_from(quiet, 5, 5, "alice")});
  EXPECT_EQ(counts_.replays.value(), 1);
  pass(milliseconds{2000});  // the position goes past the replay, too
  restart_the_shard();
  log({entry_from(quiet, 6, 5, "alice")});
  restart_the_shard();
  log({entry_from(quiet, 5, 5, "alice"), entry_from(quiet, 6, 5, "alice")});
  EXPECT_EQ(counts_.replays.value(), 3);
  EXPECT_THAT(connect("alice").seen->events(), ElementsAre("quiet/0/5", "quiet/0/6"));
}

TEST_F(store_judges_test, a_failed_save_keeps_what_it_said_of_origins) {
  lose_the_store();
  log({entry_from(orders, 10, 10, "alice")});
  find_it_again();
  publish_to("bob", "1");  // nothing of its own to say
  pass(milliseconds{3000});
  ASSERT_EQ(store_.positions()[0].origins.size(), 1U);
  restart_the_shard();
  log({entry_from(orders, 10, 10, "alice")});
  EXPECT_EQ(counts_.replays.value(), 1);
}

}  // namespace
}  // namespace doorstep::test
