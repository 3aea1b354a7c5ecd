// SPDX-License-Identifier: Apache-2.0
// What is durable in the message table and not yet in its indexes on disk: newest rows by address, by shard and by dedup key, in segments of about 50,000
// rows. One thread writes (publish, freeze, drop) and asks row_of_key(); any thread asks the rest.
#pragma once

#include "runtime/ids.hpp"
#include "storage/sqlite_format.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace doorstep {

/// From a hash (never 0) to a small value. Open addressing, grows by doubling, nothing is ever taken out.
template <class Value>
class hash_table {
public:
  struct slot {
    std::uint64_t key = 0;
    Value value{};
  };
  Value& operator[](std::uint64_t key) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    auto& found = find_slot(key);
    if (found.key == 0) {
      found.key = key;
      ++count_;
    }
    return found.value;
  }
  const Value* find(std::uint64_t key) const {
    if (slots_.empty()) return nullptr;
    const auto& found = const_cast<hash_table*>(this)->find_slot(key);
    return found.key == 0 ? nullptr : &found.value;
  }

private:
  slot& find_slot(std::uint64_t key) {
    auto at = (key >> 7) & (slots_.size() - 1);
    while (slots_[at].key != 0 && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  void grow() {
    auto old = std::move(slots_);
    slots_.assign(old.empty() ? 1024 : old.size() * 2, slot{});
    for (auto& x : old)
      if (x.key != 0) find_slot(x.key) = x;
  }
  std::vector<slot> slots_;
  std::size_t count_ = 0;
};

/// A row as the indexes see it.
struct indexed_row {
  std::uint64_t address = 0;  ///< address_key(), 0 = in no user's index (dead letters)
  std::uint64_t key = 0;      ///< dedup_key()
  std::uint64_t seq = 0;
  std::uint64_t row = 0;
  std::uint32_t shard = 0;
  unix_ms appended;
  std::uint64_t bytes = 0;  ///< content_bytes()
};

/// Consecutive rows. Only the writing thread adds; a frozen one never changes.
struct tail_segment {
  struct entry {
    std::uint64_t address, seq, row;
    std::uint32_t before;  ///< index + 1 of the same address's former entry, 0 = none
    std::uint32_t bytes;
  };
  struct of_address {
    std::uint32_t last = 0;  ///< index + 1
    std::uint32_t count = 0;
    std::uint64_t first_seq = 0;
  };
  struct of_shard {
    std::uint64_t first_offset = 0;
    std::vector<std::uint32_t> rows;  ///< row - first_row of each offset from first_offset on
  };
  std::uint64_t first_row = 0, last_row = 0;
  std::vector<entry> entries;
  std::vector<key_place> keys;
  std::vector<of_shard> shards;
  unix_ms newest;
  hash_table<of_address> by_address;
  hash_table<std::uint64_t> by_key;
};

class tail_index {
public:
  /// `dense`: offsets of a shard have no gaps, as the embedded log's have; only then are rows kept by shard.
  tail_index(std::vector<std::uint64_t> ends, bool dense) : ends_(std::move(ends)), dense_(dense) {}

  /// Rows that have just become durable, in row order, and the new ends of the shards.
  void publish(const std::vector<indexed_row>& rows, const std::vector<std::uint64_t>& ends);
  /// The row a dedup key was last accepted with, 0 = none. Writing thread only.
  std::uint64_t row_of_key(std::uint64_t key) const;
  std::size_t active_rows() const { return segments_.empty() || frozen_ == segments_.size() ? 0 : segments_.back()->keys.size(); }
  /// Ends the newest segment. Writing thread only.
  void freeze();
  /// The oldest frozen segment, null = none. Writing thread only.
  std::shared_ptr<const tail_segment> oldest_frozen() const { return frozen_ == 0 ? nullptr : segments_.front(); }
  /// It is in the indexes on disk.
  void drop_oldest();

  struct view {
    std::vector<message_place> places;  ///< with seq > after, rising
    std::vector<std::uint32_t> bytes;   ///< content_bytes() of each
    std::uint64_t first_seq = 0;  ///< lowest of the address in the tail, 0 = none: the index on disk is right below it and may be half written above
    std::uint64_t end = 0;        ///< end offset of its shard
  };
  view of(std::uint64_t address, std::uint32_t shard, std::uint64_t after) const;
  /// Rows of a shard from `offset` on; nothing where the tail begins later.
  std::optional<std::vector<std::uint64_t>> rows_of(std::uint32_t shard, std::uint64_t offset, std::size_t limit) const;
  std::uint64_t end_of(std::uint32_t shard) const;

private:
  tail_segment& active(std::uint64_t first_row);

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<tail_segment>> segments_;  ///< oldest first; the first `frozen_` are frozen
  std::size_t frozen_ = 0;
  std::vector<std::uint64_t> ends_;
  const bool dense_;
};

}  // namespace doorstep
