// SPDX-License-Identifier: Apache-2.0
// What is unread in a channel: by marks, by age, by what comes; and beside a naive count over random histories.
#include "runtime/channel_counts.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

namespace doorstep::test {
namespace {

using numbers = channel_counts::numbers;

message_ptr made(std::uint64_t seq, std::int64_t appended, std::int64_t expires = 0) {
  auto what = std::make_shared<event>();
  what->expires = {expires};
  message x;
  x.seq = {seq};
  x.appended = {appended};
  x.what = what;
  return std::make_shared<const message>(x);
}

class channel_counts_test : public testing::Test {
protected:
  /// All that is stored below what is in memory, a page at a time, newest first.
  void read_all(const std::vector<message_ptr>& stored, std::size_t page_max = 3) {
    while (const auto below = it.wants_older()) {
      std::vector<message_ptr> page;
      for (const auto& x : stored)
        if (x->seq < *below) page.push_back(x);
      const bool more = page.size() > page_max;
      if (more) page.erase(page.begin(), page.end() - static_cast<std::ptrdiff_t>(page_max));
      it.older(page, more, now);
    }
  }
  void open(reader_id who, sequence began, const inbox_record& marks = {}) {
    it.open(who, began);
    it.marks(who, marks);
  }
  /// What changed since, the last word for each.
  std::map<reader_id, std::pair<std::uint64_t, std::uint64_t>> told() {
    std::map<reader_id, std::pair<std::uint64_t, std::uint64_t>> out;
    for (const auto& x : it.take_changes()) out[x.who] = {x.what.unread, x.what.unseen};
    return out;
  }
  static inbox_record read_up_to(std::uint64_t seq) {
    inbox_record x;
    x[inbox_mark::read].cover({}, {seq}, {1});
    return x;
  }
  using all = std::map<reader_id, std::pair<std::uint64_t, std::uint64_t>>;

