// SPDX-License-Identifier: Apache-2.0
// The small strong values that everything is counted and placed by. Pure values, any thread.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>

namespace doorstep {

/// A partition of the mailbox log; a user's address is always in the same one.
enum class shard_id : std::uint32_t {};

/// A message's place in its shard: generation * 2^40 + offset + 1. Below 2^53, so a JSON number holds it; 0 means "nothing".
struct sequence {
  std::uint64_t value = 0;

  static constexpr unsigned offset_bits = 40;
  static constexpr sequence at(std::uint32_t generation, std::uint64_t offset) { return {(std::uint64_t{generation} << offset_bits) + offset + 1}; }
  /// The highest below `at(generation, offset)`; of an empty shard what former generations had is still below.
  static constexpr sequence before(std::uint32_t generation, std::uint64_t offset) { return {at(generation, offset).value - 1}; }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>((value - 1) >> offset_bits); }
  constexpr std::uint64_t offset() const { return (value - 1) & ((std::uint64_t{1} << offset_bits) - 1); }
  constexpr explicit operator bool() const { return value != 0; }
  constexpr auto operator<=>(const sequence&) const = default;
};

/// All seqs above `after`, up to and including `upto`.
struct sequence_range {
  sequence after, upto;
  bool operator==(const sequence_range&) const = default;
};

/// The monotone time that timers are judged by. Never the wall clock.
using steady_time = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

/// Wall-clock time, UTC, for people and for expiry: milliseconds since 1970.
struct unix_ms {
  std::int64_t value = 0;
  constexpr auto operator<=>(const unix_ms&) const = default;
};
unix_ms wall_now();

/// What the wall clock said at a moment. Expiry is judged by it and the monotone time since, so a clock that jumps while we run changes nothing.
struct wall_anchor {
  steady_time at{};
  unix_ms wall{};
  constexpr unix_ms time_at(steady_time now) const { return {wall.value + std::chrono::duration_cast<milliseconds>(now - at).count()}; }
};
wall_anchor wall_anchor_now();

}  // namespace doorstep

template <>
struct std::hash<doorstep::sequence> {
  std::size_t operator()(doorstep::sequence x) const noexcept { return std::hash<std::uint64_t>{}(x.value); }
};
