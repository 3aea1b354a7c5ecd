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

}  // namespace
}  // namespace doorstep
