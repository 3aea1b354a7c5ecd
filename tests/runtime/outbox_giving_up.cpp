// SPDX-License-Identifier: Apache-2.0
// Messages that leave unacked: when, why, and that they are gone only once that is durable (rules 12 to 16).
#include "tests/runtime/outbox_leaving.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

TEST_F(outbox_giving_up, a_message_nobody_acks_is_given_up_after_max_attempts_with_its_dead_letter_in_the_record_that_settles_it) {
  begin();
  deliver({1, 2});
  fail_twice();
  EXPECT_EQ(box.in_flight_count(), 0u);
  EXPECT_TRUE(box.wants_save());
  begin_save();
  EXPECT_EQ(to_bury(), "1:max-attempts:2 2:max-attempts:2");
  EXPECT_EQ(written.acked.floor(), sequence{2});
  saved();
  EXPECT_EQ(out.buried.size(), 2u);
  EXPECT_EQ(pass(600s), "");
}

TEST_F(outbox_giving_up, nothing_is_given_up_by_default) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100}, [this] { return random; });
  begin();
  deliver({1});
  for (int i = 0; i < 100; ++i) pass(30s);
  EXPECT_EQ(box.in_flight_count(), 1u);
}

TEST_F(outbox_giving_up, nacks_count_and_the_last_ones_reason_is_kept) {
  begin();
  deliver({1, 2});
  nack(0, {1});
  pass(1s);
  out.clear();
  box.nack(ids({1}), now, out, 0, {"cannot render", {}});
  begin_save();
  EXPECT_EQ(to_bury(), "1:nacked:2");
  EXPECT_EQ(out.to_bury[0].detail, "cannot render");
  EXPECT_EQ(box.in_flight_count(), 1u) << "its neighbour is unharmed";
}

TEST_F(outbox_giving_up, lost_connections_do_not_count) {
  begin();
  deliver({1});
  for (int i = 0; i < 10; ++i) {
    box.detach(0, now);
    pass(40s);
    EXPECT_EQ(attach(), 0u);
    out.clear();
    pass(20s);
  }
  EXPECT_EQ(box.in_flight_count(), 1u);
}

TEST_F(outbox_giving_up, a_deadline_that_only_a_lost_connection_had_whole_does_not_count) {
  begin();
  deliver({1});
  pass(29s);
  const auto late = attach();
  box.detach(0, now);
  for (int i = 0; i < 2; ++i) pass(1s);  // times out; the other one had it for a second
  pass(1s);
  EXPECT_EQ(box.in_flight_count(), 1u);
  pass(30s);  // the first failure that counts
  EXPECT_EQ(box.in_flight_count(), 1u);
  EXPECT_EQ(box.sessions(), 1u);
  EXPECT_EQ(late, 1u);
}

TEST_F(outbox_giving_up, an_ack_that_comes_before_the_save_begins_wins) {
  begin();
  deliver({1, 2});
  fail_twice();
  ack_ids(0, {1}, 7);
  EXPECT_EQ(out.acked, 1u);
  ack_up_to(0, 2, 8);
  EXPECT_EQ(out.acked, 1u);
  begin_save();
  EXPECT_EQ(to_bury(), "");
  saved();
  EXPECT_EQ(out.receipts.size(), 2u);
}

TEST_F(outbox_giving_up, an_ack_that_comes_later_is_idempotent_and_gets_its_receipt_with_the_save) {
  begin();
  deliver({1});
  fail_twice();
  begin_save();
  ack_ids(0, {1}, 7);
  EXPECT_EQ(out.acked, 0u);
  EXPECT_TRUE(out.receipts.empty());
  saved();
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.buried.size(), 1u);
}

TEST_F(outbox_giving_up, a_nack_that_crosses_with_the_last_timeout_keeps_cumulative_acks_from_covering_it) {
  begin();
  deliver({1, 2});
  fail_twice();
  nack(0, {1});
  ack_up_to(0, 2);
  begin_save();
  EXPECT_EQ(to_bury(), "1:max-attempts:2");
}

