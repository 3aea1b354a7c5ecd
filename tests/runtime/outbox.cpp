// SPDX-License-Identifier: Apache-2.0
// The outbox, one rule a test (docs/decisions/0004-outbox.md): what is pushed and when, the push horizon, unread. Acks: outbox_acks.cpp.
#include "tests/runtime/outbox_fixture.hpp"

namespace doorstep::test {
namespace {

// --- what is pushed ---------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, nothing_is_pushed_before_the_store_knows_that_somebody_is_attached) {
  load(page_of({5}, 9));
  attach();
  EXPECT_EQ(text(out), "");
  EXPECT_TRUE(box.wants_save());
  EXPECT_TRUE(box.save_is_urgent());
  begin_save();
  EXPECT_TRUE(written.horizon.open);
  EXPECT_EQ(deliver({10}), "");
  EXPECT_EQ(saved(), "0:5 0:10");
}

TEST_F(outbox_test, a_session_that_came_before_the_load_is_served_once_the_horizon_is_open) {
  const auto slot = attach();
  EXPECT_FALSE(box.wants_save());
  EXPECT_EQ(load(page_of({5, 6}, 9)), "");
  EXPECT_TRUE(box.save_is_urgent());
  EXPECT_EQ(save(), "0:5 0:6");
  EXPECT_EQ(slot, 0u);
}

TEST_F(outbox_test, live_messages_are_pushed_in_order_to_everybody_and_unflagged) {
  begin();
  attach();
  EXPECT_EQ(deliver({3, 8}), "0:3 1:3 0:8 1:8");
}

TEST_F(outbox_test, no_more_than_the_window_is_unacked_and_an_ack_lets_the_next_ones_go) {
  const auto slot = begin();
  EXPECT_EQ(deliver({1, 2, 3, 4, 5, 6}), "0:1 0:2 0:3 0:4");
  EXPECT_EQ(ack_up_to(slot, 2), "0:5 0:6");
  EXPECT_EQ(box.in_flight_count(), 4u);
  EXPECT_EQ(box.floor(), sequence{2});
}

TEST_F(outbox_test, a_later_session_gets_what_is_in_flight_at_once_flagged_and_grouped_by_message) {
  load();
  attach();
  save();
  deliver({1, 2});
  box.detach(0, now);
  box.close_horizon();
  begin_save();
  attach();
  attach();
  EXPECT_EQ(text(out), "");
  saved();
  EXPECT_EQ(save(), "0:1! 1:1! 0:2! 1:2!");
}

TEST_F(outbox_test, what_the_client_says_it_saw_is_flagged_for_that_client_only) {
  load(page_of({5, 6}, 9));
  attach(5);
  attach();
  EXPECT_EQ(save(), "0:5! 1:5 0:6 1:6");
}

TEST_F(outbox_test, the_sixty_fifth_session_is_refused_and_a_free_place_is_used_again) {
  load();
  for (unsigned i = 0; i < outbox::slots_max; ++i) EXPECT_EQ(attach(), i);
  EXPECT_FALSE(box.attach({}, now, out));
  EXPECT_EQ(box.sessions(), 64u);
  box.detach(17, now);
  box.detach(17, now);
  EXPECT_EQ(box.sessions(), 63u);
  EXPECT_EQ(attach(), 17u);
}

// --- what the store has and what is live ------------------------------------------------------------------------------------------------

TEST_F(outbox_test, live_messages_that_came_before_the_load_are_read_from_the_store) {
  attach();
  deliver({7, 12});
  load(page_of({7}, 9));
  ASSERT_TRUE(out.read);
  EXPECT_EQ(out.read->after, sequence{9});
  EXPECT_EQ(save(), "0:7");
  page(page_of({}, 9));
  EXPECT_FALSE(out.read) << "a store behind the log is not asked again at once";
  pass(outbox::read_retry);
  ASSERT_TRUE(out.read);
  EXPECT_EQ(page(page_of({12}, 12)), "0:12");
}

TEST_F(outbox_test, live_messages_during_a_read_come_with_the_next_read) {
  begin();
  deliver({1, 2, 3, 4});
  deliver({5, 6, 7, 8, 9, 10, 11, 12});
  deliver({13});
  EXPECT_TRUE(box.is_behind());
  EXPECT_EQ(ack_up_to(0, 4), "0:5 0:6 0:7 0:8");
  EXPECT_FALSE(out.read) << "four are left: a window";
  EXPECT_EQ(ack_up_to(0, 5), "0:9");
  ASSERT_TRUE(out.read);
  EXPECT_EQ(out.read->after, sequence{12});
  deliver({14});
  EXPECT_EQ(page(page_of({13}, 13)), "");
  EXPECT_TRUE(box.is_behind()) << "14 is not there yet";
  EXPECT_EQ(ack_up_to(0, 6), "0:10");
  ASSERT_TRUE(out.read);
  EXPECT_EQ(out.read->after, sequence{13});
  page(page_of({14, 15}, 15));
  EXPECT_FALSE(box.is_behind());
  deliver({15});
  EXPECT_EQ(ack_up_to(0, 10), "0:11 0:12 0:13 0:14");
  EXPECT_EQ(ack_up_to(0, 14), "0:15");
}

TEST_F(outbox_test, a_page_with_known_messages_brings_nothing_twice) {
  begin();
  EXPECT_EQ(deliver({1, 2}), "0:1 0:2");
  EXPECT_EQ(page(page_of({1, 2, 3}, 3)), "0:3");
  EXPECT_EQ(deliver({1, 2, 3}), "");
}

TEST_F(outbox_test, a_message_above_what_the_store_vouches_for_waits_for_the_ones_below_it) {
  begin();
  // 10 became visible before 9, which the log already holds.
  EXPECT_EQ(page(page_of({8, 10}, 8)), "0:8");
  ack_up_to(0, 8);
  EXPECT_EQ(box.floor(), sequence{8});
  pass(outbox::read_retry);
  EXPECT_EQ(page(page_of({9, 10}, 10)), "0:9 0:10");
}

TEST_F(outbox_test, a_failed_read_is_asked_again_after_a_while) {
  attach();
  load(page_of({1}, 9, true));
  ASSERT_TRUE(out.read);
  box.page_failed(now);
  EXPECT_EQ(box.next_due(), now + outbox::read_retry);
  pass(outbox::read_retry - 1ms);
  EXPECT_FALSE(out.read);
  pass(1ms);
  EXPECT_TRUE(out.read);
}

TEST_F(outbox_test, nothing_beyond_the_first_page_is_read_while_nobody_is_there) {
  load(page_of({1, 2}, 9, true));
  EXPECT_FALSE(out.read);
  EXPECT_FALSE(box.next_due());
  attach();
  EXPECT_TRUE(out.read);
}

// --- retries ----------------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, an_unacked_message_is_sent_again_flagged_after_the_timeout_and_the_delay) {
  begin();
  deliver({1});
  EXPECT_EQ(box.next_due(), now + 30s);
  EXPECT_EQ(pass(30s), "");
  EXPECT_EQ(out.timed_out, 1u);
  EXPECT_EQ(box.next_due(), now + 500ms);
  EXPECT_EQ(pass(499ms), "");
  EXPECT_EQ(pass(1ms), "0:1!#2");
  random = 1'500;  // of a ceiling of 2 s
  EXPECT_EQ(pass(30s), "");
  EXPECT_EQ(pass(1'500ms), "0:1!#3");
}

TEST_F(outbox_test, nothing_is_retried_while_nobody_is_there_and_the_lost_connection_is_no_attempt) {
  begin();
  deliver({1});
  box.detach(0, now);
  EXPECT_FALSE(box.next_due());
  EXPECT_EQ(pass(1h), "");
  attach();
  EXPECT_EQ(text(out), "0:1!");
  EXPECT_EQ(box.next_due(), now + 30s);
}

TEST_F(outbox_test, a_session_that_comes_back_just_before_the_deadline_has_the_whole_time_to_ack) {
  begin();
  deliver({1});
  box.detach(0, now);
  now += 29s;
  attach();
  EXPECT_EQ(text(out), "0:1!");
  EXPECT_EQ(pass(2s), "");
  EXPECT_EQ(out.timed_out, 0u);
  EXPECT_EQ(box.next_due(), now + 28s);
}

TEST_F(outbox_test, a_second_session_does_not_put_off_the_deadline_of_the_first) {
  begin();
  deliver({1});
  now += 29s;
  attach();
  EXPECT_EQ(box.next_due(), now + 1s);
}

TEST_F(outbox_test, a_nack_brings_the_message_again_after_the_delay_and_others_stay) {
  begin();
  deliver({1, 2});
  EXPECT_EQ(nack(0, {1, 99}), "");
  EXPECT_EQ(pass(500ms), "0:1!#2");
}

// --- the push horizon -------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, after_a_crash_with_an_open_horizon_all_the_log_held_is_flagged_and_what_came_later_is_not) {
  begin();
  deliver({1, 2});
  reborn(page_of({1, 2, 3, 7}, 7), 5);
  EXPECT_FALSE(box.wants_save());
  attach();
  EXPECT_EQ(text(out), "0:1! 0:2! 0:3! 0:7") << "the store says open already: no write is waited for";
}

TEST_F(outbox_test, after_a_clean_passivation_exactly_what_was_pushed_is_flagged) {
  begin();
  deliver({1, 2});
  box.detach(0, now);
  deliver({3});
  box.close_horizon();
  save();
  EXPECT_TRUE(box.horizon_is_closed());
  EXPECT_TRUE(box.is_idle());
  EXPECT_EQ(written.horizon, (push_horizon{{2}, false}));
  EXPECT_EQ(reborn(page_of({1, 2, 3}, 3), 3), "");
  attach();
  EXPECT_EQ(save(), "0:1! 0:2! 0:3");
}

TEST_F(outbox_test, a_session_that_comes_during_the_save_that_closes_the_horizon_waits_for_one_that_opens_it) {
  begin();
  box.detach(0, now);
  box.close_horizon();
  begin_save();
  EXPECT_FALSE(written.horizon.open);
  attach();
  EXPECT_EQ(deliver({1}), "");
  EXPECT_EQ(saved(), "");
  EXPECT_TRUE(box.save_is_urgent());
  begin_save();
  EXPECT_TRUE(written.horizon.open);
  EXPECT_EQ(saved(), "0:1");
}

TEST_F(outbox_test, a_session_that_comes_before_the_closing_save_begins_keeps_the_horizon_open) {
  begin();
  box.detach(0, now);
  box.close_horizon();
  attach();
  EXPECT_EQ(deliver({1}), "0:1");
  begin_save();
  EXPECT_TRUE(written.horizon.open);
}

TEST_F(outbox_test, a_session_that_goes_during_the_save_that_opens_the_horizon_leaves_it_open_until_it_is_closed) {
  load(page_of({1}, 1));
  attach();
  begin_save();
  box.detach(0, now);
  EXPECT_EQ(saved(), "");
  EXPECT_FALSE(box.horizon_is_closed());
  EXPECT_FALSE(box.wants_save());
  box.close_horizon();
  begin_save();
  EXPECT_EQ(written.horizon, (push_horizon{{0}, false})) << "nothing was pushed";
}

TEST_F(outbox_test, a_save_that_was_to_close_the_horizon_and_failed_pushes_nothing_before_open_is_written_again) {
  begin();
  deliver({1});
  box.detach(0, now);
  box.close_horizon();
  begin_save();
  box.save_failed();  // perhaps it was applied
  attach();
  EXPECT_EQ(text(out), "");
  begin_save();
  EXPECT_TRUE(written.horizon.open);
  EXPECT_EQ(saved(), "0:1!");
}

TEST_F(outbox_test, a_failed_save_does_not_stop_the_pushes_of_a_horizon_that_is_open) {
  begin();
  deliver({1});
  ack_ids(0, {1}, 1);
  begin_save();
  box.save_failed();
  EXPECT_EQ(deliver({2}), "0:2");
}

TEST_F(outbox_test, it_is_idle_only_with_nobody_there_and_nothing_under_way) {
  EXPECT_FALSE(box.is_idle()) << "not loaded";
  load();
  EXPECT_TRUE(box.is_idle());
  attach();
  EXPECT_FALSE(box.is_idle());
  begin_save();
  box.detach(0, now);
  EXPECT_FALSE(box.is_idle()) << "a save is under way";
  saved();
  EXPECT_TRUE(box.is_idle());
}

// --- unread -----------------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, a_message_counts_as_unread_once_whether_stored_live_or_both) {
  deliver({8, 9, 10});
  load(page_of({8, 9}, 9), {}, 0, 2);
  EXPECT_EQ(box.unread(), 3u);
  deliver({9, 10, 11});
  EXPECT_EQ(box.unread(), 4u);
}

