// SPDX-License-Identifier: Apache-2.0
// The rules of a channel one by one: who is sent what, what an ack settles, what becomes durable, who is read for from the store, and what a reader costs.
#include "runtime/audience.hpp"
#include "tests/runtime/audience_fixture.hpp"

#include <gmock/gmock.h>
#include <malloc.h>

#include <string>
#include <vector>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using audience_rules = audience_test;

TEST_F(audience_rules, a_message_is_one_frame_for_all_readers_and_an_ack_moves_only_its_own) {
  const auto alice = join("alice"), bob = join("bob");
  publish("1");
  ASSERT_EQ(out.frames.size(), 1U);
  EXPECT_THAT(pushed_to(alice), ElementsAre("1"));
  EXPECT_THAT(pushed_to(bob), ElementsAre("1"));
  EXPECT_EQ(out.frames[0].attempt, 1U);
  EXPECT_FALSE(out.frames[0].redelivered);
  ack(alice, last(), {});
  EXPECT_THAT(out.answers, IsEmpty()) << "not durable yet";
  save();
  ASSERT_EQ(out.answers.size(), 1U);
  EXPECT_EQ(out.answers[0].up_to, last());
  EXPECT_EQ(stored("alice").acked.floor(), last());
  EXPECT_LT(stored("bob").acked.floor(), last());
}

TEST_F(audience_rules, a_new_reader_is_owed_nothing_until_its_first_cursor_is_durable_and_then_all_since_it_came) {
  make();
  const auto alice = attach("alice");
  load(alice);
  EXPECT_THAT(out.joined, IsEmpty());
  publish("1");
  EXPECT_THAT(out.pushes, IsEmpty());
  begin_save();
  publish("2");
  EXPECT_THAT(out.pushes, IsEmpty());
  finish_save();
  EXPECT_EQ(out.joined.size(), 1U);
  EXPECT_THAT(pushed_to(alice), ElementsAre("1", "2"));
}

TEST_F(audience_rules, a_reader_begins_at_the_latest_the_earliest_or_with_the_last_few) {
  for (const auto& [start, expected] :
       std::vector<std::pair<channel_start, std::vector<std::string>>>{{{channel_start::from::latest, 0}, {}},
                                                                       {{channel_start::from::earliest, 0}, {"0", "1", "2", "3", "4"}},
                                                                       {{channel_start::from::last, 2}, {"3", "4"}},
                                                                       {{channel_start::from::last, 0}, {}},
                                                                       {{channel_start::from::last, 50}, {"0", "1", "2", "3", "4"}}}) {
    forget_all();
    for (int i = 0; i < 5; ++i) append(std::to_string(i));
    options.start = start;
    make();
    const auto alice = join("alice");
    EXPECT_EQ(all_pushed_to(alice), expected) << static_cast<int>(start.what) << start.count;
    publish("live");
    EXPECT_THAT(pushed_to(alice), ElementsAre("live"));
    EXPECT_THAT(gaps, IsEmpty()) << "nothing of before was promised";
  }
}

TEST_F(audience_rules, no_reader_is_sent_more_than_its_window_and_the_next_ones_come_with_its_acks) {
  options.window = 3;
  const auto alice = join("alice");
  for (int i = 0; i < 5; ++i) publish(std::to_string(i));
  EXPECT_THAT(all_pushed_to(alice), ElementsAre("0", "1", "2"));
  ack(alice, {}, {id_of("1")});
  EXPECT_THAT(pushed_to(alice), IsEmpty()) << "the oldest one is missing";
  ack(alice, {}, {id_of("0")});
  EXPECT_THAT(pushed_to(alice), ElementsAre("3", "4"));
}

