// SPDX-License-Identifier: Apache-2.0
// Marks, what is counted by them, and the order of changes (docs/decisions/0008-inbox-states.md).
#include "runtime/inbox.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// "after-upto@time", blank-separated.
std::string text(const mark_ranges& x) {
  std::string out;
  for (const auto& r : x.ranges())
    out += (out.empty() ? "" : " ") + std::to_string(r.after.value) + "-" + std::to_string(r.upto.value) + "@" + std::to_string(r.at.value);
  return out;
}

TEST(mark_ranges, what_is_covered_keeps_its_time_and_the_rest_gets_the_new_one) {
  mark_ranges x;
  EXPECT_TRUE(x.cover({10}, {20}, {1}));
  EXPECT_TRUE(x.cover({}, {30}, {2}));
  EXPECT_EQ(text(x), "0-10@2 10-20@1 20-30@2");
  EXPECT_FALSE(x.cover({5}, {25}, {3}));
  EXPECT_EQ(x.at({10}), unix_ms{2});
  EXPECT_EQ(x.at({11}), unix_ms{1});
  EXPECT_EQ(x.at({31}), std::nullopt);
  EXPECT_TRUE(x.uncover({15}, {25}));
  EXPECT_EQ(text(x), "0-10@2 10-15@1 25-30@2");
  EXPECT_FALSE(x.uncover({16}, {17}));
}

TEST(mark_ranges, ranges_that_touch_become_one_when_there_are_too_many_and_gaps_stay) {
  mark_ranges x;
  for (std::uint64_t i = 0; i < 6; ++i) x.cover({i * 10}, {i * 10 + (i == 3 ? 5 : 10)}, {static_cast<std::int64_t>(i)});
  EXPECT_EQ(x.ranges().size(), 6u);
  EXPECT_TRUE(x.coarsen(4));
  EXPECT_EQ(text(x), "0-30@2 30-35@3 40-50@4 50-60@5");
  EXPECT_FALSE(x.coarsen(1));
  EXPECT_EQ(text(x), "0-35@3 40-60@5");
}

TEST(mark_ranges, any_sequence_of_changes_agrees_with_a_flag_a_seq) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    mark_ranges x;
    std::map<std::uint64_t, std::int64_t> model;
    for (std::int64_t at = 1; at < 40; ++at) {
      const auto a = random() % 60, b = random() % 60;
      const bool on = random() % 3 != 0;
      bool changed = false;
      for (auto seq = a + 1; seq <= b; ++seq) changed = (on ? model.emplace(seq, at).second : model.erase(seq) > 0) || changed;
      ASSERT_EQ(on ? x.cover({a}, {b}, {at}) : x.uncover({a}, {b}), changed);
      for (std::uint64_t seq = 1; seq <= 60; ++seq) {
        const auto found = x.at({seq});
        ASSERT_EQ(found.has_value(), model.contains(seq)) << "seq " << seq << " in " << text(x);
        ASSERT_EQ(found.value_or(unix_ms{}).value, found ? model[seq] : 0);
      }
      for (std::size_t i = 1; i < x.ranges().size(); ++i) ASSERT_LE(x.ranges()[i - 1].upto, x.ranges()[i].after);
    }
  }
}

TEST(inbox_record, read_is_seen_and_archived_expired_dead_or_superseded_is_neither_unread_nor_unseen) {
  inbox_record x;
  x[inbox_mark::seen].cover({}, {50}, {1});
  x[inbox_mark::read].cover({50}, {60}, {1});
  x[inbox_mark::archived].cover({10}, {20}, {1});
  x[inbox_mark::expired].cover({70}, {71}, {1});
  x[inbox_mark::dead].cover({80}, {81}, {1});
  x[inbox_mark::superseded].cover({90}, {91}, {1});
  x[inbox_mark::delivered].cover({}, {1000}, {1});
  const std::vector<sequence> seqs{{5}, {15}, {55}, {65}, {71}, {75}, {81}, {90}, {91}, {95}};
  EXPECT_EQ(count_in(unread_ranges(x), seqs, {94}), 4u) << "5, 65, 75 and 90";
  EXPECT_EQ(count_in(unseen_ranges(x), seqs, {94}), 3u) << "65, 75 and 90";
  EXPECT_EQ(highest_counted_mark(x), sequence{91});
}

