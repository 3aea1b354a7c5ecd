// SPDX-License-Identifier: Apache-2.0
#include "runtime/origin_filter.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace doorstep {
namespace {

std::shared_ptr<const origin_partition> partition(int number, std::uint32_t generation = 0) {
  return std::make_shared<const origin_partition>(origin_partition{"orders", generation, "orders", number});
}
const address alice = address::user("alice").value();
const address bob = address::user("bob").value();

TEST(origin_filter, the_same_offset_and_address_is_a_replay) {
  origin_filter filter;
  const auto p = partition(0);
  EXPECT_FALSE(filter.is_replay({p, 5, 0}, alice, 1));
  EXPECT_TRUE(filter.is_replay({p, 5, 0}, alice, 2));
  EXPECT_FALSE(filter.is_replay({p, 5, 0}, bob, 2)) << "the rest of a fan-out";
  filter.commit();
  EXPECT_TRUE(filter.is_replay({partition(0), 5, 0}, alice, 3)) << "by value, not by pointer";
  EXPECT_FALSE(filter.is_replay({partition(1), 5, 0}, alice, 3));
  EXPECT_FALSE(filter.is_replay({partition(0, 1), 5, 0}, alice, 3)) << "a topic made anew counts from the start";
}

TEST(origin_filter, what_has_no_origin_is_never_a_replay) {
  origin_filter filter;
  EXPECT_FALSE(filter.is_replay({}, alice, 1));
  EXPECT_FALSE(filter.is_replay({}, alice, 1));
  EXPECT_EQ(filter.size(), 0u);
}

TEST(origin_filter, a_failed_record_retried_after_later_ones_is_not_lost) {
  origin_filter filter;
  const auto p = partition(0);
  for (std::int64_t offset = 131; offset <= 150; ++offset) EXPECT_FALSE(filter.is_replay({p, offset, 130}, alice, 1));
  filter.commit();
  EXPECT_FALSE(filter.is_replay({p, 130, 130}, alice, 2));
}

TEST(origin_filter, everything_below_the_floor_is_a_replay_and_forgotten) {
  origin_filter filter;
  const auto p = partition(0);
  filter.is_replay({p, 5, 0}, alice, 1);
  filter.is_replay({p, 6, 0}, alice, 2);
  filter.commit();
  EXPECT_EQ(filter.size(), 2u);
  filter.is_replay({p, 9, 6}, alice, 3);
  EXPECT_TRUE(filter.is_replay({p, 5, 0}, bob, 4)) << "the floor holds inside the transaction already";
  filter.commit();
  EXPECT_EQ(filter.size(), 2u);
  EXPECT_TRUE(filter.is_replay({p, 5, 0}, bob, 5));
}

TEST(origin_filter, a_rolled_back_transaction_leaves_no_trace) {
  origin_filter filter;
  const auto p = partition(0);
  filter.is_replay({p, 5, 3}, alice, 1);
  filter.commit();
  filter.is_replay({p, 7, 6}, alice, 2);
  filter.is_replay({p, 5, 6}, bob, 3);
  filter.rollback();
  EXPECT_TRUE(filter.changes(9).empty());
  EXPECT_EQ(filter.size(), 1u);
  EXPECT_FALSE(filter.is_replay({p, 7, 3}, alice, 2));
  EXPECT_FALSE(filter.is_replay({p, 5, 3}, bob, 3)) << "the floor went back too";
  EXPECT_TRUE(filter.is_replay({p, 5, 3}, alice, 4)) << "what was committed stays";
}

TEST(origin_filter, changes_say_from_where_the_log_must_be_read_again) {
  origin_filter filter;
  const auto p = partition(0);
  filter.is_replay({p, 5, 5}, alice, 11);
  filter.is_replay({p, 6, 5}, alice, 12);
  auto changes = filter.changes(13);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].floor, 5);
  EXPECT_EQ(changes[0].rescan, 11u);
  filter.commit();
  EXPECT_TRUE(filter.changes(13).empty());
  EXPECT_TRUE(filter.is_replay({p, 5, 7}, alice, 13)) << "a replay can bring a floor too";
  changes = filter.changes(13);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].floor, 7);
  EXPECT_EQ(changes[0].rescan, 13u) << "nothing is remembered above the floor";
}

TEST(origin_filter, what_lies_too_far_back_to_be_read_again_is_named_once_and_stays_named) {
  origin_filter filter;
  const auto p = partition(0);
  filter.is_replay({p, 5, 5}, alice, 1);
  filter.is_replay({p, 5, 5}, bob, 2);
  auto changes = filter.changes(3, 10);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].rescan, 1u);
  EXPECT_TRUE(changes[0].above.empty());
  filter.commit();
  EXPECT_TRUE(filter.changes(11, 10).empty()) << "still within reach";
  changes = filter.changes(12, 10);
  ASSERT_EQ(changes.size(), 1u) << "nothing came from it, and yet";
  EXPECT_EQ(changes[0].rescan, 12u);
  EXPECT_EQ(changes[0].above.size(), 2u);
  EXPECT_TRUE(filter.changes(100, 10).empty()) << "the store has it";
  origin_filter next;
  next.restore(changes[0]);
  next.is_replay({p, 6, 5}, alice, 100);
  changes = next.changes(101, 10);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].above.size(), 3u);
  origin_filter third;
  third.restore(changes[0]);
  EXPECT_TRUE(third.is_replay({p, 5, 5}, bob, 101));
  EXPECT_TRUE(third.is_replay({p, 6, 5}, alice, 102));
}

class origin_simulation : public testing::TestWithParam<std::uint64_t> {};

TEST_P(origin_simulation, a_restart_at_any_point_judges_as_if_there_had_been_none) {
  // a router with a fan-out of two that restarts from its floor again and again; the model is a plain set of everything ever appended
  origin_filter filter;
  std::set<std::pair<std::int64_t, std::string>> model;
  std::vector<std::pair<origin, address>> log;
  std::vector<origin_position> stored;
  std::uint32_t seed = 20'26;
  const auto dice = [&](std::uint32_t sides) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 16) % sides;
  };
  const auto p = partition(0);
  std::int64_t floor = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto offset = floor + dice(6);
    const auto& to = dice(2) == 0 ? alice : bob;
    const bool known = model.contains({offset, std::string(to.text())});
    const bool replay = filter.is_replay({p, offset, floor}, to, log.size());
    ASSERT_EQ(replay, known) << "round " << round << " offset " << offset;
    if (dice(5) == 0) {
      filter.rollback();
      continue;
    }
    if (!replay) {
      model.insert({offset, std::string(to.text())});
      log.push_back({{p, offset, floor}, to});
    }
    if (auto changes = filter.changes(log.size(), GetParam()); !changes.empty()) stored = changes;
    filter.commit();
    while (model.contains({floor, std::string(alice.text())}) && model.contains({floor, std::string(bob.text())})) ++floor;
    if (dice(20) == 0) {
      filter = {};
      for (const auto& x : stored) filter.restore(x);
      for (auto at = stored.empty() ? 0 : stored[0].rescan; at < log.size(); ++at) filter.note(log[at].first, log[at].second, at);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(reach, origin_simulation, testing::Values(UINT64_MAX, 20, 3, 1));

}  // namespace
}  // namespace doorstep
