// SPDX-License-Identifier: Apache-2.0
// PARTITION and ROUTER: what is committed when, and what happens when the log cannot write.
#include "actors/partition.hpp"

#include "tests/actors/fake_source.hpp"
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;

class partition_test : public house_in_a_bottle {
protected:
  void SetUp() override {
    source_options_.name = "orders";
    source_options_.format = "json";
    source_options_.in_flight_max = 10;
    options_.sources.push_back(source_options_);
    house_in_a_bottle::SetUp();
    for (std::int64_t i = 0; i < 500; ++i) source_.records[i] = made_record(i, "alice", R"({"n":1})");
    start();
  }
  void TearDown() override {
    caf::anon_send(actor_, revoke{});
    settle();
    actor_ = nullptr;
    house_in_a_bottle::TearDown();
  }

  void start(std::int64_t committed = -1) {
    auto make = &partition;
    actor_ = spawn_on(system_, nullptr, make, &parts_, partition_birth{{"orders", 0}, 1, committed, &options_.sources[0], &source_, router_});
    caf::anon_send(actor_, alarm{});
    settle();
  }

  /// Hands `count` records to the actor without letting anything else happen.
  void hand_over(std::size_t count) { caf::anon_send(actor_, take_records{source_.take(count)}); }
  void hand_over_all() {
    while (true) {
      auto batch = source_.take(7);
      if (batch.empty()) return;
      caf::anon_send(actor_, take_records{std::move(batch)});
      settle();
    }
  }
  std::size_t in_log() { return log_.messages_of(address::user("alice").value(), sequence{}, SIZE_MAX).size(); }

  source_config source_options_;
  fake_source source_;
  partition_actor actor_;
};

TEST_F(partition_test, nothing_is_committed_before_the_log_has_it_and_then_all_of_it) {
  hand_over(4);
  sched().run();
  EXPECT_TRUE(source_.commits.empty());
  settle();
  EXPECT_THAT(source_.commits, ElementsAre(4));
  EXPECT_EQ(in_log(), 4U);
}

TEST_F(partition_test, never_more_records_are_under_way_than_the_credit) {
  hand_over(500);
  EXPECT_EQ(source_.next, 10);
  settle();
  EXPECT_EQ(source_.credit, 10U);
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
  EXPECT_EQ(source_.commits.back(), 500);
}

TEST_F(partition_test, a_failed_append_stops_the_partition_and_all_of_it_is_read_again_without_a_second_message) {
  hand_over(3);
  settle();
  log_.fail_with(failure{ec::unavailable, "disk full", {}});
  hand_over(3);
  hand_over(3);
  settle();
  EXPECT_THAT(source_.commits, ElementsAre(3));
  log_.fail_with(std::nullopt);
  pass(milliseconds{6000});
  EXPECT_EQ(source_.rewinds, 1);
  EXPECT_EQ(source_.next, 3);
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
  EXPECT_EQ(source_.commits.back(), 500);
  EXPECT_EQ(source_.credit, 10U);
}

TEST_F(partition_test, records_from_before_a_rewind_that_come_late_are_dropped_and_their_credit_comes_back) {
  log_.fail_with(failure{ec::unavailable, "disk full", {}});
  hand_over(3);
  settle();
  auto late = source_.take(3);
  log_.fail_with(std::nullopt);
  pass(milliseconds{200});
  ASSERT_EQ(source_.rewinds, 1);
  caf::anon_send(actor_, take_records{late});
  settle();
  EXPECT_TRUE(source_.commits.empty());
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
  EXPECT_EQ(source_.commits.back(), 500);
  EXPECT_EQ(source_.credit, 10U);
}

TEST_F(partition_test, a_replay_after_a_crash_makes_no_second_message_and_loses_none) {
  hand_over_all();
  caf::anon_send(actor_, revoke{});
  settle();
  source_.next = 200;  // the commit before the crash
  source_.credit = 0;
  start(200);
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
  EXPECT_EQ(source_.commits.back(), 500);
  auto& phone = connect("alice");
  EXPECT_EQ(phone.seen->pushes.size(), options_.delivery.window);
}

