// SPDX-License-Identifier: Apache-2.0
// Acks and receipts of the outbox, rules 5 and 8 to 11 of docs/decisions/0004-outbox.md.
#include "tests/runtime/outbox_fixture.hpp"

namespace doorstep::test {
namespace {

// --- acks -------------------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, a_cumulative_ack_does_not_cover_what_its_connection_nacked) {
  begin();
  deliver({1, 2, 3});
  nack(0, {2});
  ack_up_to(0, 3);
  EXPECT_EQ(box.floor(), sequence{1});
  EXPECT_TRUE(box.acked().is_acked({3}));
  EXPECT_EQ(pass(500ms), "0:2!#2");
}

TEST_F(outbox_test, a_cumulative_ack_that_crossed_with_the_retry_of_a_nacked_message_does_not_cover_it) {
  begin();
  deliver({1, 2, 3});
  random = 0;  // sent again at once, before the client's next frame is read
  EXPECT_EQ(nack(0, {2}), "0:2!#2");
  ack_up_to(0, 3);
  EXPECT_EQ(box.floor(), sequence{1});
  ack_ids(0, {2});
  EXPECT_EQ(box.floor(), sequence{3});
}

TEST_F(outbox_test, a_nack_of_a_message_that_already_waits_for_its_retry_counts_against_cumulative_acks) {
  begin();
  deliver({1, 2});
  pass(30s);  // both timed out
  nack(0, {1});
  ack_up_to(0, 2);
  EXPECT_EQ(box.floor(), sequence{0});
  EXPECT_TRUE(box.acked().is_acked({2}));
}

TEST_F(outbox_test, one_sessions_nack_does_not_take_the_message_from_anothers_cumulative_ack) {
  begin();
  attach();
  deliver({1, 2});
  nack(0, {1});
  ack_up_to(1, 2);
  EXPECT_EQ(box.floor(), sequence{2});
}

TEST_F(outbox_test, a_nack_from_a_connection_that_is_not_named_holds_for_all) {
  begin();
  attach();
  deliver({1, 2});
  out.clear();
  box.nack(ids({1}), now, out);
  ack_up_to(0, 2);
  ack_up_to(1, 2);
  EXPECT_EQ(box.floor(), sequence{0});
}

TEST_F(outbox_test, after_a_reconnect_a_cumulative_ack_covers_what_was_nacked_before) {
  begin();
  deliver({1, 2});
  nack(0, {1});
  box.detach(0, now);
  EXPECT_EQ(attach(), 0u);
  ack_up_to(0, 2);
  EXPECT_EQ(box.floor(), sequence{2});
}

TEST_F(outbox_test, a_cumulative_ack_covers_nothing_that_its_connection_was_not_sent) {
  begin();
  deliver({1, 2});
  box.detach(0, now);
  box.close_horizon();
  begin_save();
  attach();
  ack_up_to(0, 2);
  EXPECT_EQ(box.floor(), sequence{0}) << "the new connection was sent nothing yet";
  saved();
  save();
  ack_up_to(0, 1'000'000);
  EXPECT_EQ(box.floor(), sequence{2});
}

TEST_F(outbox_test, an_ack_by_id_counts_from_any_connection_and_for_what_still_waits) {
  load(page_of({1, 2, 3, 4, 5, 6}, 9));
  attach();
  save();
  EXPECT_EQ(box.in_flight_count(), 4u);
  ack_ids(0, {6, 1});
  EXPECT_EQ(box.floor(), sequence{1});
  EXPECT_TRUE(box.acked().is_acked({6}));
  EXPECT_EQ(ack_ids(0, {2, 3, 4, 5}), "");
  EXPECT_EQ(box.floor(), sequence{9});
}

TEST_F(outbox_test, an_ack_by_id_before_the_load_counts_once_the_message_is_known) {
  attach();
  ack_ids(0, {5}, 1);
  load(page_of({5, 6}, 9));
  EXPECT_TRUE(out.receipts.empty());
  EXPECT_EQ(save(), "0:6");
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].ids, ids({5}));
}

TEST_F(outbox_test, after_a_crash_an_id_is_taken_for_acked_only_when_all_that_was_pushed_is_known) {
  // 12 was pushed and acked in the last life, and the ack was never saved. The first page does not reach that far.
  written.horizon = {{0}, true};
  written.version = 1;
  attach();
  ack_ids(0, {12}, 1);
  load(page_of({1, 2, 3, 4, 5, 6, 7, 8}, 20, true), written, 20);
  EXPECT_TRUE(out.receipts.empty()) << "the store does not hold this ack";
  ASSERT_TRUE(out.read);
  page(page_of({9, 10, 11, 12, 13}, 20));
  EXPECT_TRUE(box.acked().is_acked({12}));
  begin_save();
  EXPECT_TRUE(written.acked.is_acked({12}));
  saved();
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].ids, ids({12}));
}

