// SPDX-License-Identifier: Apache-2.0
// What is owed at a time, in messages and bytes, and what gives way beyond the limit (rule 14 of docs/decisions/0004-outbox.md). Pure, any thread.
#include "runtime/outbox.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace doorstep {

outbox::heard outbox::heard_of(const message& x) const { return {x.seq, options_.bytes_max != 0 ? content_bytes(x) : 0}; }

/// What is owed is counted, never listed: by the store when the mailbox is loaded, then by each message heard of and settled.
void outbox::count_owed(const heard& x) {
  if (cursor_.is_acked(x.seq)) return;
  ++owed_.messages;
  owed_.bytes += x.bytes;
}

bool outbox::settle_in_cursor(const message& x) {
  if (!cursor_.ack(x.seq)) return false;
  if (owed_.messages > 0) --owed_.messages;
  if (options_.bytes_max == 0) return true;
  const auto bytes = content_bytes(x);
  owed_.bytes -= std::min(bytes, owed_.bytes);
  if (owed_.messages == 0) owed_.bytes = 0;
  return true;
}

/// By rule 1 what is neither in flight nor queued up to known_ is settled, or somebody else's.
void outbox::join_holes() {
  std::vector<sequence> unacked;
  unacked.reserve(flight_.size() + queue_.size());
  for (const auto& x : flight_) unacked.push_back(x.what->seq);
  for (const auto& x : queue_) unacked.push_back(x->seq);
  std::inplace_merge(unacked.begin(), unacked.begin() + static_cast<std::ptrdiff_t>(flight_.size()), unacked.end());
  cursor_.close_gaps(unacked, known_);
}

bool outbox::is_over(stored_amount less) const {
  return (options_.messages_max != 0 && owed_.messages > options_.messages_max + less.messages) ||
         (options_.bytes_max != 0 && owed_.bytes > options_.bytes_max + less.bytes);
}

/// Whether x goes before the other one: of lower priority, else by age.
bool outbox::gives_way_to(const message& x, const message& other) const {
  const auto mine = x.terms ? x.terms->priority : 0, theirs = other.terms ? other.terms->priority : 0;
  if (any_priority_ && mine != theirs) return mine < theirs;
  return options_.overflow == outbox_options::victim::oldest ? x.seq < other.seq : x.seq > other.seq;
}

/// What is not in memory is younger than all that is: the oldest to go are here, and the newest are not while there is more in the store.
void outbox::trim() {
  if (options_.overflow == outbox_options::victim::newest && behind_ && newest_from_ > known_) return;
  while (is_over() && leaving_.size() < leaving_max() && trim_one()) {}
}

/// Where the newest go, what was pushed stays. @returns false where there is none to go.
bool outbox::trim_one() {
  auto* in_flight = flight_.data();
  auto* const flight_end = options_.overflow == outbox_options::victim::oldest ? in_flight + flight_.size() : in_flight;
  auto queued = options_.overflow == outbox_options::victim::oldest || queue_.empty() ? queue_.begin() : std::prev(queue_.end());
  if (any_priority_) {
    in_flight = std::min_element(in_flight, flight_end, [&](const entry& x, const entry& y) { return gives_way_to(*x.what, *y.what); });
    queued = std::min_element(queue_.begin(), queue_.end(), [&](const message_ptr& x, const message_ptr& y) { return gives_way_to(*x, *y); });
  }
  if (in_flight != flight_end && (queued == queue_.end() || gives_way_to(*in_flight->what, **queued))) {
    give_up_in_flight(in_flight, dead_reason::overflow, {});
    return true;
  }
  if (queued == queue_.end()) return false;
  give_up({.what = std::move(*queued)}, dead_reason::overflow, {});
  queue_.erase(queued);
  return true;
}

/// With its holes used up the cursor has no room for another run of rejected ones: this one goes on, also where there is room again. One that takes the place of
/// others needs no room of its own; what is rejected takes nobody's place.
bool outbox::must_reject(const message& x, sequence before) const {
  return (is_over() && is_over(place_for(x))) || (rejected_upto_ && rejected_upto_ == before && cursor_.above().size() >= options_.holes_max);
}