TEST_F(audience_rules, up_to_covers_what_was_sent_and_not_nacked) {
  options.window = 2;
  const auto alice = join("alice");
  for (int i = 0; i < 4; ++i) publish(std::to_string(i));
  call([&] { it->nack(alice, {id_of("0")}, {}, now, out); });
  ack(alice, last(), {});
  save();
  EXPECT_FALSE(stored("alice").acked.is_acked(seq_of("0")));
  EXPECT_TRUE(stored("alice").acked.is_acked(seq_of("1")));
  EXPECT_FALSE(stored("alice").acked.is_acked(seq_of("2")));
  pass(milliseconds{1000});
  EXPECT_THAT(pushed_to(alice), ElementsAre("0"));
  EXPECT_EQ(out.frames[0].attempt, 2U);
  EXPECT_TRUE(out.frames[0].redelivered);
  ack(alice, seq_of("0"), {});
  EXPECT_THAT(pushed_to(alice), IsEmpty()) << "what was nacked is acked by id";
  ack(alice, {}, {id_of("0")});
  EXPECT_THAT(pushed_to(alice), ElementsAre("2", "3"));
}

TEST_F(audience_rules, what_is_not_acked_in_time_comes_again_flagged_and_in_progress_puts_that_off) {
  const auto alice = join("alice");
  publish("0");
  pass(milliseconds{600});
  it->in_progress(alice, {id_of("0")}, now);
  pass(milliseconds{600});
  EXPECT_THAT(pushed_to(alice), IsEmpty());
  pass(milliseconds{400});
  pass(milliseconds{100});
  EXPECT_THAT(pushed_to(alice), ElementsAre("0"));
  EXPECT_TRUE(out.frames[0].redelivered);
  EXPECT_EQ(out.frames[0].attempt, 2U);
}

TEST_F(audience_rules, a_message_that_a_reader_fails_too_often_is_a_dead_letter_of_that_user_alone) {
  options.max_attempts = 2;
  const auto alice = join("alice"), bob = join("bob");
  publish("0");
  publish("1");
  call([&] { it->nack(alice, {id_of("0")}, {"no", milliseconds{0}}, now, out); });
  pass(milliseconds{0});
  EXPECT_THAT(pushed_to(alice), ElementsAre("0"));
  call([&] { it->nack(alice, {id_of("0")}, {"no", {}}, now, out); });
  save();
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].to, address::user("alice").value());
  EXPECT_NE(dead[0].id, id_of("0"));
  EXPECT_EQ(dead[0].detail, "role:admin: no");
  EXPECT_TRUE(stored("alice").acked.is_acked(seq_of("0")));
  EXPECT_FALSE(stored("bob").acked.is_acked(seq_of("0")));
  (void)bob;
}