TEST_F(outbox_giving_up, once_the_store_was_asked_an_ack_no_longer_wins_even_if_the_save_fails) {
  begin();
  deliver({1});
  fail_twice();
  begin_save();
  box.save_failed();
  ack_ids(0, {1}, 7);
  EXPECT_EQ(out.acked, 0u);
  begin_save();
  EXPECT_EQ(to_bury(), "1:max-attempts:2");
}

TEST_F(outbox_giving_up, a_save_that_failed_buries_it_again_with_the_next) {
  begin();
  deliver({1});
  fail_twice();
  begin_save();
  box.save_failed();
  ASSERT_TRUE(box.wants_save());
  begin_save();
  EXPECT_EQ(to_bury(), "1:max-attempts:2");
  saved();
  EXPECT_EQ(out.buried.size(), 1u);
  EXPECT_TRUE(box.wants_save() || box.acked().floor() == sequence{1});
}

TEST_F(outbox_giving_up, a_crash_before_the_save_leaves_it_owed_and_it_comes_again_flagged) {
  begin();
  deliver({1});
  fail_twice();
  reborn(page_of({1}, 1), 1);
  attach();
  EXPECT_EQ(text(out), "0:1!");
}

TEST_F(outbox_giving_up, an_expired_message_is_never_pushed_and_one_in_flight_not_again) {
  begin();
  out.clear();
  box.deliver({expiring(1, now.time_since_epoch() / 1ms * 1ms), expiring(2, 1h + 10s), message_at(3)}, now, out);
  EXPECT_EQ(text(out), "0:2 0:3");
  begin_save();
  EXPECT_EQ(to_bury(), "1:expired:0");
  saved();
  pass(30s);
  EXPECT_EQ(pass(1s), "0:3!#2");
  begin_save();
  EXPECT_EQ(to_bury(), "2:expired:1");
}

TEST_F(outbox_giving_up, a_newcomer_is_not_sent_what_has_expired) {
  begin();
  out.clear();
  box.deliver({expiring(1, 1h + 10s), message_at(2)}, now, out);
  pass(11s);
  attach();
  EXPECT_EQ(text(out), "1:2!");
}

class outbox_ttl : public outbox_giving_up {
protected:
  outbox_ttl()
      : outbox_giving_up([] {
          auto x = impatient_options();
          x.max_attempts = 0;
          x.ttl = 60s;
          return x;
        }()) {}
};

TEST_F(outbox_ttl, counts_from_the_append_and_a_named_expiry_comes_first) {
  auto old = std::make_shared<message>(*message_at(1)), young = std::make_shared<message>(*message_at(2));
  old->appended = {milliseconds{1h - 60s}.count()};
  young->appended = {milliseconds{1h - 59s}.count()};
  auto named = std::make_shared<message>(*expiring(3, 2h));
  named->appended = old->appended;
  begin();
  out.clear();
  box.deliver({old, young, named}, now, out);
  EXPECT_EQ(text(out), "0:2 0:3");
}

TEST_F(outbox_giving_up, poison_is_given_up_instead_of_pushed) {
  auto options = impatient_options();
  options.poisoned = {{2}};
  box = outbox(options, [this] { return random; });
  load(page_of({1, 2}, 2));
  attach();
  EXPECT_EQ(save(), "0:1");
  EXPECT_EQ(deliver({3}), "0:3");
  EXPECT_TRUE(box.acked().is_acked({2}));
}

TEST_F(outbox_giving_up, a_nack_may_say_when_to_come_again) {
  begin();
  deliver({1});
  out.clear();
  box.nack(ids({1}), now, out, 0, {"busy", 5min});
  EXPECT_EQ(pass(4min), "");
  EXPECT_EQ(pass(1min), "0:1!#2");
}

