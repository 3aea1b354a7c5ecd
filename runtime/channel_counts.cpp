// SPDX-License-Identifier: Apache-2.0
#include "runtime/channel_counts.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

bool is_in(const std::vector<sequence_range>& ranges, sequence seq) {
  // The last one has no end, and is nearly always the one.
  if (ranges.empty() || seq > ranges.back().after) return !ranges.empty();
  const auto found = std::lower_bound(ranges.begin(), ranges.end(), seq, [](const sequence_range& x, sequence y) { return x.upto < y; });
  return found != ranges.end() && found->after < seq;
}

}  // namespace

/// @returns whether it counts at all.
bool channel_counts::add(const message& x, unix_ms now, bool front) {
  const auto ttl = x.terms && x.terms->ttl ? *x.terms->ttl : ttl_;
  unix_ms expires = x.what ? x.what->expires : unix_ms{};
  if (expires.value == 0 && ttl.count() != 0) expires = {x.appended.value + ttl.count()};
  if (std::find(poisoned_.begin(), poisoned_.end(), x.seq) != poisoned_.end()) return false;
  if (expires.value != 0 && expires <= now) return false;
  if (retention_.count() != 0 && x.appended.value + retention_.count() <= now.value) return false;
  if (expires.value != 0) first_expiry_ = std::min(first_expiry_, expires);
  if (front)
    index_.push_front({x.seq, x.appended, expires});
  else
    index_.push_back({x.seq, x.appended, expires});
  return true;
}

void channel_counts::begin(const std::deque<message_ptr>& recent, sequence after, unix_ms now) {
  begun_ = true;
  below_ = {after.value + 1};
  top_ = recent.empty() ? after : recent.back()->seq;
  for (const auto& x : recent) add(*x, now, false);
  complete_ = !after || index_.size() >= counted_max;
}

void channel_counts::older(const std::vector<message_ptr>& page, bool more, unix_ms now) {
  if (complete_) return;
  for (auto x = page.rbegin(); x != page.rend() && index_.size() < counted_max; ++x)
    if ((*x)->seq < below_) add(**x, now, true);
  const bool past = !page.empty() && retention_.count() != 0 && page.front()->appended.value + retention_.count() <= now.value;
  if (!page.empty()) below_ = std::min(below_, page.front()->seq);
  complete_ = !more || page.empty() || past || index_.size() >= counted_max;
  if (complete_) count_all();
}

void channel_counts::live(const std::vector<message_ptr>& messages, unix_ms now) {
  if (!begun_) return;
  for (const auto& x : messages) {
    if (x->seq <= top_) continue;
    top_ = x->seq;
    if (!add(*x, now, false) || !complete_) continue;
    for (auto& [who, r] : readers_) {
      if (!r.marked || x->seq <= r.began) continue;
      const bool unread = is_in(r.unread, x->seq), unseen = is_in(r.unseen, x->seq);
      r.what.unread += unread ? 1 : 0;
      r.what.unseen += unseen ? 1 : 0;
      if (unread || unseen) note(who, r);
    }
  }
  if (index_.size() <= counted_max + spare) return;
  index_.erase(index_.begin(), index_.begin() + static_cast<std::ptrdiff_t>(index_.size() - counted_max));
  if (complete_) count_all();
}

void channel_counts::open(reader_id who, sequence began) {
  auto& r = readers_[who];
  r.began = began;
  if (r.marked) note(who, r);
}

void channel_counts::marks(reader_id who, const inbox_record& x) {
  const auto found = readers_.find(who);
  if (found == readers_.end()) return;
  auto& r = found->second;
  const bool first = !std::exchange(r.marked, true);
  r.unread = unread_ranges(x);
  r.unseen = unseen_ranges(x);
  const auto before = r.what;
  count(r);
  if (first || r.what != before) note(who, r);
}

std::uint64_t channel_counts::count_in(const std::vector<sequence_range>& ranges, sequence above) const {
  const auto after = [&](sequence seq) {
    return std::upper_bound(index_.begin(), index_.end(), seq, [](sequence x, const entry& y) { return x < y.seq; });
  };
  std::uint64_t out = 0;
  for (const auto& range : ranges) {
    const auto from = std::max(range.after, above);
    if (range.upto <= from) continue;
    const auto begin = after(from);
    if (begin == index_.end()) break;
    out += static_cast<std::uint64_t>(after(range.upto) - begin);
  }
  return out;
}

void channel_counts::count(reader& r) const { r.what = {count_in(r.unread, r.began), count_in(r.unseen, r.began)}; }

void channel_counts::count_all() {
  for (auto& [who, r] : readers_) {
    if (!r.marked) continue;
    const auto before = r.what;
    count(r);
    if (r.what != before) note(who, r);
  }
}

void channel_counts::note(reader_id who, reader& r) {
  if (!std::exchange(r.due, true)) due_.push_back(who);
}

void channel_counts::tick(unix_ms now) {
  const auto due = next_due();
  if (!due || now < *due) return;
  looked_ = now;
  const auto before = index_.size();
  first_expiry_ = {INT64_MAX};
  std::erase_if(index_, [&](const entry& x) {
    const bool gone = (x.expires.value != 0 && x.expires <= now) || (retention_.count() != 0 && x.appended.value + retention_.count() <= now.value);
    if (!gone && x.expires.value != 0) first_expiry_ = std::min(first_expiry_, x.expires);
    return gone;
  });
  if (complete_ && index_.size() != before) count_all();
}

std::optional<unix_ms> channel_counts::next_due() const {
  auto at = first_expiry_.value;
  if (retention_.count() != 0 && !index_.empty()) at = std::min(at, index_.front().appended.value + retention_.count());
  if (at == INT64_MAX || readers_.empty()) return std::nullopt;
  return unix_ms{std::max(at, looked_.value + look_interval.count())};
}

std::vector<channel_counts::change> channel_counts::take_changes() {
  std::vector<change> out;
  if (!complete_) return out;
  for (const auto who : std::exchange(due_, {})) {
    const auto found = readers_.find(who);
    if (found == readers_.end() || !std::exchange(found->second.due, false)) continue;
    out.push_back({who, found->second.what});
  }
  return out;
}

}  // namespace doorstep
