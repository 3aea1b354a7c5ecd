// SPDX-License-Identifier: Apache-2.0
#include "runtime/key_filter.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace doorstep {
namespace {

std::vector<std::uint64_t> keys(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> out(count);
  std::generate(out.begin(), out.end(), random);
  return out;
}

TEST(key_filter, a_key_that_was_added_is_always_found_in_its_run) {
  key_filter filter;
  for (std::uint64_t run = 1; run <= 20; ++run) filter.add(run, {static_cast<std::int64_t>(run)}, keys(run, 50'000));
  for (std::uint64_t run = 1; run <= 20; ++run) {
    for (const auto key : keys(run, 5'000)) {
      std::vector<std::uint64_t> runs;
      filter.candidates(key, runs);
      ASSERT_NE(std::find(runs.begin(), runs.end(), run), runs.end());
    }
  }
}

TEST(key_filter, a_new_key_is_almost_never_looked_up) {
  key_filter filter;
  for (std::uint64_t run = 1; run <= 20; ++run) filter.add(run, {}, keys(run, 50'000));
  std::vector<std::uint64_t> runs;
  for (const auto key : keys(99, 20'000)) filter.candidates(key, runs);
  EXPECT_LT(runs.size(), 20'000 * 20 / 500);
  EXPECT_LT(filter.bytes(), filter.key_count() * 4);
}

TEST(key_filter, what_has_expired_is_forgotten_whole_and_named) {
  key_filter filter;
  for (std::uint64_t run = 1; run <= 20; ++run) filter.add(run, {static_cast<std::int64_t>(run * 100)}, keys(run, 50'000));
  const auto before = filter.key_count();
  const auto gone = filter.forget_before({1'001});
  ASSERT_FALSE(gone.empty());
  EXPECT_TRUE(std::all_of(gone.begin(), gone.end(), [](std::uint64_t run) { return run <= 10; })) << "no run that may still matter";
  EXPECT_EQ(filter.key_count(), before - gone.size() * 50'000);
  EXPECT_TRUE(filter.forget_before({1'001}).empty());
}

}  // namespace
}  // namespace doorstep