class inbox_test : public testing::Test {
protected:
  inbox_change of(inbox_mark mark, std::vector<sequence> seqs, std::uint64_t request = 0, bool on = true) {
    return {1, request, mark, on, {}, std::move(seqs)};
  }
  inbox_change up_to(inbox_mark mark, std::uint64_t seq, std::uint64_t request = 0, bool on = true) { return {1, request, mark, on, {seq}, {}}; }
  std::vector<std::uint64_t> save(bool durable = true) {
    written = box.begin_save(++version);
    std::vector<inbox::reply> told;
    if (durable)
      recount = box.saved(told);
    else
      box.save_failed();
    return requests(told);
  }
  static std::vector<std::uint64_t> requests(const std::vector<inbox::reply>& told) {
    std::vector<std::uint64_t> out;
    out.reserve(told.size());
    for (const auto& x : told) out.push_back(x.request);
    return out;
  }
  inbox box{inbox_record{}};
  inbox_record written;
  std::uint64_t version = 0;
  bool recount = false;
};

TEST_F(inbox_test, reading_up_to_a_seq_is_told_once_it_is_durable) {
  ASSERT_TRUE(box.change(up_to(inbox_mark::read, 30, 7), {5}));
  EXPECT_TRUE(box.is_dirty());
  EXPECT_THAT(save(false), IsEmpty());
  EXPECT_TRUE(box.is_dirty());
  EXPECT_THAT(save(), ElementsAre(7));
  EXPECT_TRUE(recount);
  EXPECT_EQ(text(written[inbox_mark::read]), "0-30@5");
  EXPECT_TRUE(box.is_idle());
}

TEST_F(inbox_test, what_is_so_already_is_answered_at_once_and_after_the_save_that_made_it_so) {
  box.change(up_to(inbox_mark::read, 30, 7), {5});
  box.begin_save(1);
  box.change(up_to(inbox_mark::read, 20, 8), {6});
  EXPECT_THAT(requests(box.take_replies()), IsEmpty()) << "the save may fail";
  std::vector<inbox::reply> told;
  box.saved(told);
  EXPECT_THAT(requests(told), ElementsAre(7, 8));
  box.change(up_to(inbox_mark::read, 20, 9), {6});
  EXPECT_THAT(requests(box.take_replies()), ElementsAre(9));
  EXPECT_FALSE(box.is_dirty());
}

TEST_F(inbox_test, single_messages_reach_down_to_their_neighbours_so_that_marks_become_one) {
  box.change(of(inbox_mark::read, {{20}, {10}}, 7), {5});
  EXPECT_THAT(box.wants_places(), ElementsAre(sequence{10}, sequence{20}));
  EXPECT_THAT(box.wants_places(), IsEmpty()) << "asked already";
  EXPECT_TRUE(box.places({{{{10}, {}}, {{20}, {10}}}, {99}}, {5}));
  EXPECT_EQ(text(box.record()[inbox_mark::read]), "0-20@5");
  EXPECT_THAT(save(), ElementsAre(7));
}

TEST_F(inbox_test, changes_keep_their_order_whatever_has_to_be_asked) {
  box.change(of(inbox_mark::read, {{10}}, 1), {5});
  box.change(up_to(inbox_mark::read, 30, 2, false), {5});
  EXPECT_FALSE(box.is_dirty()) << "the first one waits, and the second behind it";
  box.wants_places();
  box.places({{{{10}, {}}}, {99}}, {5});
  EXPECT_EQ(text(box.record()[inbox_mark::read]), "");
  EXPECT_THAT(save(), ElementsAre(1, 2));
}

TEST_F(inbox_test, a_seq_that_is_no_message_changes_nothing_and_one_not_stored_yet_is_asked_for_again) {
  box.change(of(inbox_mark::read, {{10}, {50}}, 1), {5});
  box.wants_places();
  EXPECT_FALSE(box.places({{}, {40}}, {5})) << "50 may come";
  EXPECT_THAT(box.wants_places(), ElementsAre(sequence{10}, sequence{50}));
  EXPECT_TRUE(box.places({{{{50}, {30}}}, {60}}, {5}));
  EXPECT_EQ(text(box.record()[inbox_mark::read]), "30-50@5");
  EXPECT_THAT(save(), ElementsAre(1));
}