TEST_F(partition_test, a_record_that_cannot_be_understood_is_a_dead_letter_with_its_place_and_does_not_stop_the_others) {
  source_.records[1] = made_record(1, "alice", "{not json");
  source_.records[2] = made_record(2, std::string("bad\0id", 6), "{}");
  hand_over(5);
  settle();
  EXPECT_THAT(source_.commits, ElementsAre(5));
  EXPECT_EQ(in_log(), 3U);
  pass(milliseconds{2000});
  const auto dead = store_.dead();
  ASSERT_EQ(dead.size(), 2U);
  EXPECT_EQ(dead[0].id, "orders/0/1@1");
  EXPECT_EQ(dead[0].source, "orders");
  EXPECT_EQ(dead[0].topic, "orders");
  EXPECT_EQ(dead[0].partition, 0);
  EXPECT_EQ(dead[0].offset, 1);
  EXPECT_EQ(dead[0].reason, dead_reason::malformed);
  EXPECT_NE(dead[0].detail, "");
  EXPECT_EQ(dead[1].offset, 2);
}

TEST_F(partition_test, while_intake_is_paused_credit_is_held_back_and_given_when_there_is_room_again) {
  hand_over(5);
  settle();
  ASSERT_EQ(source_.credit, 10U);
  parts_.backlog->add(options_.store.backlog_messages_max, 0);
  hand_over(10);
  settle();
  pass(milliseconds{1000});
  EXPECT_EQ(source_.credit, 0U) << "a partition without credit is paused";
  EXPECT_THAT(source_.commits, ElementsAre(5, 15)) << "what is durable is committed all the same";
  parts_.backlog->remove(options_.store.backlog_messages_max, 0);
  pass(milliseconds{200});
  EXPECT_EQ(source_.credit, 10U);
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
}

TEST_F(partition_test, a_failed_append_while_intake_is_paused_gives_no_credit_twice) {
  parts_.backlog->add(options_.store.backlog_messages_max, 0);
  log_.fail_with(failure{ec::unavailable, "disk full", {}});
  hand_over(4);
  settle();
  log_.fail_with(std::nullopt);
  pass(milliseconds{6000});
  EXPECT_EQ(source_.rewinds, 1);
  parts_.backlog->remove(options_.store.backlog_messages_max, 0);
  pass(milliseconds{200});
  EXPECT_EQ(source_.credit, 10U);
  hand_over_all();
  EXPECT_EQ(in_log(), 500U);
  EXPECT_EQ(source_.credit, 10U);
}

TEST_F(partition_test, a_full_queue_is_too_many_requests_while_the_log_works_and_unavailable_while_it_does_not) {
  std::vector<event> many;
  for (std::size_t i = 0; i < log_.queue_max(); ++i) many.push_back(made_event("q" + std::to_string(i), "bob"));
  const auto publish_into_a_full_queue = [&] {
    result<std::vector<publish_outcome>> refused = failure{ec::internal, "never answered", {}};
    caf::anon_send(router_, publish_events{many, [](auto) {}});
    caf::anon_send(router_, publish_events{{made_event("one more", "bob")}, [&](auto x) { refused = std::move(x); }});
    sched().run();
    return refused.error().code;
  };
  EXPECT_EQ(publish_into_a_full_queue(), ec::queue_full);
  settle();
  counts_.away.begin("log", "no brokers", "");
  EXPECT_EQ(publish_into_a_full_queue(), ec::unavailable);
  settle();
}

TEST_F(partition_test, a_record_for_nobody_is_counted_and_committed) {
  source_.records[0].key.reset();
  hand_over(1);
  settle();
  EXPECT_THAT(source_.commits, ElementsAre(1));
  EXPECT_EQ(counts_.records_no_recipient.value(), 1);
}

TEST_F(partition_test, an_event_published_twice_is_accepted_twice_and_delivered_once) {
  auto first = publish({made_event("7", "bob")});
  ASSERT_TRUE(first);
  EXPECT_EQ((*first)[0].accepted, 1U);
  auto second = publish({made_event("7", "bob"), made_event("8", "bob")});
  ASSERT_TRUE(second);
  EXPECT_EQ((*second)[0].duplicates, 1U);
  EXPECT_EQ((*second)[1].accepted, 1U);
  auto& phone = connect("bob");
  EXPECT_THAT(phone.seen->events(), ElementsAre("7", "8"));
}

TEST_F(partition_test, a_batch_with_one_bad_event_is_refused_whole_and_the_field_is_named) {
  auto bad = made_event("2", "bob");
  bad.extensions.clear();
  const auto outcome = publish({made_event("1", "bob"), bad});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().field, "[1].touser");
  EXPECT_TRUE(connect("bob").seen->pushes.empty());
}

}  // namespace
}  // namespace doorstep::test
