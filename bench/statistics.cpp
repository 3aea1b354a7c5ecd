// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.hpp"

#include <algorithm>
#include <bit>

namespace bench {

void histogram::add(std::int64_t microseconds) {
  const auto x = static_cast<std::uint64_t>(std::max<std::int64_t>(microseconds, 0));
  const auto width = static_cast<unsigned>(std::bit_width(x));
  const unsigned octave = width > bits ? width - bits : 0;
  const std::size_t index = octave == 0 ? x : (static_cast<std::size_t>(octave - 1) << bits) + (1U << bits) + ((x >> (octave - 1)) - (1U << bits));
  ++buckets_[std::min(index, buckets_.size() - 1)];
  ++count_;
  largest_ = std::max(largest_, x);
}

double histogram::at(double share) const {
  const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
  std::uint64_t passed = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    passed += buckets_[i];
    if (buckets_[i] == 0 || passed <= wanted) continue;
    if (i < (2U << bits)) return static_cast<double>(i);
    const unsigned octave = static_cast<unsigned>(i >> bits);  // at least 2: the width of a bucket is 2^(octave - 1)
    const double low = static_cast<double>(((i & ((1U << bits) - 1)) + (1U << bits)) << (octave - 1));
    return low + static_cast<double>(1ULL << (octave - 1)) / 2;
  }
  return static_cast<double>(largest_);
}

bool ledger::delivered(std::size_t user, std::uint32_t number, bool flagged) {
  account& mine = users_[user];
  if (number >= mine.got.size()) mine.got.resize(std::max<std::size_t>(number + 1, mine.got.size() * 2));
  if (mine.got[number]) {
    ++(flagged ? repeated_flagged : repeated_unflagged);
    return false;
  }
  mine.got[number] = true;
  ++mine.seen;
  ++first;
  if (number < mine.highest) ++reordered;
  mine.highest = std::max(mine.highest, number);
  return true;
}

std::uint64_t ledger::lost(const std::vector<std::uint32_t>& sent) const {
  std::uint64_t missing = 0;
  for (std::size_t i = 0; i < users_.size(); ++i) missing += sent[i] > users_[i].seen ? sent[i] - users_[i].seen : 0;
  return missing;
}

}  // namespace bench
