// SPDX-License-Identifier: Apache-2.0
// Blocked Bloom filters (Putze, Sanders, Singler 2007): a key sets one bit in each of the eight words of one 64-byte block.
#include "runtime/key_filter.hpp"

#include <algorithm>
#include <bit>
#include <iterator>

namespace doorstep {

namespace {

/// One bit for each of the eight words, six bits of a second hash apiece.
std::array<std::uint64_t, 8> mask_of(std::uint64_t key) {
  auto bits = (key ^ (key >> 31)) * 0x9e3779b97f4a7c15ULL;
  bits ^= bits >> 29;
  std::array<std::uint64_t, 8> mask{};
  for (auto& word : mask) {
    word = std::uint64_t{1} << (bits & 63);
    bits >>= 6;
  }
  return mask;
}

}  // namespace

key_filter::partition& key_filter::room_for(std::size_t keys) {
  if (!partitions_.empty()) {
    auto& last = partitions_.back();
    if (last.keys + keys <= last.blocks.size() * keys_a_block) return last;
  }
  const auto capacity = std::max({smallest_partition_keys, keys, key_count() / 4});
  auto& made = partitions_.emplace_back();
  made.blocks.resize(std::bit_ceil((capacity + keys_a_block - 1) / keys_a_block));
  return made;
}

void key_filter::add(std::uint64_t run, unix_ms newest, std::span<const std::uint64_t> keys) {
  auto& at = room_for(keys.size());
  const auto last_block = at.blocks.size() - 1;
  for (const auto key : keys) {
    auto& words = at.blocks[(key >> 20) & last_block].words;
    const auto mask = mask_of(key);
    for (std::size_t i = 0; i < mask.size(); ++i) words[i] |= mask[i];
  }
  at.runs.push_back(run);
  at.keys += keys.size();
  at.newest = std::max(at.newest, newest);
}

void key_filter::candidates(std::uint64_t key, std::vector<std::uint64_t>& runs) const {
  const auto mask = mask_of(key);
  for (const auto& at : partitions_) {
    const auto& words = at.blocks[(key >> 20) & (at.blocks.size() - 1)].words;
    std::uint64_t missing = 0;
    for (std::size_t i = 0; i < mask.size(); ++i) missing |= mask[i] & ~words[i];
    if (missing == 0) runs.insert(runs.end(), at.runs.begin(), at.runs.end());
  }
}

std::vector<std::uint64_t> key_filter::forget_before(unix_ms time) {
  std::vector<std::uint64_t> out;
  // the last partition is still being filled
  while (partitions_.size() > 1 && partitions_.front().newest < time) {
    const auto& runs = partitions_.front().runs;
    out.insert(out.end(), runs.begin(), runs.end());
    partitions_.erase(partitions_.begin());
  }
  return out;
}

std::size_t key_filter::key_count() const {
  std::size_t out = 0;
  for (const auto& at : partitions_) out += at.keys;
  return out;
}

std::size_t key_filter::bytes() const {
  std::size_t out = 0;
  for (const auto& at : partitions_) out += at.blocks.size() * sizeof(block);
  return out;
}

}  // namespace doorstep
