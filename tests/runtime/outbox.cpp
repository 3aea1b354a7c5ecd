// SPDX-License-Identifier: Apache-2.0
// The outbox, one rule a test (docs/decisions/0004-outbox.md). Pushes are written "slot:seq", with '!' where flagged and '#n' from the second attempt on.
#include "runtime/outbox.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace doorstep {
namespace {

using namespace std::chrono_literals;

message_ptr message_at(std::uint64_t seq) {
  auto x = std::make_shared<message>();
  x->seq = {seq};
  x->id = "m" + std::to_string(seq);
  return x;
}

std::vector<message_ptr> messages(std::vector<std::uint64_t> seqs) {
  std::vector<message_ptr> all;
  for (auto seq : seqs) all.push_back(message_at(seq));
  return all;
}

std::vector<std::string> ids(std::vector<std::uint64_t> seqs) {
  std::vector<std::string> all;
  for (auto seq : seqs) all.push_back("m" + std::to_string(seq));
  return all;
}

stored_page page_of(std::vector<std::uint64_t> seqs, std::uint64_t complete_to, bool more = false) { return {messages(std::move(seqs)), more, {complete_to}}; }

std::string text(const outbox_effects& x) {
  std::string all;
  for (const auto& p : x.pushes)
    all += (all.empty() ? "" : " ") + std::to_string(p.slot) + ":" + std::to_string(p.what->seq.value) + (p.redelivered ? "!" : "") +
           (p.attempt > 1 ? "#" + std::to_string(p.attempt) : "");
  return all;
}

class outbox_test : public testing::Test {
protected:
  explicit outbox_test(outbox_options options = {.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100})
      : box(options, [this] { return random; }) {}

  /// Answers the first read of the store.
  std::string load(stored_page page = {}, cursor_record record = {}, std::uint64_t open_horizon = 0, std::uint64_t unread = 0) {
    out.clear();
    box.load({std::move(record), std::move(page), unread}, {open_horizon}, now, out);
    return text(out);
  }
  unsigned attach(std::uint64_t resume = 0) {
    out.clear();
    return box.attach({resume}, now, out).value();
  }
  std::string deliver(std::vector<std::uint64_t> seqs) {
    out.clear();
    box.deliver(messages(std::move(seqs)), now, out);
    return text(out);
  }
  std::string page(stored_page x) {
    out.clear();
    box.page(x, now, out);
    return text(out);
  }
  std::string ack_up_to(unsigned slot, std::uint64_t up_to, std::uint64_t request = 0) {
    out.clear();
    box.ack(slot, request, {up_to}, {}, now, out);
    return text(out);
  }
  std::string ack_ids(unsigned slot, std::vector<std::uint64_t> seqs, std::uint64_t request = 0) {
    out.clear();
    box.ack(slot, request, {}, ids(std::move(seqs)), now, out);
    return text(out);
  }
  std::string nack(unsigned slot, std::vector<std::uint64_t> seqs) {
    out.clear();
    box.nack(ids(std::move(seqs)), now, out, slot);
    return text(out);
  }
  std::string pass(milliseconds time) {
    now += time;
    out.clear();
    box.tick(now, out);
    return text(out);
  }
  void begin_save() { written = box.begin_save({}); }
  std::string saved() {
    out.clear();
    box.saved(now, out);
    return text(out);
  }
  std::string save() {
    begin_save();
    return saved();
  }
  /// Loaded with nothing stored, one session, the horizon open.
  unsigned begin() {
    load();
    const auto slot = attach();
    save();
    return slot;
  }
  /// The next life of the mailbox, from what was written last.
  std::string reborn(stored_page page, std::uint64_t open_horizon) {
    box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100}, [this] { return random; });
    return load(std::move(page), written, open_horizon);
  }

  std::uint64_t random = 500;  // a delay of 500 ms after the first attempt
  steady_time now{1h};
  outbox_effects out;
  cursor_record written;
  outbox box;
};

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
  EXPECT_EQ(ack_ids(0, {2, 3, 4}), "");
  EXPECT_EQ(ack_ids(0, {1}), "0:5 0:6 0:7 0:8");
  EXPECT_EQ(box.floor(), sequence{4});
}

TEST_F(outbox_test, a_cursor_loaded_with_all_its_holes_used_up_still_gets_its_oldest_message_out) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 20, .holes_max = 3}, [] { return 0u; });
  written.acked = cursor({0}, {{2}, {3}, {5}});
  load(page_of({1, 2, 3, 4, 5, 6}, 9), written);
  attach();
  EXPECT_EQ(save(), "0:1 0:4") << "6 would add a hole, those below one cannot for long";
  EXPECT_EQ(ack_ids(0, {1, 4}), "0:6");
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

TEST_F(outbox_test, reading_everything_leaves_nothing_unread_and_reading_a_part_asks_the_store) {
  load(page_of({1, 2, 3}, 3), {}, 0, 3);
  out.clear();
  EXPECT_TRUE(box.read({2}, out));
  EXPECT_EQ(box.unread(), 3u);
  box.recounted(1, out);
  EXPECT_EQ(box.unread(), 1u);
  EXPECT_FALSE(box.read({1}, out)) << "it never goes back";
  EXPECT_FALSE(box.read({3}, out));
  EXPECT_EQ(box.unread(), 0u);
  begin_save();
  EXPECT_EQ(written.read_upto, sequence{3});
}

TEST_F(outbox_test, what_is_delivered_while_the_store_counts_is_added_to_its_answer) {
  load(page_of({1, 2, 3}, 3), {}, 0, 3);
  EXPECT_TRUE(box.read({2}, out));
  deliver({5, 6});
  box.recounted(2, out, {5});  // 3 and 5
  EXPECT_EQ(box.unread(), 3u);
  deliver({7});
  EXPECT_EQ(box.unread(), 4u);
}

TEST_F(outbox_test, a_read_before_the_load_is_kept_and_writes_nothing_early) {
  box.read({7}, out);
  EXPECT_FALSE(box.wants_save());
  cursor_record record;
  record.read_upto = {4};
  record.version = 9;
  load(page_of({5, 7}, 7), record, 0, 2);
  EXPECT_EQ(box.unread(), 0u);
  ASSERT_TRUE(box.wants_save());
  begin_save();
  EXPECT_EQ(written.read_upto, sequence{7});
  EXPECT_EQ(written.version, 10u);
}

}  // namespace
}  // namespace doorstep
