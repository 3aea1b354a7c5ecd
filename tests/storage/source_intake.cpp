// SPDX-License-Identifier: Apache-2.0
// Credit and hysteresis of one source partition, without a broker.
#include "storage/source_intake.hpp"

#include <gtest/gtest.h>

#include <random>

namespace doorstep {
namespace {

constexpr steady_time start{};

void take(source_intake& x, std::int64_t from, std::int64_t count, std::size_t bytes = 10) {
  const std::string value(bytes, 'x');
  for (auto i = from; i < from + count; ++i) {
    source_record record;
    record.offset = i;
    record.value = value;
    record.own();
    x.take(std::move(record));
  }
}

TEST(source_intake, hands_over_what_the_credit_allows_in_order) {
  source_intake x(100);
  take(x, 0, 10);
  EXPECT_TRUE(x.hand_over().empty());
  x.grant(4, start);
  const auto first = x.hand_over();
  ASSERT_EQ(first.size(), 4U);
  EXPECT_EQ(first[3].offset, 3);
  EXPECT_EQ(x.credit(), 0U);
  x.grant(100, start);
  const auto rest = x.hand_over();
  ASSERT_EQ(rest.size(), 6U);
  EXPECT_EQ(rest[0].offset, 4);
  EXPECT_EQ(x.credit(), 94U);
}

TEST(source_intake, pauses_only_when_half_the_credit_is_held_beyond_it) {
  source_intake x(100);
  x.grant(10, start);
  take(x, 0, 10);
  x.hand_over();
  EXPECT_FALSE(x.should_pause());
  take(x, 10, 49);
  EXPECT_FALSE(x.should_pause());
  take(x, 59, 1);
  EXPECT_TRUE(x.should_pause());
}

TEST(source_intake, pauses_for_a_few_large_records_too) {
  source_intake x(4096);
  take(x, 0, 3, std::size_t{1} << 20);
  EXPECT_FALSE(x.should_pause());
  take(x, 3, 1, std::size_t{1} << 20);
  EXPECT_TRUE(x.should_pause());
  x.grant(2, start);
  x.hand_over();
  EXPECT_FALSE(x.should_pause());
}

TEST(source_intake, resumes_with_half_of_the_credit_or_after_a_short_wait_with_less) {
  source_intake x(100);
  x.grant(100, start);
  take(x, 0, 150);
  x.hand_over();
  ASSERT_TRUE(x.should_pause());
  x.grant(50, start);
  x.hand_over();
  EXPECT_FALSE(x.should_resume(start + std::chrono::hours{1}));  // nothing held, but no credit either
  x.grant(49, start);
  EXPECT_FALSE(x.should_resume(start));
  EXPECT_TRUE(x.should_resume(start + source_intake::trickle_wait));
  x.grant(1, start + milliseconds{1});
  EXPECT_TRUE(x.should_resume(start + milliseconds{1}));
}

TEST(source_intake, what_is_dropped_leaves_the_credit) {
  source_intake x(100);
  take(x, 0, 50);
  ASSERT_TRUE(x.should_pause());
  x.grant(7, start);
  x.drop_held();
  EXPECT_FALSE(x.has_held());
  EXPECT_FALSE(x.should_pause());
  EXPECT_EQ(x.credit(), 7U);
}

TEST(source_intake, never_exceeds_the_credit_whatever_happens) {
  std::mt19937 random(7);
  source_intake x(64);
  std::size_t granted = 0, handed = 0;
  std::int64_t taken = 0, expected = 0;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 3 == 0) {
      const auto n = random() % 5;
      x.grant(n, start);
      granted += n;
    }
    if (!x.should_pause()) take(x, taken, 1), ++taken;
    for (const auto& record : x.hand_over()) {
      ASSERT_EQ(record.offset, expected++);
      ++handed;
    }
    ASSERT_LE(handed, granted);
    ASSERT_EQ(x.credit(), granted - handed);
  }
  EXPECT_GT(handed, 10000U);
}

}  // namespace
}  // namespace doorstep
