// SPDX-License-Identifier: Apache-2.0
// Full-jitter exponential backoff. Pure: the caller brings the random number.
#pragma once

#include <chrono>
#include <cstdint>

namespace doorstep {

/// Delays between 0 and min(max, base * 2^(attempt-1)).
struct backoff {
  std::chrono::milliseconds base{1'000};
  std::chrono::milliseconds max{60'000};

  /// The longest delay after `attempt` failures (1 = the first).
  std::chrono::milliseconds ceiling(std::uint32_t attempt) const;
  /// @param random uniform over all 64-bit values.
  std::chrono::milliseconds delay(std::uint32_t attempt, std::uint64_t random) const;
};

}  // namespace doorstep
