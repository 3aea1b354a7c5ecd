// SPDX-License-Identifier: Apache-2.0
#include "runtime/outbox.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint64_t bit(unsigned slot) { return std::uint64_t{1} << slot; }
}  // namespace

void outbox_effects::clear() {
  pushes.clear();
  to_bury.clear();
  replaced.clear();
  buried.clear();
  receipts.clear();
  read.reset();
  read_newest.reset();
  counts_changed = recount = false;
  acked = repeated = redelivered = timed_out = superseded = 0;
  acked_times.clear();
}

outbox::outbox(outbox_options options, std::function<std::uint64_t()> random) : options_(std::move(options)), random_(std::move(random)) {
  any_poisoned_ = !options_.poisoned.empty();
  any_strict_ = options_.order == delivery_terms::ordering::strict;
  any_latest_ = options_.order == delivery_terms::ordering::latest;
}

// --- what comes in from the log and the store -------------------------------------------------------------------------------------------

void outbox::load(const stored_mailbox& start, sequence open_horizon, steady_time now, outbox_effects& out) {
  cursor_ = start.record.acked;
  horizon_ = start.record.horizon;
  marks_top_ = highest_counted_mark(start.inbox);
  saved_floor_ = cursor_.floor();
  version_ = std::max(start.record.version, start.inbox.version);  // they are written together, and a crash may come between
  flag_upto_ = horizon_.open ? std::max(open_horizon, horizon_.upto) : horizon_.upto;
  // What was pushed in an earlier life counts as pushed: the horizon never goes back.
  pushed_upto_ = flag_upto_;
  horizon_saved_open_ = horizon_.open;
  known_ = cursor_.floor();
  unread_ = start.unread;
  unseen_ = start.unseen;
  owed_ = start.owed;
  counted_ = start.page.complete_to;
  loaded_ = true;
  for (const auto& x : std::exchange(before_load_, {})) count_unread(x, out);
  newest_from_ = counted_;
  if (attached_ != 0 && !horizon_saved_open_) make_dirty(true);
  reading_ = true;
  page(start.page, now, out);
  out.counts_changed = true;
}

void outbox::deliver(const std::vector<message_ptr>& messages, steady_time now, outbox_effects& out) {
  for (const auto& x : messages) {
    if (x->seq <= highest_) continue;
    highest_ = x->seq;
    if (!loaded_) {
      before_load_.push_back(heard_of(*x));
      behind_ = true;
      continue;
    }
    const auto counted_before = counted_;
    count_unread(heard_of(*x), out);
    if (x->seq <= known_) continue;
    if (x->terms) note_priority(*x);
    if (must_reject(*x, counted_before) && reject(x, counted_before)) continue;
    // Rule 1: beyond the limit nothing is kept: the store has it, and the cursor does not move.
    if (behind_ || reading_ || queue_.size() >= options_.backlog_max || leaving_.size() >= leaving_max()) {
      behind_ = true;
      continue;
    }
    known_ = x->seq;
    if (cursor_.is_acked(x->seq)) continue;
    // Rule 16.
    if (is_poisoned(x->seq)) {
      give_up({.what = x}, dead_reason::poison, {});
      continue;
    }
    if (x->terms || any_latest_) note_terms(*x, out);
    // The common case does not touch the queue: it would be one more cache miss.
    if (queue_.empty() && newcomers_ == 0 && may_push() && has_room_for(x->seq) && (!any_strict_ || is_its_turn(*x)))
      push_first(x, now, out);
    else
      queue_.push_back(x);
  }
  if (out.superseded != 0) raise_floor();
  if (loaded_) fill(now, out);
}

void outbox::page(const stored_page& x, steady_time now, outbox_effects& out) {
  reading_ = false;
  stored_upto_ = std::max(stored_upto_, x.complete_to);
  const auto known_before = known_;
  bool beyond = false;
  for (const auto& m : x.messages) {
    if (m->seq <= known_) continue;
    // Rule 2: above complete_to one below it may still be missing, and the floor must not pass that.
    if (m->seq > x.complete_to) {
      beyond = true;
      break;
    }
    known_ = m->seq;
    count_unread(heard_of(*m), out);
    if (cursor_.is_acked(m->seq)) continue;
    if (is_poisoned(m->seq)) {
      give_up({.what = m}, dead_reason::poison, {});
      continue;
    }
    if (m->terms || any_latest_) note_terms(*m, out);
    queue_.push_back(m);
  }
  if (!x.more) known_ = std::max(known_, x.complete_to);
  behind_ = x.more || beyond || known_ < highest_;
  highest_ = std::max(highest_, known_);
  // A store that lags behind the log has nothing new yet: asking again at once would only spin.
  if (known_ == known_before && (behind_ || !waiting_acks_.empty())) page_failed(now);
  settle_waiting_acks(out);
  raise_floor();
  release_receipts(out);
  fill(now, out);
}