TEST_F(audience_rules, what_is_past_its_time_is_passed_over) {
  options.ttl = milliseconds{5'000};
  options.window = 1;
  const auto alice = join("alice");
  publish("0");
  publish("1");
  pass(milliseconds{6'000});
  publish("2");
  ack(alice, {}, {id_of("0")});
  EXPECT_THAT(pushed_to(alice), ElementsAre("2"));
  EXPECT_EQ(out.expired, 1U);
}

TEST_F(audience_rules, a_second_session_is_sent_what_is_in_flight_flagged_and_nobody_else_is) {
  const auto alice = join("alice");
  publish("0");
  call([&] { it->attach("alice", 77, {}, now, out); });
  ASSERT_EQ(out.pushes.size(), 1U);
  EXPECT_EQ(out.pushes[0].session, 77U);
  EXPECT_TRUE(out.frames[out.pushes[0].frame].redelivered);
  (void)alice;
}

TEST_F(audience_rules, a_reader_that_left_is_forgotten_once_it_is_saved_and_what_it_was_sent_is_flagged_when_it_comes_back) {
  const auto alice = join("alice");
  publish("0");
  detach(alice);
  EXPECT_EQ(it->readers(), 1U);
  save();
  EXPECT_EQ(it->readers(), 0U);
  EXPECT_TRUE(it->is_idle());
  append("1");
  make();  // the channel rests, and is made anew
  const auto again = join("alice");
  ASSERT_THAT(all_pushed_to(again), ElementsAre("0", "1"));
  EXPECT_TRUE(is_flagged("alice", "0"));
  EXPECT_FALSE(is_flagged("alice", "1")) << "certainly never pushed";
}

TEST_F(audience_rules, after_a_crash_all_that_the_log_held_is_flagged_and_acked_holes_do_not_come_again) {
  const auto alice = join("alice");
  for (int i = 0; i < 3; ++i) publish(std::to_string(i));
  ack(alice, {}, {id_of("1")});
  save();
  crash();
  const auto again = join("alice");
  EXPECT_THAT(all_pushed_to(again), ElementsAre("0", "2"));
  EXPECT_TRUE(is_flagged("alice", "0"));
  publish("3");
  EXPECT_FALSE(is_flagged("alice", "3"));
}

TEST_F(audience_rules, ids_that_are_none_of_the_channels_are_named_as_unknown) {
  const auto alice = join("alice");
  publish("0");
  ack(alice, {}, {"somebody-elses", id_of("0")});
  save();
  ASSERT_EQ(out.answers.size(), 1U);
  EXPECT_THAT(out.answers[0].ids, ElementsAre(id_of("0")));
  EXPECT_THAT(out.answers[0].unknown, ElementsAre("somebody-elses"));
}

TEST_F(audience_rules, a_failed_save_gives_no_answer_and_a_later_one_does) {
  const auto alice = join("alice");
  publish("0");
  ack(alice, last(), {});
  begin_save();
  call([&] { it->save_failed(); });
  EXPECT_THAT(out.answers, IsEmpty());
  save();
  EXPECT_EQ(out.answers.size(), 1U);
}

TEST_F(audience_rules, readers_that_stall_are_read_for_from_the_store_once_for_all_that_stand_at_the_same_place) {
  options.recent_max = 8;
  options.window = 4;
  options.page_max = 16;
  const auto alice = join("alice"), bob = join("bob"), carol = join("carol");
  for (int i = 0; i < 40; ++i) {
    publish(std::to_string(i));
    ack(carol, last(), {});
  }
  EXPECT_EQ(all_pushed_to(carol).size(), 40U);
  EXPECT_EQ(it->behind_count(), 2U);
  EXPECT_LE(it->recent_count(), 9U);
  reads = 0;
  for (const auto who : {alice, bob}) {
    out.clear();
    it->ack(who, 1, 1, seq_of("3"), {}, false, now, out);
    hold();
  }
  answer();
  EXPECT_EQ(reads, 1U);
  EXPECT_THAT(all_pushed_to(alice), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7"));
  for (int i = 7; i < 40; i += 4) {
    ack(alice, seq_of(std::to_string(i)), {});
    ack(bob, seq_of(std::to_string(i)), {});
  }
  EXPECT_EQ(all_pushed_to(alice).size(), 40U);
  EXPECT_EQ(all_pushed_to(bob).size(), 40U);
  EXPECT_EQ(it->behind_count(), 0U);
}

TEST_F(audience_rules, a_reader_back_after_retention_is_told_of_the_gap_and_owed_what_is_left) {
  auto alice = join("alice");
  publish("0");
  ack(alice, last(), {});
  detach(alice);
  save();
  for (int i = 1; i < 6; ++i) append(std::to_string(i));
  retain_from("3");
  make();
  alice = join("alice");
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].from.value, seq_of("0").value + 1);
  EXPECT_EQ(gaps[0].to, seq_of("2"));
  EXPECT_THAT(all_pushed_to(alice), ElementsAre("3", "4", "5"));
  const auto bob = join("bob");
  EXPECT_EQ(gaps.size(), 1U);
  (void)bob;
  ack(alice, last(), {});
  save();
  EXPECT_EQ(stored("alice").acked.floor(), last());
}

TEST_F(audience_rules, the_past_is_replayed_at_the_rate_and_live_messages_are_not_held_back_by_it) {
  options.start = {channel_start::from::earliest, 0};
  options.recent_max = 8;
  options.window = 4;
  options.replay_rate = 10;
  for (int i = 0; i < 30; ++i) append(std::to_string(i));
  make();
  const auto alice = join("alice");
  for (int i = 0; i < 8; ++i) {
    if (!all_pushed_to(alice).empty()) ack(alice, seq_of(all_pushed_to(alice).back()), {});
    pass(milliseconds{100});
  }
  const auto count = all_pushed_to(alice).size();
  EXPECT_GE(count, 8U);
  EXPECT_LE(count, 4U + 9U);
}

TEST_F(audience_rules, an_ack_is_told_to_the_other_sessions_of_its_user_once_it_is_durable) {
  const auto ann = join("ann"), ben = join("ben");
  call([&] { it->attach("ann", 50, {}, now, out); });
  publish("1");
  const auto seq = log.back()->seq;
  call([&] { it->ack(ann, 1, 1, seq, {}, true, now, out); });
  EXPECT_TRUE(out.acked_elsewhere.empty());
  begin_save();
  it->save_failed();
  saving.reset();
  EXPECT_TRUE(out.acked_elsewhere.empty());
  begin_save();
  for (const auto& x : saving->cursors) records[std::string(x.user.text())] = x;
  saving.reset();
  out.clear();
  it->saved(now, out);
  ASSERT_EQ(out.acked_elsewhere.size(), 1U);
  EXPECT_EQ(out.acked_elsewhere[0].who, ann);
  EXPECT_EQ(out.acked_elsewhere[0].session, 1U);
  EXPECT_EQ(out.acked_elsewhere[0].up_to, seq);
  EXPECT_EQ(out.acked_elsewhere[0].ids, std::vector{log.back()->id});
  call([&] { it->ack(ben, 2, 1, seq, {}, true, now, out); });
  begin_save();
  saving.reset();
  out.clear();
  it->saved(now, out);
  EXPECT_TRUE(out.acked_elsewhere.empty()) << "ben has one session";
}

TEST_F(audience_rules, what_is_poisoned_is_passed_over_by_all_and_a_dead_letter_of_the_channel_once) {
  make();
  publish("1");
  publish("2");
  options.poisoned = {log[0]->seq};
  options.start = {channel_start::from::earliest, 0};
  make();
  const auto ann = join("ann"), ben = join("ben");
  for (const auto who : {ann, ben}) EXPECT_EQ(pushed[who], std::vector<std::string>{"2"});
  save();
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].reason, dead_reason::poison);
  EXPECT_EQ(dead[0].to, options.of);
  EXPECT_EQ(dead[0].id, log[0]->id);
  EXPECT_TRUE(stored("ben").acked.is_acked(log[0]->seq));
}

