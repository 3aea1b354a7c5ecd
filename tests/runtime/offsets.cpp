// SPDX-License-Identifier: Apache-2.0
// What may be committed of a source partition. A table of stories: each line is what happened and what the watermark is after it.
#include "runtime/offsets.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace doorstep {
namespace {

struct step {
  enum { open, finish, finish_range, rewind } what;
  std::int64_t first = 0, last = 0;
  std::size_t records = 0;  ///< opened, or what finish() has to return
  std::int64_t watermark = 0, end = 0;
  std::size_t in_flight = 0;
};
struct story {
  const char* name;
  std::int64_t next;
  std::vector<step> steps;
};

TEST(offsets, the_watermark_is_the_lowest_offset_that_is_not_durable) {
  const story table[] = {
      {"in order",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5}, {step::finish, 0, 0, 5, 5, 5, 0}, {step::open, 5, 5, 1, 5, 6, 1}, {step::finish, 5, 0, 1, 6, 6, 0}}},
      {"finished from the back",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5},
        {step::open, 5, 9, 5, 0, 10, 10},
        {step::open, 10, 12, 3, 0, 13, 13},
        {step::finish, 10, 0, 3, 0, 13, 10},
        {step::finish, 5, 0, 5, 0, 13, 5},
        {step::finish, 0, 0, 5, 13, 13, 0}}},
      {"the middle stays",
       7,
       {{step::open, 7, 7, 1, 7, 8, 1},
        {step::open, 8, 8, 1, 7, 9, 2},
        {step::open, 9, 9, 1, 7, 10, 3},
        {step::finish, 7, 0, 1, 8, 10, 2},
        {step::finish, 9, 0, 1, 8, 10, 1}}},
      {"gaps between and inside ranges count as durable once what lies before is",
       100,
       {{step::open, 105, 120, 3, 100, 121, 3},
        {step::open, 200, 210, 2, 100, 211, 5},
        {step::finish, 200, 0, 2, 100, 211, 3},
        {step::finish, 105, 0, 3, 211, 211, 0}}},
      {"a range that nobody opened, or that finished before, is ignored",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5},
        {step::open, 5, 9, 5, 0, 10, 10},
        {step::finish, 3, 0, 0, 0, 10, 10},
        {step::finish, 77, 0, 0, 0, 10, 10},
        {step::finish, 5, 0, 5, 0, 10, 5},
        {step::finish, 5, 0, 0, 0, 10, 5},
        {step::finish, 0, 0, 5, 10, 10, 0},
        {step::finish, 0, 0, 0, 10, 10, 0}}},
      {"a rewind forgets what finished above the watermark",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5},
        {step::open, 5, 9, 5, 0, 10, 10},
        {step::finish, 5, 0, 5, 0, 10, 5},
        {step::rewind, 0, 0, 0, 0, 0, 0},
        {step::open, 0, 9, 10, 0, 10, 10},
        {step::finish, 5, 0, 0, 0, 10, 10},
        {step::finish, 0, 0, 10, 10, 10, 0}}},
      {"a rewind keeps the watermark",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5},
        {step::open, 5, 9, 5, 0, 10, 10},
        {step::finish, 0, 0, 5, 5, 10, 5},
        {step::rewind, 0, 0, 0, 5, 5, 0},
        {step::open, 5, 6, 2, 5, 7, 2}}},
      {"an answer from before a rewind does not cover the longer range read since",
       0,
       {{step::open, 0, 4, 5, 0, 5, 5},
        {step::rewind, 0, 0, 0, 0, 0, 0},
        {step::open, 0, 9, 10, 0, 10, 10},
        {step::finish_range, 0, 4, 0, 0, 10, 10},
        {step::finish_range, 0, 9, 10, 10, 10, 0}}},
  };
  for (const auto& story : table) {
    offsets x(story.next);
    EXPECT_EQ(x.watermark(), story.next);
    for (std::size_t i = 0; i < story.steps.size(); ++i) {
      SCOPED_TRACE(std::string(story.name) + ", step " + std::to_string(i));
      const auto& step = story.steps[i];
      switch (step.what) {
        case step::open: x.open(step.first, step.last, step.records); break;
        case step::finish: EXPECT_EQ(x.finish(step.first), step.records); break;
        case step::finish_range: EXPECT_EQ(x.finish(step.first, step.last), step.records); break;
        case step::rewind: x.rewind(); break;
      }
      EXPECT_EQ(x.watermark(), step.watermark);
      EXPECT_EQ(x.end(), step.end);
      EXPECT_EQ(x.in_flight(), step.in_flight);
    }
  }
}

TEST(offsets, a_range_that_overlaps_or_runs_backwards_is_a_broken_invariant) {
  offsets x(5);
  EXPECT_THROW(x.open(4, 6, 1), std::logic_error);
  EXPECT_THROW(x.open(8, 7, 1), std::logic_error);
  x.open(5, 9, 5);
  EXPECT_THROW(x.open(9, 12, 1), std::logic_error);
}

}  // namespace
}  // namespace doorstep