TEST_F(outbox_giving_up, work_in_progress_starts_the_deadline_again_and_is_no_failure) {
  begin();
  deliver({1, 2});
  for (int i = 0; i < 10; ++i) {
    pass(20s);
    box.in_progress(0, ids({1}), now);
    ack_ids(0, {2});
  }
  EXPECT_EQ(out.timed_out, 0u);
  EXPECT_EQ(box.in_flight_count(), 1u);
}

TEST_F(outbox_giving_up, what_a_connection_nacked_it_cannot_claim_to_work_on) {
  begin();
  deliver({1});
  nack(0, {1});
  box.in_progress(0, ids({1}), now);
  EXPECT_EQ(pass(1s), "0:1!#2");
}

TEST_F(outbox_giving_up, a_requeued_message_is_flagged_on_its_first_push) {
  begin();
  auto x = std::make_shared<message>(*message_at(1));
  x->requeue = 1;
  out.clear();
  box.deliver({x}, now, out);
  EXPECT_EQ(text(out), "0:1!");
}

TEST_F(outbox_giving_up, what_a_look_through_the_store_found_is_given_up_whoever_is_there_and_once) {
  auto stored = page_of({1}, 3);
  stored.messages.push_back(expiring(2, 1h));
  stored.messages.push_back(message_at(3));
  load(stored);
  const auto look = [&] {
    out.clear();
    box.expire({message_at(1), expiring(2, 1h), message_at(3)}, now, out);
  };
  look();
  EXPECT_TRUE(box.wants_save());
  begin_save();
  EXPECT_EQ(to_bury(), "2:expired:0");
  EXPECT_EQ(written.acked.floor(), sequence{0});
  EXPECT_TRUE(written.acked.is_acked({2}));
  look();
  saved();
  EXPECT_EQ(out.buried.size(), 1u);
  look();
  EXPECT_FALSE(box.wants_save()) << "it is settled";
  EXPECT_EQ(box.queued_count(), 2u);
  EXPECT_EQ(attach(), 0u);
  EXPECT_EQ(save(), "0:1 0:3");
}

TEST_F(outbox_giving_up, beyond_what_is_in_memory_it_is_found_too_and_never_pushed) {
  load({messages({1, 2}), true, {9}});
  out.clear();
  box.expire({expiring(7, 1h), expiring(8, 2h), expiring(9, 1h), expiring(12, 1h)}, now, out);
  begin_save();
  EXPECT_EQ(to_bury(), "7:expired:0 9:expired:0") << "8 has time, 12 nobody has heard of yet";
  saved();
  attach();
  EXPECT_EQ(save(), "0:1 0:2");
  EXPECT_EQ(page(page_of({7, 8, 9}, 9)), "0:8");
  ack_up_to(0, 8);
  begin_save();
  EXPECT_EQ(written.acked.floor(), sequence{9});
}

TEST_F(outbox_giving_up, what_a_session_has_in_hand_is_left_to_its_next_push_and_without_one_it_goes) {
  begin();
  out.clear();
  box.deliver({expiring(1, 1h + 1s)}, now, out);
  now += 2s;
  const auto look = [&] {
    out.clear();
    box.expire({expiring(1, 1h + 1s)}, now, out);
    begin_save();
  };
  look();
  EXPECT_EQ(to_bury(), "");
  saved();
  box.detach(0, now);
  look();
  EXPECT_EQ(to_bury(), "1:expired:1");
  EXPECT_EQ(box.in_flight_count(), 0u);
}

TEST_F(outbox_giving_up, no_more_holes_are_made_than_the_cursor_may_have) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 3}, [this] { return random; });
  load({messages({1}), true, {30}});
  std::vector<message_ptr> all;
  for (std::uint64_t seq = 10; seq < 30; seq += 2) all.push_back(expiring(seq, 1h));
  out.clear();
  box.expire(all, now, out);
  begin_save();
  EXPECT_EQ(out.to_bury.size(), 3u);
  EXPECT_EQ(written.acked.above().size(), 3u);
}

}  // namespace
}  // namespace doorstep::test