/// A live one over the limit. @param before everything up to here was counted before, so between them there is nothing of this user's.
/// @returns false where it is to be taken: something else gives way, or too many are leaving.
bool outbox::reject(const message_ptr& x, sequence before) {
  if (options_.overflow != outbox_options::victim::newest || x->seq <= before || cursor_.is_acked(x->seq)) return false;
  if (leaving_.size() >= leaving_max()) {
    newest_from_ = x->seq;  // read from the store to be rejected later
    return false;
  }
  const bool all_here = !behind_ && !reading_ && queue_.size() < options_.backlog_max;
  if (any_priority_ && all_here) {
    const auto other =
        std::min_element(queue_.begin(), queue_.end(), [&](const message_ptr& a, const message_ptr& b) { return gives_way_to(*a, *b); });
    if (other != queue_.end() && gives_way_to(**other, *x)) {
      give_up({.what = std::move(*other)}, dead_reason::overflow, {});
      queue_.erase(other);
      return false;
    }
  }
  give_up({.what = x}, dead_reason::overflow, {});
  cursor_.cover(before, x->seq);
  if (all_here) known_ = x->seq;
  rejected_upto_ = x->seq;
  return true;
}

/// What came while nobody looked is rejected from the end: read backwards, a page at a time, as long as too much is owed.
void outbox::want_newest(outbox_effects& out) {
  if (options_.overflow != outbox_options::victim::newest || !loaded_ || !behind_ || reading_newest_ || read_again_ || newest_from_ <= known_) return;
  if (leaving_.size() >= leaving_max()) return;
  reading_newest_ = true;
  newest_asked_ = newest_from_;
  newest_sure_ = std::min(newest_from_, stored_upto_);
  out.read_newest = outbox_effects::fetch_newest{newest_from_, options_.backlog_max};
}

void outbox::newest_failed(steady_time now) {
  reading_newest_ = false;
  read_again_ = now + read_retry;
}

void outbox::newest(const std::vector<message_ptr>& messages, steady_time now, outbox_effects& out) {
  reading_newest_ = false;
  std::vector<message_ptr> those;
  for (const auto& x : messages)
    if (x->seq > known_ && x->seq <= newest_asked_ && !cursor_.is_acked(x->seq)) {
      if (x->terms) note_priority(*x);
      those.push_back(x);
    }
  // The victims first, then from the end on, so that what lies between two of them is covered too.
  std::sort(those.begin(), those.end(), [&](const message_ptr& x, const message_ptr& y) { return gives_way_to(*x, *y); });
  std::size_t count = 0;
  auto left = owed_;
  const auto is_enough = [&] {
    return (options_.messages_max == 0 || left.messages <= options_.messages_max) && (options_.bytes_max == 0 || left.bytes <= options_.bytes_max);
  };
  while (count < those.size() && !is_enough() && leaving_.size() + count < leaving_max()) {
    left.messages -= std::min<std::uint64_t>(left.messages, 1);
    left.bytes -= std::min(left.bytes, heard_of(*those[count++]).bytes);
  }
  those.resize(count);
  std::sort(those.begin(), those.end(), [](const message_ptr& x, const message_ptr& y) { return x->seq < y->seq; });
  auto upto = newest_sure_;
  for (auto at = messages.rbegin(); at != messages.rend(); ++at) {
    const auto seq = (*at)->seq;
    if (std::binary_search(those.begin(), those.end(), *at, [](const message_ptr& x, const message_ptr& y) { return x->seq < y->seq; })) {
      give_up({.what = *at}, dead_reason::overflow, {});
      cursor_.cover({seq.value - 1}, upto);
    }
    upto = {seq.value - 1};
  }
  // Only what is left for want of room among those that leave is read again, and what came meanwhile.
  if (is_over() && leaving_.size() < leaving_max() && newest_from_ == newest_asked_)
    newest_from_ = messages.empty() ? sequence{} : sequence{messages.front()->seq.value - 1};
  raise_floor();
  fill(now, out);
}

}  // namespace doorstep
