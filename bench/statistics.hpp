// SPDX-License-Identifier: Apache-2.0
// What a run is judged by: a log-bucketed histogram of latencies, and the ledger of what each user was owed and got.
// Pure; used by the client thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

/// Microseconds in 64 buckets an octave: below 1.6 % wrong everywhere.
class histogram {
public:
  void add(std::int64_t microseconds);
  /// @param share 0.5 = the median. @returns microseconds, the middle of the bucket; 0 where nothing was added.
  double at(double share) const;
  std::uint64_t count() const { return count_; }
  double largest() const { return static_cast<double>(largest_); }

private:
  static constexpr unsigned bits = 6;
  std::array<std::uint64_t, (40 - bits + 1) << bits> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t largest_ = 0;
};

/// Every user's messages carry 1, 2, 3, ...; so each delivery is the first or a repeat, and in order or not.
class ledger {
public:
  explicit ledger(std::size_t users) : users_(users) {}
  /// @returns true for a first delivery.
  bool delivered(std::size_t user, std::uint32_t number, bool flagged);
  /// How many of 1..sent[user] never came.
  std::uint64_t lost(const std::vector<std::uint32_t>& sent) const;

  std::uint64_t first = 0;
  std::uint64_t repeated_flagged = 0;    ///< with "redelivered": true, as is allowed
  std::uint64_t repeated_unflagged = 0;  ///< a broken promise
  std::uint64_t reordered = 0;           ///< a first delivery below one that came before

private:
  struct account {
    std::uint32_t highest = 0;
    std::uint32_t seen = 0;
    std::vector<bool> got;
  };
  std::vector<account> users_;
};

}  // namespace bench
