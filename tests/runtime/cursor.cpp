// SPDX-License-Identifier: Apache-2.0
// Floor and holes of one reader.
#include "runtime/cursor.hpp"

#include <gtest/gtest.h>

namespace doorstep {
namespace {

TEST(cursor, begins_with_nothing_acked) {
  const cursor x;
  EXPECT_EQ(x.floor(), sequence{0});
  EXPECT_FALSE(x.is_acked({1}));
}

TEST(cursor, an_ack_above_the_floor_is_a_hole_and_does_not_move_it) {
  cursor x({10}, {});
  EXPECT_TRUE(x.ack({15}));
  EXPECT_EQ(x.floor(), sequence{10});
  EXPECT_TRUE(x.is_acked({15}));
  EXPECT_FALSE(x.is_acked({14}));
  EXPECT_FALSE(x.is_acked({16}));
}

TEST(cursor, the_same_ack_counts_once) {
  cursor x({10}, {});
  EXPECT_TRUE(x.ack({15}));
  EXPECT_FALSE(x.ack({15}));
  EXPECT_FALSE(x.ack({10}));
  EXPECT_FALSE(x.ack({3}));
  EXPECT_EQ(x.above().size(), 1u);
}

TEST(cursor, the_floor_swallows_the_holes_it_passes_and_keeps_the_others) {
  cursor x({10}, {{12}, {15}, {20}});
  x.raise({15});
  EXPECT_EQ(x, cursor({15}, {{20}}));
  EXPECT_TRUE(x.is_acked({12}));
}

TEST(cursor, the_floor_never_goes_down) {
  cursor x({10}, {{12}});
  x.raise({4});
  EXPECT_EQ(x, cursor({10}, {{12}}));
}

TEST(cursor, holes_at_or_below_the_floor_are_dropped_when_it_is_made) { EXPECT_EQ(cursor({10}, {{3}, {10}, {11}}), cursor({10}, {{11}})); }

using ranges = std::vector<sequence_range>;

TEST(cursor, holes_that_touch_or_overlap_are_one) {
  cursor x({10}, {});
  EXPECT_TRUE(x.cover({20}, {30}));
  EXPECT_TRUE(x.cover({40}, {50}));
  EXPECT_TRUE(x.cover({30}, {32}));
  EXPECT_EQ(x.above(), (ranges{{{20}, {32}}, {{40}, {50}}}));
  EXPECT_FALSE(x.cover({25}, {32}));
  EXPECT_FALSE(x.ack({41}));
  EXPECT_TRUE(x.cover({15}, {45}));
  EXPECT_EQ(x.above(), (ranges{{{15}, {50}}}));
  EXPECT_TRUE(x.is_acked({16}));
  EXPECT_FALSE(x.is_acked({15}));
  EXPECT_FALSE(x.is_acked({51}));
}

TEST(cursor, a_range_never_reaches_below_the_floor) {
  cursor x({10}, {});
  EXPECT_FALSE(x.cover({3}, {10}));
  EXPECT_TRUE(x.cover({3}, {12}));
  EXPECT_EQ(x, cursor::with_ranges({10}, {{{10}, {12}}}));
  x.cover({20}, {30});
  x.raise({25});
  EXPECT_EQ(x, cursor::with_ranges({25}, {{{25}, {30}}}));
}

TEST(cursor, ranges_with_nothing_unacked_between_become_one_as_far_as_that_is_known) {
  cursor x({10}, {{12}, {15}, {20}, {30}, {40}});
  x.close_gaps({{11}, {17}}, {25});
  EXPECT_EQ(x.above(), (ranges{{{11}, {15}}, {{19}, {20}}, {{29}, {30}}, {{39}, {40}}}));
  EXPECT_FALSE(x.is_acked({17}));
  x.close_gaps({{11}, {17}}, {50});
  EXPECT_EQ(x.above(), (ranges{{{11}, {15}}, {{19}, {40}}}));
}

TEST(cursor, what_it_does_not_say_is_unacked) {
  EXPECT_EQ(unacked_ranges(cursor({10}, {{11}, {15}})), (ranges{{{11}, {14}}, {{15}, {UINT64_MAX}}}));
  EXPECT_EQ(unacked_ranges(cursor()), (ranges{{{0}, {UINT64_MAX}}}));
}

}  // namespace
}  // namespace doorstep
