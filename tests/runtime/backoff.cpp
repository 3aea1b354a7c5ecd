// SPDX-License-Identifier: Apache-2.0
// The delays between attempts, as a table.
#include "runtime/backoff.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace doorstep {
namespace {

using std::chrono::milliseconds;

TEST(backoff, the_ceiling_doubles_up_to_the_limit) {
  struct row {
    std::int64_t base, max;
    std::uint32_t attempt;
    std::int64_t ceiling;
  };
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  const row table[] = {
      {1'000, 60'000, 0, 1'000},  // before the first failure counts as the first
      {1'000, 60'000, 1, 1'000},
      {1'000, 60'000, 2, 2'000},
      {1'000, 60'000, 6, 32'000},
      {1'000, 60'000, 7, 60'000},  // 64 s would be too long
      {1'000, 60'000, 4'000'000'000, 60'000},
      {1'000, 64'000, 7, 64'000},  // exactly the limit
      {1'000, 64'000, 8, 64'000},
      {5'000, 1'000, 1, 1'000},  // a base above the limit
      {0, 60'000, 9, 0},
      {1, most, 41, std::int64_t{1} << 40},
      {most / 2, most, 2, most - 1},
      {most / 2, most, 3, most},  // doubling again would overflow
  };
  for (const auto& x : table)
    EXPECT_EQ((backoff{milliseconds{x.base}, milliseconds{x.max}}.ceiling(x.attempt).count()), x.ceiling)
        << x.base << " " << x.max << " " << x.attempt;
}

TEST(backoff, the_delay_takes_the_whole_range_from_zero_to_the_ceiling) {
  const backoff x{milliseconds{3}, milliseconds{100}};
  EXPECT_EQ(x.delay(1, 0), milliseconds{0});
  EXPECT_EQ(x.delay(1, 3), milliseconds{3});
  EXPECT_EQ(x.delay(1, 4), milliseconds{0});
  EXPECT_EQ(x.delay(2, 6), milliseconds{6});
}

TEST(backoff, no_random_number_leads_past_the_ceiling) {
  const backoff x;
  std::uint64_t random = 88172645463325252u;
  for (std::uint32_t attempt = 0; attempt < 100; ++attempt) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    EXPECT_GE(x.delay(attempt, random), milliseconds{0});
    EXPECT_LE(x.delay(attempt, random), x.ceiling(attempt));
  }
}

}  // namespace
}  // namespace doorstep
