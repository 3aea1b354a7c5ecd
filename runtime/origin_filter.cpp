// SPDX-License-Identifier: Apache-2.0
// Recognises replays by origin. A node of std::map and of std::unordered_set stays where it is, which the undo list and the last-partition
// shortcut rely on.
#include "runtime/origin_filter.hpp"

#include <algorithm>

namespace doorstep {

origin_filter::standing& origin_filter::at(const std::shared_ptr<const origin_partition>& from) {
  if (from != last_from_) {
    last_ = &partitions_[*from];
    last_from_ = from;
  }
  return *last_;
}

bool origin_filter::remember(standing& at, std::int64_t offset, std::string_view to, std::uint64_t position, const std::string** where) {
  auto& slot = at.above[offset];
  const auto [it, fresh] = slot.addresses.emplace(to);
  if (!fresh) return false;
  slot.lowest_position = slot.addresses.size() == 1 ? position : std::min(slot.lowest_position, position);
  ++size_;
  if (where) *where = &*it;
  return true;
}

void origin_filter::restore(const origin_position& x) {
  auto& at = partitions_[x.from];
  at.floor = std::max(at.floor, x.floor);
  at.next_floor = at.floor;
  for (const auto& [offset, to] : x.above) remember(at, offset, to, x.rescan, nullptr);
  at.named = !x.above.empty();
}

void origin_filter::note(const origin& x, const address& to, std::uint64_t position) {
  if (!x.from) return;
  auto& here = at(x.from);
  if (x.offset >= here.floor) remember(here, x.offset, to.text(), position, nullptr);
}

bool origin_filter::is_replay(const origin& x, const address& to, std::uint64_t position) {
  if (!x.from) return false;
  auto& here = at(x.from);
  const bool below = x.offset < std::max(here.floor, here.next_floor);
  if (x.floor > here.next_floor) {
    here.next_floor = x.floor;
    here.changed = true;
  }
  if (below) return true;
  const std::string* where = nullptr;
  if (!remember(here, x.offset, to.text(), position, &where)) return true;
  here.changed = true;
  undo_.push_back({&here, x.offset, where});
  return false;
}

std::vector<origin_position> origin_filter::changes(std::uint64_t next_position, std::uint64_t reach) const {
  std::vector<origin_position> out;
  const auto oldest = next_position > reach ? next_position - reach : 0;
  for (const auto& [from, at] : partitions_) {
    auto rescan = next_position;
    for (auto it = at.above.lower_bound(at.next_floor); it != at.above.end(); ++it) rescan = std::min(rescan, it->second.lowest_position);
    const bool far = rescan < oldest;
    if (!at.changed && !(far && !at.named)) continue;
    at.named = far;
    origin_position x{from, at.next_floor, far ? next_position : rescan};
    for (auto it = at.above.lower_bound(at.next_floor); far && it != at.above.end(); ++it)
      for (const auto& to : it->second.addresses) x.above.emplace_back(it->first, to);
    out.push_back(std::move(x));
  }
  return out;
}

void origin_filter::commit() {
  undo_.clear();
  for (auto& [from, at] : partitions_) {
    if (!at.changed) continue;
    at.changed = false;
    at.floor = at.next_floor;
    const auto end = at.above.lower_bound(at.floor);
    for (auto it = at.above.begin(); it != end; ++it) size_ -= it->second.addresses.size();
    at.above.erase(at.above.begin(), end);
  }
}

void origin_filter::rollback() {
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    const auto slot = it->at->above.find(it->offset);
    slot->second.addresses.erase(slot->second.addresses.find(*it->address));
    --size_;
    // lowest_position may stay too low, which only makes a later rescan start earlier
    if (slot->second.addresses.empty()) it->at->above.erase(slot);
  }
  undo_.clear();
  for (auto& [from, at] : partitions_) {
    at.next_floor = at.floor;
    at.changed = false;
  }
}

}  // namespace doorstep