void outbox::page_failed(steady_time now) {
  reading_ = false;
  read_again_ = now + read_retry;
}

void outbox::want_more(outbox_effects& out) {
  if (!loaded_ || reading_ || read_again_) return;
  // Rule 3: nothing beyond the window is read while nobody is there to take it, but for acks that wait to learn their seq, and for those only so much.
  // What waits for its strict group does not hold up the others, as far as memory goes.
  const auto enough = any_strict_ ? 2 * options_.backlog_max : options_.window;
  const bool for_sessions = behind_ && attached_ != 0 && queue_.size() < enough;
  const bool for_acks = !waiting_acks_.empty() && queue_.size() < 2 * options_.backlog_max;
  // Rule 14: what is over the limit is read to be given up, whoever is there.
  const bool for_trimming = behind_ && is_over() && options_.overflow == outbox_options::victim::oldest && queue_.size() < options_.window;
  if ((!for_sessions && !for_acks && !for_trimming) || leaving_.size() >= leaving_max()) return;
  reading_ = true;
  out.read = outbox_effects::fetch{known_, options_.backlog_max};
}

// --- sessions ---------------------------------------------------------------------------------------------------------------------------

std::optional<unsigned> outbox::attach(sequence resume, steady_time now, outbox_effects& out) {
  const auto slot = static_cast<unsigned>(std::countr_one(attached_));
  if (slot == slots_max) return std::nullopt;
  if (slot == slots_.size()) slots_.emplace_back();
  slots_[slot] = {resume, {}};
  attached_ |= bit(slot);
  newcomers_ |= bit(slot);
  if (loaded_) {
    if (!horizon_saved_open_) make_dirty(true);
    fill(now, out);
  }
  return slot;
}

void outbox::detach(unsigned slot, steady_time) {
  if (slot >= slots_max || (attached_ & bit(slot)) == 0) return;
  attached_ &= ~bit(slot);
  newcomers_ &= ~bit(slot);
  for (auto& x : flight_) {
    x.sent_to &= ~bit(slot);
    x.nacked_by &= ~bit(slot);
    x.asked &= ~bit(slot);
  }
  for (auto& x : leaving_) x.what.sent_to &= ~bit(slot);
  std::erase_if(receipts_, [slot](const pending_receipt& x) { return x.what.slot == slot; });
  for (auto& x : elsewhere_) x.slots &= ~bit(slot);
  // The ack itself still counts; there is only nobody left to tell.
  for (auto& x : waiting_acks_)
    if (x.slot == slot) x.slot = slots_max;
}

// --- pushing ----------------------------------------------------------------------------------------------------------------------------

void outbox::fill(steady_time now, outbox_effects& out) {
  const auto leaving_before = leaving_.size();
  if (is_over()) trim();
  if (cursor_.above().size() >= options_.holes_max) raise_floor();
  if (may_push()) {
    greet_newcomers(now, out);
    if (any_strict_) push_those_whose_turn_it_is(now, out);
    while (!any_strict_ && !queue_.empty() && has_room_for(queue_.front()->seq)) {
      push_first(std::move(queue_.front()), now, out);
      queue_.pop_front();
    }
  }
  if (leaving_.size() != leaving_before) raise_floor();
  want_more(out);
  if (is_over()) want_newest(out);
}

void outbox::push_first(message_ptr what, steady_time now, outbox_effects& out) {
  if (is_expired(*what, now)) {
    give_up({.what = std::move(what)}, dead_reason::expired, {});
    return;
  }
  // A message taken back from the dead letters was pushed before, as another seq.
  const bool maybe_pushed = what->seq <= flag_upto_ || what->requeue != 0;
  auto at = flight_.end();
  // One that had to wait for its strict group stands before some that did not.
  while (any_strict_ && at != flight_.begin() && std::prev(at)->what->seq > what->seq) --at;
  push_round(*flight_.insert(at, {.what = std::move(what), .maybe_pushed = maybe_pushed}), now, out);
}