TEST_F(inbox_test, a_message_that_never_comes_is_given_up_in_the_end) {
  box.change(of(inbox_mark::read, {{50}}, 1), {5});
  unsigned tries = 0;
  do {
    ASSERT_FALSE(box.wants_places().empty());
    ++tries;
  } while (!box.places({{}, {40}}, {5}));
  EXPECT_EQ(tries, inbox::locate_tries_max);
  EXPECT_THAT(requests(box.take_replies()), ElementsAre(1));
}

TEST_F(inbox_test, a_session_that_has_left_is_told_nothing) {
  box.change(up_to(inbox_mark::read, 30, 7), {5});
  box.change(of(inbox_mark::read, {{50}}, 8), {5});
  box.forget(1);
  box.wants_places();
  box.places({{{{50}, {}}}, {60}}, {5});
  EXPECT_THAT(save(), IsEmpty());
  EXPECT_EQ(text(written[inbox_mark::read]), "0-50@5");
}

TEST_F(inbox_test, what_left_unacked_is_marked_at_once_and_widened_when_its_neighbours_are_known) {
  box.left({10}, inbox_mark::expired, {5});
  box.left({20}, inbox_mark::expired, {5});
  box.left({30}, inbox::mark_of(dead_reason::nacked), {5});
  save();
  EXPECT_EQ(text(written[inbox_mark::expired]), "9-10@5 19-20@5");
  EXPECT_EQ(text(written[inbox_mark::dead]), "29-30@5");
  EXPECT_TRUE(recount);
  EXPECT_THAT(box.wants_places(), ElementsAre(sequence{10}, sequence{20}));
  box.places({{{{10}, {}}, {{20}, {10}}}, {99}}, {6});
  EXPECT_EQ(text(box.record()[inbox_mark::expired]), "0-9@6 9-10@5 10-19@6 19-20@5");
  EXPECT_THAT(box.wants_places(), ElementsAre(sequence{30}));
}

TEST_F(inbox_test, of_too_many_that_left_in_separate_places_the_lowest_mark_goes) {
  for (std::uint64_t i = 1; i <= inbox::ranges_max + 1; ++i) box.left({i * 10}, inbox_mark::superseded, {5});
  const auto& marks = box.record()[inbox_mark::superseded];
  EXPECT_EQ(marks.ranges().size(), inbox::ranges_max);
  EXPECT_FALSE(marks.at({10}));
  EXPECT_TRUE(marks.at({20}));
}

TEST_F(inbox_test, more_separate_marks_than_the_limit_are_refused_and_change_nothing) {
  inbox_record full;
  for (std::uint64_t i = 1; i <= inbox::ranges_max; ++i) full[inbox_mark::read].cover({i * 10}, {i * 10 + 1}, {1});
  box = inbox(full);
  box.change(of(inbox_mark::read, {{5}}, 7), {5});
  box.wants_places();
  box.places({{{{5}, {4}}}, {99}}, {5});
  const auto told = box.take_replies();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(told[0].refused);
  EXPECT_EQ(box.record()[inbox_mark::read].ranges().size(), inbox::ranges_max);
  box.change(up_to(inbox_mark::read, 100'000, 8), {5});
  EXPECT_THAT(save(), ElementsAre(8)) << "up_to makes one of them";
}

TEST_F(inbox_test, too_many_changes_that_wait_are_refused) {
  for (std::size_t i = 0; i < inbox::waiting_max; ++i) ASSERT_TRUE(box.change(of(inbox_mark::read, {{10}}), {5}));
  EXPECT_FALSE(box.change(of(inbox_mark::read, {{10}}), {5}));
}

TEST_F(inbox_test, delivered_steps_keep_the_time_of_the_floor) {
  box.delivered({10}, {100});
  box.delivered({10}, {200});
  box.delivered({20}, {300});
  EXPECT_EQ(text(box.record()[inbox_mark::delivered]), "0-10@100 10-20@300");
  EXPECT_TRUE(box.is_dirty());
  save();
  EXPECT_FALSE(recount) << "delivered is not read";
}

}  // namespace
}  // namespace doorstep::test
