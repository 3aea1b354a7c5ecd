// SPDX-License-Identifier: Apache-2.0
// Says which stored runs of dedup keys may hold a key, so that a new key is almost never looked up on disk. Blocked Bloom filters, one cache line a
// question, in partitions that grow with what is remembered and are forgotten whole. Pure; one thread.
#pragma once

#include "runtime/ids.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace doorstep {

class key_filter {
public:
  /// Remembers a run's keys (well-mixed 64-bit hashes). Runs come in rising order; `newest` is the youngest key's time.
  void add(std::uint64_t run, unix_ms newest, std::span<const std::uint64_t> keys);
  /// Appends every run that may hold `key`: always the ones that do, and others about once in a thousand questions a run.
  void candidates(std::uint64_t key, std::vector<std::uint64_t>& runs) const;
  /// Forgets partitions that have nothing younger than `time`. @returns their runs.
  std::vector<std::uint64_t> forget_before(unix_ms time);

  std::size_t key_count() const;
  std::size_t bytes() const;

private:
  static constexpr std::size_t keys_a_block = 32;  // 16 bits a key
  static constexpr std::size_t smallest_partition_keys = std::size_t{1} << 18;
  struct block {
    std::array<std::uint64_t, 8> words{};
  };
  struct partition {
    std::vector<block> blocks;
    std::vector<std::uint64_t> runs;
    std::size_t keys = 0;
    unix_ms newest;
  };
  partition& room_for(std::size_t keys);

  std::vector<partition> partitions_;
};

}  // namespace doorstep
