// SPDX-License-Identifier: Apache-2.0
// What is durable and not yet indexed on disk. The lock is held for copies only.
#include "storage/sqlite_tail.hpp"

#include <algorithm>

namespace doorstep {

tail_segment& tail_index::active(std::uint64_t first_row) {
  if (frozen_ == segments_.size()) {
    auto& made = segments_.emplace_back(std::make_shared<tail_segment>());
    made->first_row = first_row;
    made->shards.resize(ends_.size());
    for (std::size_t i = 0; i < ends_.size(); ++i) made->shards[i].first_offset = ends_[i];
  }
  return *segments_.back();
}

void tail_index::publish(const std::vector<indexed_row>& rows, const std::vector<std::uint64_t>& ends) {
  const std::lock_guard lock(mutex_);
  if (!rows.empty()) {
    auto& at = active(rows.front().row);
    for (const auto& x : rows) {
      if (x.address != 0) {
        auto& of = at.by_address[x.address];
        at.entries.push_back({x.address, x.seq, x.row, of.last, static_cast<std::uint32_t>(x.bytes)});
        of.last = static_cast<std::uint32_t>(at.entries.size());
        if (of.count++ == 0) of.first_seq = x.seq;
      }
      if (dense_) {
        auto& shard = at.shards[x.shard];
        if (shard.rows.empty()) shard.first_offset = sequence{x.seq}.offset();
        shard.rows.push_back(static_cast<std::uint32_t>(x.row - at.first_row));
      }
      at.keys.push_back({x.key, x.row});
      at.by_key[x.key] = x.row;
      at.newest = std::max(at.newest, x.appended);
    }
    at.last_row = rows.back().row;
  }
  ends_ = ends;
}

std::uint64_t tail_index::row_of_key(std::uint64_t key) const {
  for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
    if (const auto* row = (*it)->by_key.find(key)) return *row;
  }
  return 0;
}

void tail_index::freeze() {
  const std::lock_guard lock(mutex_);
  frozen_ = segments_.size();
}

void tail_index::drop_oldest() {
  std::shared_ptr<tail_segment> gone;  // freed after the lock
  const std::lock_guard lock(mutex_);
  gone = std::move(segments_.front());
  segments_.erase(segments_.begin());
  --frozen_;
}

tail_index::view tail_index::of(std::uint64_t address, std::uint32_t shard, std::uint64_t after) const {
  const std::lock_guard lock(mutex_);
  view out;
  out.end = ends_[shard];
  for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
    const auto& segment = **it;
    const auto* of = segment.by_address.find(address);
    if (!of) continue;
    out.first_seq = of->first_seq;
    for (auto at = of->last; at != 0; at = segment.entries[at - 1].before) {
      const auto& entry = segment.entries[at - 1];
      if (entry.seq <= after) break;
      out.places.push_back({entry.seq, entry.row});
      out.bytes.push_back(entry.bytes);
    }
  }
  std::reverse(out.places.begin(), out.places.end());
  std::reverse(out.bytes.begin(), out.bytes.end());
  return out;
}

std::optional<std::vector<std::uint64_t>> tail_index::rows_of(std::uint32_t shard, std::uint64_t offset, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint64_t> out;
  for (const auto& segment : segments_) {
    const auto& of = segment->shards[shard];
    if (of.rows.empty()) continue;
    if (out.empty() && offset < of.first_offset) return std::nullopt;
    for (auto at = offset + out.size() - of.first_offset; at < of.rows.size() && out.size() < limit; ++at)
      out.push_back(segment->first_row + of.rows[at]);
  }
  if (out.empty()) return std::nullopt;
  return out;
}

std::uint64_t tail_index::end_of(std::uint32_t shard) const {
  const std::lock_guard lock(mutex_);
  return ends_[shard];
}

}  // namespace doorstep
