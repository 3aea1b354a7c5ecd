// SPDX-License-Identifier: Apache-2.0
// Messages that are not delivered as all others: one in flight of a strict group, only the newest of a `latest` key (rules 17 and 18 of
// docs/decisions/0004-outbox.md). Nothing here runs where neither configuration nor message asks for it. Pure, any thread.
#include "runtime/outbox.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

using ordering = delivery_terms::ordering;

std::string_view key_of(const message& x) { return x.terms ? std::string_view(x.terms->key) : std::string_view(); }

/// Where no key is named, an event's type and subject say what it is the newest of.
bool have_same_key(const message& x, const message& y) {
  const auto mine = key_of(x), other = key_of(y);
  if (!mine.empty() || !other.empty()) return mine == other;
  if (!x.what || !y.what) return x.what == y.what;
  return x.what->type == y.what->type && x.what->subject == y.what->subject;
}

}  // namespace

ordering outbox::order_of(const message& x) const { return x.terms && x.terms->order != ordering::configured ? x.terms->order : options_.order; }

/// What comes into memory says whether anybody has to look for such messages from now on.
void outbox::note_terms(const message& x, outbox_effects& out) {
  if (x.terms) note_priority(x);
  const auto order = order_of(x);
  any_strict_ = any_strict_ || order == ordering::strict;
  if (order != ordering::latest) return;
  any_latest_ = true;
  supersede_older(x, out);
}

/// Rule 17.
bool outbox::is_its_turn(const message& x) const {
  if (order_of(x) != ordering::strict) return true;
  return std::none_of(flight_.begin(), flight_.end(),
                      [&](const entry& y) { return order_of(*y.what) == ordering::strict && key_of(*y.what) == key_of(x); });
}

void outbox::push_those_whose_turn_it_is(steady_time now, outbox_effects& out) {
  for (auto at = queue_.begin(); at != queue_.end() && has_room_for((*at)->seq);) {
    if (!is_its_turn(**at)) {
      ++at;
      continue;
    }
    auto next = std::move(*at);
    at = queue_.erase(at);
    push_first(std::move(next), now, out);
  }
}

/// Rule 18. One taken back from the dead letters is no news: it takes nobody's place.
bool outbox::gives_place_to(const message& x, const message& by) const {
  return by.requeue == 0 && x.seq < by.seq && order_of(x) == ordering::latest && have_same_key(x, by);
}

/// What those here amount to that would give place to this one.
stored_amount outbox::place_for(const message& by) const {
  stored_amount out;
  if (order_of(by) != ordering::latest) return out;
  const auto add = [&](const message& x) {
    if (!gives_place_to(x, by)) return;
    ++out.messages;
    out.bytes += heard_of(x).bytes;
  };
  for (const auto& x : flight_) add(*x.what);
  for (const auto& x : queue_) add(*x);
  return out;
}

void outbox::supersede_older(const message& by, outbox_effects& out) {
  const auto gives_place = [&](const message& x) {
    if (!gives_place_to(x, by) || !settle_in_cursor(x)) return false;
    ++out.superseded;
    superseded_.push_back(x.seq);
    make_dirty(false);
    return true;
  };
  for (auto at = flight_.begin(); at != flight_.end();) at = gives_place(*at->what) ? flight_.erase(at) : at + 1;
  for (auto at = queue_.begin(); at != queue_.end();) at = gives_place(**at) ? queue_.erase(at) : at + 1;
}

}  // namespace doorstep