TEST_F(audience_rules, the_letter_of_a_poisoned_message_is_not_lost_by_a_write_that_fails) {
  make();
  publish("1");
  options.poisoned = {log[0]->seq};
  options.start = {channel_start::from::earliest, 0};
  make();
  join("ann");
  begin_save();
  ASSERT_TRUE(saving);
  EXPECT_EQ(saving->dead.size(), 1U);
  it->save_failed();
  saving.reset();
  save();
  EXPECT_EQ(dead.size(), 1U);
}

TEST_F(audience_rules, where_a_reader_began_stays_in_its_record) {
  make();
  publish("1");
  const auto began = log.back()->seq;
  join("ann");
  publish("2");
  call([&] { it->ack(*it->find("ann"), 1, 1, log.back()->seq, {}, true, now, out); });
  save();
  EXPECT_EQ(stored("ann").read_upto, began);
  crash();
  const auto again = join("ann");
  EXPECT_EQ(it->began(again), began);
  EXPECT_EQ(it->standing_of(again).in_flight, 0U);
  publish("3");
  EXPECT_EQ(it->standing_of(again).in_flight, 1U);
  EXPECT_EQ(it->standing_of(again).unacked, 1U);
}

TEST_F(audience_rules, a_hundred_thousand_readers_fit_in_16_mb) {
  make();
  const auto before = mallinfo2().uordblks;
  constexpr int count = 100'000;
  for (int i = 0; i < count; ++i) {
    out.clear();
    const auto user = "user-" + std::to_string(1'000'000 + i);
    const auto who = it->attach(user, static_cast<std::uint32_t>(i + 1), {}, now, out);
    it->loaded(who, {reader_key(options.of, user), cursor(options.known, {}), {{}, true}, {}, 1}, now, out);
  }
  const auto bytes = mallinfo2().uordblks - before;
  RecordProperty("bytes_a_reader", static_cast<int>(bytes / count));
  EXPECT_LE(bytes, 16'000'000U) << bytes / count << " a reader";
  publish("0");
  EXPECT_EQ(out.pushes.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(out.frames.size(), 1U);
  EXPECT_FALSE(it->wants_save()) << "no write a reader a message";
}

}  // namespace
}  // namespace doorstep::test