TEST_F(outbox_test, a_message_that_a_page_brings_before_the_log_does_counts_once) {
  attach();
  load(page_of({1}, 1, true), {}, 0, 1);
  ASSERT_TRUE(out.read);
  page(page_of({2, 3}, 3));
  EXPECT_TRUE(out.counts_changed);
  EXPECT_EQ(box.unread(), 3u);
  deliver({2, 3});
  EXPECT_EQ(box.unread(), 3u);
}

TEST_F(outbox_test, the_store_counts_what_marks_leave_and_what_is_delivered_meanwhile_is_added) {
  load(page_of({1, 2, 3}, 3), {}, 0, 3);
  box.recount({2});
  deliver({5, 6});
  EXPECT_EQ(box.unread(), 5u);
  out.clear();
  EXPECT_TRUE(box.recounted(counted(2, 5), out));  // 3 and 5
  EXPECT_TRUE(out.counts_changed);
  EXPECT_EQ(box.unread(), 3u);
  EXPECT_EQ(box.unseen(), 3u);
  deliver({7});
  EXPECT_EQ(box.unread(), 4u);
}

TEST_F(outbox_test, a_count_of_a_store_that_lags_behind_what_was_delivered_is_not_taken) {
  load({}, {}, 0, 0);
  deliver({1, 2});
  box.recount({1});
  EXPECT_FALSE(box.recounted(counted(0, 1), out));
  EXPECT_TRUE(box.recounted(counted(1, 2), out));
  EXPECT_EQ(box.unread(), 1u);
}

