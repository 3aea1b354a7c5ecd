// SPDX-License-Identifier: Apache-2.0
#include "runtime/inbox.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

namespace doorstep {

namespace {

constexpr sequence endless{std::numeric_limits<std::uint64_t>::max()};

/// What none of these marks covers.
std::vector<sequence_range> outside(const inbox_record& x, std::span<const inbox_mark> marks) {
  std::vector<sequence_range> covered;
  for (const auto mark : marks)
    for (const auto& range : x[mark].ranges()) covered.push_back({range.after, range.upto});
  std::sort(covered.begin(), covered.end(), [](const auto& a, const auto& b) { return a.after < b.after; });
  std::vector<sequence_range> out;
  sequence from;
  for (const auto& range : covered) {
    if (range.after > from) out.push_back({from, range.after});
    from = std::max(from, range.upto);
  }
  out.push_back({from, endless});
  return out;
}

constexpr std::array unread_marks{inbox_mark::read, inbox_mark::archived, inbox_mark::expired, inbox_mark::dead, inbox_mark::superseded};
constexpr std::array unseen_marks{inbox_mark::seen,    inbox_mark::read, inbox_mark::archived,
                                  inbox_mark::expired, inbox_mark::dead, inbox_mark::superseded};

}  // namespace

std::string_view name(inbox_mark x) {
  switch (x) {
    case inbox_mark::delivered: return "delivered";
    case inbox_mark::seen: return "seen";
    case inbox_mark::read: return "read";
    case inbox_mark::archived: return "archived";
    case inbox_mark::expired: return "expired";
    case inbox_mark::dead: return "dead";
    case inbox_mark::superseded: return "superseded";
  }
  return "unknown";
}

bool mark_ranges::cover(sequence after, sequence upto, unix_ms at) {
  if (upto <= after) return false;
  std::vector<range> out;
  out.reserve(ranges_.size() + 2);
  bool changed = false;
  const auto fill = [&](sequence to) {
    if (to <= after) return;
    changed = true;
    if (!out.empty() && out.back().upto == after && out.back().at == at)
      out.back().upto = to;
    else
      out.push_back({after, to, at});
    after = to;
  };
  for (const auto& x : ranges_) {
    if (after < upto && x.upto > after) {
      fill(std::min(x.after, upto));
      after = std::max(after, std::min(x.upto, upto));
    }
    if (!out.empty() && out.back().upto == x.after && out.back().at == x.at)
      out.back().upto = x.upto;
    else
      out.push_back(x);
  }
  fill(upto);
  ranges_ = std::move(out);
  return changed;
}

bool mark_ranges::uncover(sequence after, sequence upto) {
  if (upto <= after) return false;
  std::vector<range> out;
  out.reserve(ranges_.size() + 1);
  bool changed = false;
  for (const auto& x : ranges_) {
    if (x.upto <= after || x.after >= upto) {
      out.push_back(x);
      continue;
    }
    changed = true;
    if (x.after < after) out.push_back({x.after, after, x.at});
    if (x.upto > upto) out.push_back({upto, x.upto, x.at});
  }
  ranges_ = std::move(out);
  return changed;
}

std::optional<unix_ms> mark_ranges::at(sequence seq) const {
  const auto found = std::lower_bound(ranges_.begin(), ranges_.end(), seq, [](const range& x, sequence y) { return x.upto < y; });
  if (found == ranges_.end() || found->after >= seq) return std::nullopt;
  return found->at;
}

bool mark_ranges::coarsen(std::size_t ranges_max) {
  auto left = ranges_.size();
  if (left <= ranges_max) return true;
  std::vector<range> out;
  out.reserve(left);
  for (const auto& x : ranges_) {
    if (left > ranges_max && !out.empty() && out.back().upto == x.after) {
      out.back().upto = x.upto;
      out.back().at = std::max(out.back().at, x.at);
      --left;
    } else {
      out.push_back(x);
    }
  }
  ranges_ = std::move(out);
  return ranges_.size() <= ranges_max;
}

std::vector<sequence_range> unread_ranges(const inbox_record& x) { return outside(x, unread_marks); }
std::vector<sequence_range> unseen_ranges(const inbox_record& x) { return outside(x, unseen_marks); }

sequence highest_counted_mark(const inbox_record& x) {
  sequence out;
  for (const auto mark : unseen_marks)
    if (!x[mark].ranges().empty()) out = std::max(out, x[mark].ranges().back().upto);
  return out;
}

std::uint64_t count_in(const std::vector<sequence_range>& ranges, const std::vector<sequence>& seqs, sequence upto) {
  const auto end = std::upper_bound(seqs.begin(), seqs.end(), upto);
  auto at = seqs.begin();
  std::uint64_t out = 0;
  for (const auto& x : ranges) {
    at = std::upper_bound(at, end, x.after);
    const auto to = std::upper_bound(at, end, x.upto);
    out += static_cast<std::uint64_t>(to - at);
    at = to;
  }
  return out;
}

bool inbox::change(inbox_change x, unix_ms now) {
  if (waiting_.size() >= waiting_max) return false;
  std::sort(x.seqs.begin(), x.seqs.end());
  waiting_.push_back(std::move(x));
  carry_out(now);
  return true;
}

std::vector<sequence> inbox::wants_places() {
  if (asked_ || waiting_.empty()) return {};
  asked_ = true;
  return waiting_.front().seqs;
}

bool inbox::places(const stored_places& x, unix_ms now) {
  asked_ = false;
  if (waiting_.empty()) return true;
  auto& first = waiting_.front();
  // A client may have been pushed what the store does not have yet.
  const bool some_to_come = std::any_of(first.seqs.begin(), first.seqs.end(), [&](sequence seq) {
    return seq > x.complete_to && std::none_of(x.found.begin(), x.found.end(), [&](const auto& y) { return y.seq == seq; });
  });
  if (some_to_come && ++tries_ < locate_tries_max) return false;
  tries_ = 0;
  std::vector<sequence_range> where;
  for (const auto& y : x.found) where.push_back({y.before, y.seq});
  const auto done = std::move(first);
  waiting_.pop_front();
  apply(done, where, now);
  carry_out(now);
  return true;
}

/// What needs no answer of the store, up to the first one that does.
void inbox::carry_out(unix_ms now) {
  while (!waiting_.empty() && waiting_.front().seqs.empty()) {
    const auto x = std::move(waiting_.front());
    waiting_.pop_front();
    apply(x, {{{}, x.up_to}}, now);
  }
}

void inbox::apply(const inbox_change& x, const std::vector<sequence_range>& where, unix_ms now) {
  auto& marks = record_[x.mark];
  auto changed = marks;
  bool any = false;
  for (const auto& range : where) any = (x.on ? changed.cover(range.after, range.upto, now) : changed.uncover(range.after, range.upto)) || any;
  changed.coarsen(ranges_kept);
  if (changed.ranges().size() > ranges_max) {
    if (x.request != 0) replies_.push_back({x.slot, x.request, true});
    return;
  }
  if (any) marks = std::move(changed);
  dirty_ = dirty_ || any;
  recount_ = recount_ || any;
  // What was so already is as durable as the last change is.
  auto& due = dirty_ ? applied_ : under_way_ ? saving_ : replies_;
  if (x.request != 0) due.push_back({x.slot, x.request, false});
}

void inbox::forget(unsigned slot) {
  const auto of_slot = [slot](const auto& x) { return x.slot == slot; };
  for (auto& x : waiting_)
    if (of_slot(x)) x.request = 0;
  std::erase_if(applied_, of_slot);
  std::erase_if(saving_, of_slot);
  std::erase_if(replies_, of_slot);
}

void inbox::delivered(sequence floor, unix_ms now) { delivered({}, floor, now); }

void inbox::delivered(sequence after, sequence upto, unix_ms now) {
  auto& marks = record_[inbox_mark::delivered];
  if (!marks.cover(after, upto, now)) return;
  marks.coarsen(ranges_kept);
  dirty_ = true;
}

void inbox::left(sequence seq, inbox_mark as, unix_ms now) {
  auto& marks = record_[as];
  if (!marks.cover({seq.value - 1}, seq, now)) return;
  if (!marks.coarsen(ranges_max)) marks.uncover(marks.ranges().front().after, marks.ranges().front().upto);
  dirty_ = recount_ = true;
  const bool back_is_asked = asked_ && waiting_.size() == 1;
  if (waiting_.empty() || back_is_asked || waiting_.back().mark != as || waiting_.back().seqs.size() >= locate_seqs_max)
    waiting_.push_back({.slot = 0, .request = 0, .mark = as, .on = true, .up_to = {}, .seqs = {}});
  waiting_.back().seqs.push_back(seq);
}

inbox_record inbox::begin_save(std::uint64_t version) {
  record_.version = version;
  saving_ = std::exchange(applied_, {});
  saving_recount_ = std::exchange(recount_, false);
  dirty_ = false;
  under_way_ = true;
  return record_;
}

bool inbox::saved(std::vector<reply>& out) {
  out.insert(out.end(), saving_.begin(), saving_.end());
  saving_.clear();
  under_way_ = false;
  return std::exchange(saving_recount_, false);
}

void inbox::save_failed() {
  if (!under_way_) return;
  applied_.insert(applied_.begin(), saving_.begin(), saving_.end());
  saving_.clear();
  recount_ = recount_ || std::exchange(saving_recount_, false);
  dirty_ = true;
  under_way_ = false;
}

}  // namespace doorstep