TEST_F(outbox_test, acks_that_wait_to_learn_their_seq_do_not_pull_the_whole_backlog_into_memory) {
  written.horizon = {{0}, true};
  attach();
  ack_ids(0, {900}, 1);
  load(page_of({1, 2, 3, 4}, 1'000, true), written, 1'000);
  std::uint64_t next = 5;
  while (out.read) {
    page(page_of({next, next + 1, next + 2, next + 3}, 1'000, true));
    next += 4;
    ASSERT_LE(box.queued_count(), 3 * 8u);
  }
  EXPECT_TRUE(out.receipts.empty());
}

TEST_F(outbox_test, with_the_holes_used_up_nothing_new_is_pushed_until_the_oldest_is_acked) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 20, .holes_max = 3}, [] { return 0u; });
  begin();
  deliver({1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(ack_ids(0, {2, 4}), "0:5 0:6");
  EXPECT_EQ(ack_ids(0, {6}), "");
  EXPECT_EQ(ack_ids(0, {1}), "0:7 0:8");
  EXPECT_EQ(box.floor(), sequence{2});
}

TEST_F(outbox_test, acks_above_one_that_is_withheld_are_one_hole_however_many_they_are) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 20, .holes_max = 3}, [] { return 0u; });
  begin();
  deliver({10});
  for (std::uint64_t seq = 20; seq < 2'000; seq += 10) {
    ASSERT_EQ(deliver({seq}), "0:" + std::to_string(seq));
    ack_ids(0, {seq});
  }
  begin_save();
  EXPECT_EQ(written.acked.above().size(), 1u);
  EXPECT_EQ(written.acked.floor(), sequence{9});
  EXPECT_FALSE(written.acked.is_acked({10}));
}

TEST_F(outbox_test, a_cursor_loaded_with_all_its_holes_used_up_still_gets_its_oldest_message_out) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 20, .holes_max = 3}, [] { return 0u; });
  written.acked = cursor({0}, {{2}, {4}, {6}});
  load(page_of({1, 2, 3, 4, 5, 6, 7}, 9), written);
  attach();
  EXPECT_EQ(save(), "0:1 0:3 0:5") << "7 would add a hole, those below one cannot for long";
  EXPECT_EQ(ack_ids(0, {1, 3, 5}), "0:7");
}

// --- receipts ---------------------------------------------------------------------------------------------------------------------------

TEST_F(outbox_test, a_receipt_comes_only_after_the_save_that_holds_the_ack) {
  begin();
  deliver({1, 2});
  ack_ids(0, {1}, 7);
  EXPECT_TRUE(out.receipts.empty());
  EXPECT_TRUE(box.save_is_urgent());
  begin_save();
  EXPECT_TRUE(written.acked.is_acked({1}));
  ack_ids(0, {2}, 8);
  saved();
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].request, 7u);
  save();
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].request, 8u);
}

TEST_F(outbox_test, a_repeated_ack_waits_for_the_save_under_way_and_gets_its_receipt_at_once_when_all_is_saved) {
  begin();
  deliver({1});
  ack_ids(0, {1}, 1);
  begin_save();
  ack_ids(0, {1}, 2);
  EXPECT_TRUE(out.receipts.empty());
  EXPECT_EQ(out.repeated, 1u);
  saved();
  EXPECT_EQ(out.receipts.size(), 2u);
  ack_ids(0, {1}, 3);
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].request, 3u);
  EXPECT_FALSE(box.wants_save());
}

TEST_F(outbox_test, a_failed_save_holds_the_receipts_back_and_takes_a_new_version) {
  begin();
  deliver({1});
  ack_ids(0, {1}, 1);
  begin_save();
  const auto first = written.version;
  box.save_failed();
  EXPECT_TRUE(box.wants_save());
  ack_ids(0, {1}, 2);
  EXPECT_TRUE(out.receipts.empty());
  begin_save();
  EXPECT_GT(written.version, first);
  EXPECT_TRUE(written.acked.is_acked({1}));
  saved();
  EXPECT_EQ(out.receipts.size(), 2u);
}

TEST_F(outbox_test, a_receipt_names_the_floor_that_is_saved_not_what_the_client_asked_for) {
  begin();
  deliver({1, 2, 3});
  nack(0, {2});
  ack_up_to(0, 1'000, 1);
  begin_save();
  EXPECT_EQ(written.acked.floor(), sequence{1});
  ack_ids(0, {2});
  saved();
  ASSERT_EQ(out.receipts.size(), 1u);
  EXPECT_EQ(out.receipts[0].up_to, sequence{1});
}

TEST_F(outbox_test, a_session_that_left_gets_no_receipt_and_its_ack_still_counts) {
  begin();
  deliver({1});
  ack_ids(0, {1}, 1);
  box.detach(0, now);
  EXPECT_EQ(attach(), 0u);
  save();
  EXPECT_TRUE(out.receipts.empty()) << "the new session in this place asked for nothing";
  EXPECT_TRUE(written.acked.is_acked({1}));
}

}  // namespace
}  // namespace doorstep::test