/// Rule 5: a message below a hole is always let through: there are never more of them than were pushed before, and the floor needs them.
bool outbox::has_room_for(sequence seq) const {
  if (flight_.size() >= options_.window) return false;
  const auto& above = cursor_.above();
  return above.size() < options_.holes_max || (!above.empty() && seq < above.back().upto);
}

/// Rule 6: what is in flight goes to a session that comes later at once, flagged, and is no new attempt. Where nobody else has it the deadline starts
/// again: lost connections do not count.
void outbox::greet_newcomers(steady_time now, outbox_effects& out) {
  const auto slots = std::exchange(newcomers_, 0);
  if (slots == 0) return;
  for (auto* at = flight_.data(); at != flight_.data() + flight_.size();) {
    auto& x = *at;
    if (is_expired(*x.what, now)) {
      at = give_up_in_flight(at, dead_reason::expired, {});
      continue;
    }
    ++at;
    const bool nobody_has_it = (x.sent_to | x.nacked_by) == 0 && !x.waits_for_retry;
    if (nobody_has_it || x.due <= now) {
      x.waits_for_retry = false;
      x.asked = attached_;
      set_due(x, now + options_.ack_timeout);
    }
    for (auto left = slots; left != 0; left &= left - 1) push_to(x, static_cast<unsigned>(std::countr_zero(left)), true, out);
  }
  find_first_due();
}

/// Rule 7.
void outbox::push_round(entry& x, steady_time now, outbox_effects& out) {
  const bool flagged = x.maybe_pushed;
  ++x.attempt;
  x.maybe_pushed = true;
  x.waits_for_retry = false;
  x.pushed_at = now;
  x.asked = attached_;
  set_due(x, now + options_.ack_timeout);
  pushed_upto_ = std::max(pushed_upto_, x.what->seq);
  for (auto left = attached_; left != 0; left &= left - 1) {
    const auto slot = static_cast<unsigned>(std::countr_zero(left));
    push_to(x, slot, flagged || x.what->seq <= slots_[slot].resume, out);
  }
}

void outbox::push_to(entry& x, unsigned slot, bool flagged, outbox_effects& out) {
  auto& sent_upto = slots_[slot].sent_upto;
  // Rule 8: a cumulative ack that was sent before this one arrived is at or above it, so this connection acks it by id.
  if (x.what->seq < sent_upto && (x.sent_to & bit(slot)) == 0) x.nacked_by |= bit(slot);
  sent_upto = std::max(sent_upto, x.what->seq);
  x.sent_to |= bit(slot) & ~x.nacked_by;
  out.pushes.push_back({slot, x.what, x.attempt, flagged});
  out.redelivered += flagged ? 1 : 0;
}

void outbox::start_retry(entry& x, steady_time now) {
  x.waits_for_retry = true;
  set_due(x, now + options_.retry.delay(x.attempt, random_()));
}

void outbox::tick(steady_time now, outbox_effects& out) {
  if (read_again_ && *read_again_ <= now) {
    read_again_.reset();
    want_more(out);
  }
  if (!may_push()) return;
  bool any_left = false;
  for (auto* at = flight_.data(); at != flight_.data() + flight_.size();) {
    auto& x = *at;
    if (x.due > now) {
      ++at;
      continue;
    }
    if (!x.waits_for_retry) {
      ++out.timed_out;
      if (x.asked != 0 && fails_too_often(x)) {
        at = give_up_in_flight(at, dead_reason::max_attempts, "no ack in time");
        any_left = true;
        continue;
      }
      start_retry(x, now);
    }
    if (x.waits_for_retry && x.due <= now) {
      if (is_expired(*x.what, now)) {
        at = give_up_in_flight(at, dead_reason::expired, {});
        any_left = true;
        continue;
      }
      push_round(x, now, out);
    }
    ++at;
  }
  find_first_due();
  if (any_left) fill(now, out);
}

void outbox::find_first_due() {
  first_due_ = steady_time::max();
  for (const auto& x : flight_) first_due_ = std::min(first_due_, x.due);
}

void outbox::set_due(entry& x, steady_time at) {
  x.due = at;
  first_due_ = std::min(first_due_, at);
}

std::optional<steady_time> outbox::next_due() const {
  auto next = read_again_;
  if (may_push() && !flight_.empty() && (!next || first_due_ < *next)) next = first_due_;
  return next;
}

std::vector<outbox::in_flight_view> outbox::in_flight() const {
  std::vector<in_flight_view> all;
  for (const auto& x : flight_) all.push_back({x.what, x.attempt, may_push() ? std::optional(x.due) : std::nullopt});
  return all;
}

}  // namespace doorstep