  unix_ms now{1'000};
  channel_counts it{milliseconds{0}, milliseconds{0}};
};

TEST_F(channel_counts_test, nothing_is_told_before_all_messages_are_known_and_then_what_is_above_where_each_began) {
  const std::vector<message_ptr> stored{made(1, 1), made(2, 2), made(3, 3), made(4, 4), made(5, 5)};
  it.begin({made(6, 6)}, {5}, now);
  open(1, {});
  open(2, {4});
  it.live({made(7, 7)}, now);
  EXPECT_EQ(told(), all{});
  read_all(stored);
  EXPECT_EQ(told(), (all{{1, {7, 7}}, {2, {3, 3}}}));
  EXPECT_EQ(told(), all{});
}

TEST_F(channel_counts_test, a_reader_whose_marks_are_not_known_is_told_nothing) {
  it.begin({made(6, 6)}, {}, now);
  it.open(1, {});
  it.live({made(7, 7)}, now);
  EXPECT_EQ(told(), all{});
  it.marks(1, read_up_to(6));
  EXPECT_EQ(told(), (all{{1, {1, 1}}}));
}

TEST_F(channel_counts_test, what_comes_counts_for_those_who_have_not_marked_it_before_it_was_heard_of) {
  it.begin({}, {}, now);
  open(1, {});
  open(2, {}, read_up_to(10));
  told();
  it.live({made(9, 9)}, now);
  EXPECT_EQ(told(), (all{{1, {1, 1}}}));
  it.live({made(9, 9), made(11, 11)}, now);
  EXPECT_EQ(told(), (all{{1, {2, 2}}, {2, {1, 1}}}));
}

TEST_F(channel_counts_test, seen_is_not_read_and_archived_is_neither_unread_nor_unseen) {
  it.begin({made(1, 1), made(2, 2), made(3, 3)}, {}, now);
  inbox_record marks;
  marks[inbox_mark::seen].cover({}, {2}, {1});
  open(1, {}, marks);
  EXPECT_EQ(told(), (all{{1, {3, 1}}}));
  marks[inbox_mark::archived].cover({2}, {3}, {1});
  it.marks(1, marks);
  EXPECT_EQ(told(), (all{{1, {2, 0}}}));
  it.marks(1, marks);
  EXPECT_EQ(told(), all{}) << "nothing has changed";
}

TEST_F(channel_counts_test, one_more_session_of_a_reader_is_told_what_the_first_one_knows) {
  it.begin({made(1, 1)}, {}, now);
  open(1, {});
  told();
  it.open(1, {});
  EXPECT_EQ(told(), (all{{1, {1, 1}}}));
  it.close(1);
  it.live({made(2, 2)}, now);
  EXPECT_EQ(told(), all{});
}

TEST_F(channel_counts_test, a_message_past_its_time_does_not_count_whether_it_names_it_or_not) {
  it = channel_counts(milliseconds{500}, milliseconds{0});
  it.begin({made(1, 400), made(2, 900), made(3, 950, 1'100), made(4, 100, 5'000)}, {}, now);
  open(1, {});
  EXPECT_EQ(told(), (all{{1, {3, 3}}}));
  EXPECT_EQ(it.next_due(), unix_ms{1'100});
  it.tick({1'099});
  EXPECT_EQ(told(), all{});
  it.tick({1'100});
  EXPECT_EQ(told(), (all{{1, {2, 2}}}));
  it.tick({1'500});
  EXPECT_EQ(told(), (all{{1, {1, 1}}}));
  it.live({made(5, 500, 1'400)}, {1'500});
  EXPECT_EQ(told(), all{});
}

TEST_F(channel_counts_test, what_retention_has_taken_does_not_count_and_is_looked_for_now_and_then) {
  it = channel_counts(milliseconds{0}, milliseconds{1'000});
  it.begin({made(5, 500), made(6, 510), made(7, 900)}, {4}, now);
  it.older({made(3, 0), made(4, 300)}, true, now);
  EXPECT_FALSE(it.wants_older()) << "what is below has gone";
  open(1, {});
  EXPECT_EQ(told(), (all{{1, {4, 4}}}));
  it.tick({1'300});
  EXPECT_EQ(told(), (all{{1, {3, 3}}}));
  it.tick({1'499});
  EXPECT_EQ(told(), all{});
  EXPECT_EQ(it.next_due(), unix_ms{1'500});
  it.tick({1'510});
  EXPECT_EQ(told(), (all{{1, {1, 1}}}));
}

TEST_F(channel_counts_test, memory_is_bounded_by_the_newest_messages) {
  it.begin({}, {}, now);
  open(1, {});
  std::vector<message_ptr> some;
  for (std::uint64_t seq = 1; seq <= channel_counts::counted_max + 2 * channel_counts::spare; ++seq) {
    it.live({made(seq, 1)}, now);
    ASSERT_LE(told().at(1).first, channel_counts::counted_max + channel_counts::spare);
  }
  it.marks(1, read_up_to(2 * channel_counts::spare));
  EXPECT_EQ(told().at(1).first, channel_counts::counted_max);
}

TEST_F(channel_counts_test, any_sequence_of_marks_messages_and_ends_counts_as_one_by_one) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    const auto any = [&](std::uint64_t below) { return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random); };
    const milliseconds retention{any(2) == 0 ? 0 : 400};
    const auto gone = [&](const message& x) { return retention.count() != 0 && x.appended.value + retention.count() <= now.value; };
    it = channel_counts(milliseconds{0}, retention);
    now = {1'000};
    std::vector<message_ptr> stored;
    for (std::uint64_t seq = 1; seq <= any(12); ++seq) stored.push_back(made(seq * 2, 700 + static_cast<std::int64_t>(seq)));
    it.begin({}, stored.empty() ? sequence{} : stored.back()->seq, now);
    const sequence began{any(10)};
    inbox_record marks;
    open(1, began, marks);
    read_all(stored, 1 + any(4));
    std::pair<std::uint64_t, std::uint64_t> last{};
    std::uint64_t next = 100;
    for (int step = 0; step < 60; ++step) {
      switch (any(4)) {
        case 0:
          stored.push_back(made(++next, now.value, any(3) == 0 ? now.value + 1 + static_cast<std::int64_t>(any(300)) : 0));
          it.live({stored.back()}, now);
          break;
        case 1: {
          const auto mark = std::array{inbox_mark::seen, inbox_mark::read, inbox_mark::archived}[any(3)];
          const sequence upto{any(2) == 0 ? any(next + 3) : next}, after{any(3) == 0 ? upto.value / 2 : 0};
          any(3) == 0 ? marks[mark].uncover(after, upto) : marks[mark].cover(after, upto, now);
          it.marks(1, marks);
          break;
        }
        case 2: now.value += static_cast<std::int64_t>(any(150)); break;
        default: now.value += channel_counts::look_interval.count(); break;
      }
      it.tick(now);
      if (const auto x = told(); !x.empty()) last = x.at(1);
      if (const auto due = it.next_due(); due && *due <= now) continue;
      if (const auto due = it.next_due(); due && due->value - now.value < channel_counts::look_interval.count()) continue;  // it looks again soon
      std::pair<std::uint64_t, std::uint64_t> expected{};
      for (const auto& x : stored) {
        if (x->seq <= began || (x->what->expires.value != 0 && x->what->expires <= now) || gone(*x)) continue;
        const auto is = [&](inbox_mark mark) { return marks[mark].at(x->seq).has_value(); };
        if (is(inbox_mark::read) || is(inbox_mark::archived)) continue;
        ++expected.first;
        expected.second += is(inbox_mark::seen) ? 0U : 1U;
      }
      ASSERT_EQ(last, expected) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace doorstep::test
