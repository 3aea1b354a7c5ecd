// SPDX-License-Identifier: Apache-2.0
#include "runtime/backoff.hpp"

#include <algorithm>

namespace doorstep {

std::chrono::milliseconds backoff::ceiling(std::uint32_t attempt) const {
  const auto doublings = std::min<std::uint32_t>(attempt > 0 ? attempt - 1 : 0, 40);
  // Compared by shifting the limit down, so that a large base cannot overflow.
  if ((max.count() >> doublings) < base.count()) return max;
  return std::chrono::milliseconds{base.count() << doublings};
}

std::chrono::milliseconds backoff::delay(std::uint32_t attempt, std::uint64_t random) const {
  const auto span = static_cast<std::uint64_t>(ceiling(attempt).count()) + 1;
  return std::chrono::milliseconds{static_cast<std::int64_t>(random % span)};
}

}  // namespace doorstep
