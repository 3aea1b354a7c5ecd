// SPDX-License-Identifier: Apache-2.0
// Recognises replays by origin. A node of std::map stays where it is, which the undo list and the last-partition shortcut rely on.
#include "runtime/origin_filter.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace doorstep {

namespace {

template <class Slots>
auto first_from(Slots& slots, std::int64_t offset) {
  return std::lower_bound(slots.begin(), slots.end(), offset, [](const auto& x, std::int64_t wanted) { return x.offset < wanted; });
}

}  // namespace

bool origin_filter::remembered::insert(std::string_view address) {
  if (address == first || (more && more->contains(std::string(address)))) return false;
  if (first.empty()) {
    first = address;
  } else {
    if (!more) more = std::make_unique<std::unordered_set<std::string>>();
    more->emplace(address);
  }
  return true;
}

void origin_filter::remembered::erase(const std::string& address) {
  if (address == first)
    first.clear();
  else if (more->erase(address) > 0 && more->empty())
    more.reset();
}

void origin_filter::remembered::name_all(std::vector<std::pair<std::int64_t, std::string>>& into) const {
  if (!first.empty()) into.emplace_back(offset, first);
  if (more)
    for (const auto& x : *more) into.emplace_back(offset, x);
}

origin_filter::standing& origin_filter::at(const std::shared_ptr<const origin_partition>& from) {
  if (from != last_from_) {
    last_ = &partitions_[*from];
    last_from_ = from;
  }
  return *last_;
}

bool origin_filter::remember(standing& at, std::int64_t offset, std::string_view to, std::uint64_t position) {
  const bool newest = at.above.empty() || at.above.back().offset < offset;
  auto slot = newest ? at.above.end() : first_from(at.above, offset);
  if (slot == at.above.end() || slot->offset != offset) slot = at.above.insert(slot, remembered{offset, position, {}});
  if (!slot->insert(to)) return false;
  slot->lowest_position = std::min(slot->lowest_position, position);
  ++size_;
  return true;
}

void origin_filter::restore(const origin_position& x) {
  auto& at = partitions_[x.from];
  at.floor = std::max(at.floor, x.floor);
  at.next_floor = at.floor;
  for (const auto& [offset, to] : x.above) remember(at, offset, to, 0);  // somewhere far back: they stay named
  at.named = !x.above.empty();
}

void origin_filter::note(const origin& x, const address& to, std::uint64_t position) {
  if (!x.from) return;
  auto& here = at(x.from);
  if (x.offset >= here.floor) remember(here, x.offset, to.text(), position);
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
  if (!remember(here, x.offset, to.text(), position)) return true;
  here.changed = true;
  undo_.push_back({&here, x.offset, std::string(to.text())});
  return false;
}

std::vector<origin_position> origin_filter::changes(std::uint64_t next_position, std::uint64_t reach) const {
  std::vector<origin_position> out;
  const auto oldest = next_position > reach ? next_position - reach : 0;
  for (const auto& [from, at] : partitions_) {
    if (!at.changed && (at.named || oldest == 0)) continue;
    auto rescan = next_position;
    const auto begin = first_from(at.above, at.next_floor);
    for (auto it = begin; it != at.above.end(); ++it) rescan = std::min(rescan, it->lowest_position);
    const bool far = rescan < oldest;
    if (!at.changed && !(far && !at.named)) continue;
    at.named = far;
    origin_position x{from, at.next_floor, far ? next_position : rescan};
    for (auto it = begin; far && it != at.above.end(); ++it) it->name_all(x.above);
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
    const auto end = first_from(at.above, at.floor);
    for (auto it = at.above.begin(); it != end; ++it) size_ -= it->size();
    at.above.erase(at.above.begin(), end);
  }
}

void origin_filter::rollback() {
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    const auto slot = first_from(it->at->above, it->offset);
    slot->erase(it->address);
    --size_;
    // lowest_position may stay too low, which only makes a later rescan start earlier
    if (slot->empty()) it->at->above.erase(slot);
  }
  undo_.clear();
  for (auto& [from, at] : partitions_) {
    at.next_floor = at.floor;
    at.changed = false;
  }
}

}  // namespace doorstep
