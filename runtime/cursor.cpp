// SPDX-License-Identifier: Apache-2.0
#include "runtime/cursor.hpp"

#include <algorithm>
#include <iterator>

namespace doorstep {

cursor::cursor(sequence floor, const std::vector<sequence>& above) : floor_(floor) {
  for (const auto seq : above) ack(seq);
}

cursor cursor::with_ranges(sequence floor, const std::vector<sequence_range>& above) {
  cursor out;
  out.floor_ = floor;
  for (const auto& x : above) out.cover(x.after, x.upto);
  return out;
}

bool cursor::is_acked(sequence seq) const {
  if (seq <= floor_) return true;
  const auto at = std::lower_bound(above_.begin(), above_.end(), seq, [](const sequence_range& x, sequence y) { return x.upto < y; });
  return at != above_.end() && at->after < seq;
}

bool cursor::cover(sequence after, sequence upto) {
  after = std::max(after, floor_);
  if (after >= upto) return false;
  // From the first one that overlaps or touches on.
  const auto first = std::lower_bound(above_.begin(), above_.end(), after, [](const sequence_range& x, sequence y) { return x.upto < y; });
  if (first != above_.end() && first->after <= after && upto <= first->upto) return false;
  sequence_range whole{after, upto};
  auto last = first;
  for (; last != above_.end() && last->after <= upto; ++last) whole = {std::min(whole.after, last->after), std::max(whole.upto, last->upto)};
  if (first == last) {
    above_.insert(first, whole);
  } else {
    *first = whole;
    above_.erase(std::next(first), last);
  }
  return true;
}

void cursor::raise(sequence seq) {
  if (seq <= floor_) return;
  floor_ = seq;
  const auto keep = std::find_if(above_.begin(), above_.end(), [&](const sequence_range& x) { return x.upto > seq; });
  above_.erase(above_.begin(), keep);
  if (!above_.empty()) above_.front().after = std::max(above_.front().after, seq);
}

void cursor::close_gaps(const std::vector<sequence>& unacked, sequence known) {
  std::vector<sequence_range> joined;
  for (const auto& x : above_) {
    const auto between = joined.empty() ? unacked.end() : std::upper_bound(unacked.begin(), unacked.end(), joined.back().upto);
    if (!joined.empty() && x.after <= known && (between == unacked.end() || *between > x.after))
      joined.back().upto = x.upto;
    else
      joined.push_back(x);
  }
  above_ = std::move(joined);
}

cursor common_part(const cursor& a, const cursor& b) {
  const auto ranges_of = [](const cursor& x) {
    std::vector<sequence_range> all{{{}, x.floor()}};
    all.insert(all.end(), x.above().begin(), x.above().end());
    return all;
  };
  const auto left = ranges_of(a), right = ranges_of(b);
  std::vector<sequence_range> common;
  for (auto x = left.begin(), y = right.begin(); x != left.end() && y != right.end(); x->upto < y->upto ? ++x : ++y) {
    const sequence_range both{std::max(x->after, y->after), std::min(x->upto, y->upto)};
    if (both.after < both.upto) common.push_back(both);
  }
  auto out = cursor::with_ranges({}, common);
  if (!out.above().empty() && !out.above().front().after) out.raise(sequence{out.above().front().upto});
  return out;
}

std::vector<sequence_range> unacked_ranges(const cursor& x) {
  std::vector<sequence_range> out;
  auto after = x.floor();
  for (const auto& range : x.above()) {
    if (after < range.after) out.push_back({after, range.after});
    after = range.upto;
  }
  out.push_back({after, {UINT64_MAX}});
  return out;
}

}  // namespace doorstep