TEST_F(outbox_test, a_message_the_store_counted_before_the_log_brought_it_is_not_counted_twice) {
  load({}, {}, 0, 0);
  box.recount({});
  ASSERT_TRUE(box.recounted(counted(2, 9), out));
  deliver({8});
  EXPECT_EQ(box.unread(), 2u);
  EXPECT_TRUE(out.recount) << "only the store can tell";
  deliver({10});
  EXPECT_EQ(box.unread(), 3u);
}

TEST_F(outbox_test, more_than_fit_while_the_store_counts_are_counted_anew) {
  load({}, {}, 0, 0);
  box.recount({});
  for (std::uint64_t seq = 1; seq <= outbox::recount_max + 1; ++seq) deliver({seq});
  EXPECT_FALSE(box.recounted(counted(0, 0), out));
  EXPECT_TRUE(box.recounted(counted(outbox::recount_max + 1, outbox::recount_max + 1), out));
  EXPECT_EQ(box.unread(), outbox::recount_max + 1);
}

TEST_F(outbox_test, the_next_version_is_above_that_of_the_inbox_too) {
  stored_mailbox start;
  start.record.version = 4;
  start.inbox.version = 5;  // a crash came between the two writes
  box.load(start, {}, now, out);
  attach();
  begin_save();
  EXPECT_EQ(written.version, 6u);
}

}  // namespace
}  // namespace doorstep::test
