// SPDX-License-Identifier: Apache-2.0
#include "runtime/outbox.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint64_t bit(unsigned slot) { return std::uint64_t{1} << slot; }
}  // namespace

void outbox_effects::clear() {
  pushes.clear();
  to_bury.clear();
  buried.clear();
  receipts.clear();
  read.reset();
  counts_changed = recount = false;
  acked = repeated = redelivered = timed_out = 0;
  acked_times.clear();
}

outbox::outbox(outbox_options options, std::function<std::uint64_t()> random) : options_(std::move(options)), random_(std::move(random)) {
  any_poisoned_ = !options_.poisoned.empty();
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
  owed_ = start.above_floor - std::min<std::uint64_t>(start.above_floor, cursor_.above().size());
  counted_ = start.page.complete_to;
  loaded_ = true;
  for (auto seq : std::exchange(before_load_, {})) count_unread(seq, out);
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
      before_load_.push_back(x->seq);
      behind_ = true;
      continue;
    }
    count_unread(x->seq, out);
    if (x->seq <= known_) continue;
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
    // The common case does not touch the queue: it would be one more cache miss.
    if (queue_.empty() && newcomers_ == 0 && may_push() && has_room_for(x->seq))
      push_first(x, now, out);
    else
      queue_.push_back(x);
  }
  if (loaded_) fill(now, out);
}

void outbox::page(const stored_page& x, steady_time now, outbox_effects& out) {
  reading_ = false;
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
    count_unread(m->seq, out);
    if (cursor_.is_acked(m->seq)) continue;
    if (is_poisoned(m->seq))
      give_up({.what = m}, dead_reason::poison, {});
    else
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
  const bool for_sessions = behind_ && attached_ != 0 && queue_.size() < options_.window;
  const bool for_acks = !waiting_acks_.empty() && queue_.size() < 2 * options_.backlog_max;
  // Rule 14: what is over the limit is read to be given up, whoever is there.
  const bool for_trimming = behind_ && options_.messages_max != 0 && owed_ > options_.messages_max && queue_.size() < options_.window;
  if ((!for_sessions && !for_acks && !for_trimming) || leaving_.size() >= leaving_max()) return;
  reading_ = true;
  out.read = outbox_effects::fetch{known_, options_.backlog_max};
}

void outbox::count_unread(sequence seq, outbox_effects& out) {
  if (seq <= counted_) return;
  counted_ = seq;
  ++owed_;
  // Marked before it was heard of, as by a client that has it from the history.
  if (seq <= marks_top_) {
    out.recount = true;
    return;
  }
  ++unread_;
  ++unseen_;
  out.counts_changed = true;
  if (!recounting_) return;
  recount_lost_ = recount_lost_ || since_recount_.size() == recount_max;
  if (!recount_lost_) since_recount_.push_back(seq);
}

// --- sessions ---------------------------------------------------------------------------------------------------------------------------

std::optional<unsigned> outbox::attach(sequence resume, steady_time now, outbox_effects& out) {
  const auto slot = static_cast<unsigned>(std::countr_one(attached_));
  if (slot == slots_max) return std::nullopt;
  if (slot == resume_.size()) resume_.emplace_back();
  resume_[slot] = resume;
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
  if (options_.messages_max != 0) trim();
  if (may_push()) {
    greet_newcomers(now, out);
    while (!queue_.empty() && has_room_for(queue_.front()->seq)) {
      push_first(std::move(queue_.front()), now, out);
      queue_.pop_front();
    }
  }
  if (leaving_.size() != leaving_before) raise_floor();
  want_more(out);
}

void outbox::push_first(message_ptr what, steady_time now, outbox_effects& out) {
  if (is_expired(*what, now)) {
    give_up({.what = std::move(what)}, dead_reason::expired, {});
    return;
  }
  // A message taken back from the dead letters was pushed before, as another seq.
  const bool maybe_pushed = what->seq <= flag_upto_ || what->requeue != 0;
  flight_.push_back({.what = std::move(what), .maybe_pushed = maybe_pushed});
  push_round(flight_.back(), now, out);
}

/// Rule 5: a message below a hole is always let through: there are never more of them than were pushed before, and the floor needs them.
bool outbox::has_room_for(sequence seq) const {
  if (flight_.size() >= options_.window) return false;
  const auto& above = cursor_.above();
  return above.size() < options_.holes_max || (!above.empty() && seq < *above.rbegin());
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
    push_to(x, slot, flagged || x.what->seq <= resume_[slot], out);
  }
}

void outbox::push_to(entry& x, unsigned slot, bool flagged, outbox_effects& out) {
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

// --- acks -------------------------------------------------------------------------------------------------------------------------------

void outbox::mark_acked(entry* at, unsigned slot, outbox_effects& out) {
  const auto others = (at->sent_to | at->nacked_by) & ~(slot < slots_max ? bit(slot) : 0);
  if (others != 0) elsewhere_.push_back({others, at->what->id, version_ + 1});
  if (settle_in_cursor(at->what->seq)) {
    ++out.acked;
    out.acked_times.emplace_back(at->pushed_at, at->what->appended);
    make_dirty(false);
  }
  flight_.erase(flight_.begin() + (at - flight_.data()));
}

bool outbox::ack_by_id(const std::string& id, unsigned slot, outbox_effects& out) {
  for (auto at = flight_.begin(); at != flight_.end(); ++at)
    if (at->what->id == id) {
      mark_acked(&*at, slot, out);
      return true;
    }
  for (auto at = queue_.begin(); at != queue_.end(); ++at)
    if ((*at)->id == id) {
      if (settle_in_cursor((*at)->seq)) {
        ++out.acked;
        make_dirty(false);
      }
      queue_.erase(at);
      return true;
    }
  return ack_leaving(id, out);
}

void outbox::ack(unsigned slot, std::uint64_t request, sequence up_to, std::vector<std::string> ids, steady_time now, outbox_effects& out) {
  if (up_to) {
    bool any = false;
    for (auto at = flight_.begin(); at != flight_.end() && at->what->seq <= up_to;) {
      // Rule 8: a cumulative ack covers what this connection was sent, so another session's messages stay owed.
      if ((at->sent_to & bit(slot)) == 0) {
        ++at;
        continue;
      }
      const auto index = at - flight_.begin();
      mark_acked(&*at, slot, out);
      at = flight_.begin() + index;
      any = true;
    }
    if (!leaving_.empty()) ack_leaving(slot, up_to, out);
    out.repeated += any ? 0 : 1;
  }
  pending_ack x{slot, request, std::move(ids)};
  if (!loaded_ || !settle(x, out)) keep_waiting(std::move(x));
  raise_floor();
  release_receipts(out);
  fill(now, out);
}

/// Rule 9: an id that is not here was acked before, provided that all that an earlier life may have pushed has been read. What this life pushed is here.
/// @returns false when that is not known yet.
bool outbox::settle(pending_ack& x, outbox_effects& out) {
  std::size_t unknown = 0;
  for (const auto& id : x.ids) unknown += ack_by_id(id, x.slot, out) ? 0 : 1;
  if (unknown > 0 && !knows_all_pushed()) return false;
  out.repeated += unknown;
  if (x.slot < slots_max)
    // Rule 10: what is dirty now is saved with the next version, what is being saved with the present one.
    receipts_.push_back({{x.slot, x.request, {}, std::move(x.ids)}, version_ + (dirty_ ? 1 : 0)});
  if (x.request != 0 && dirty_) urgent_ = true;
  return true;
}

void outbox::keep_waiting(pending_ack x) {
  auto held = x.ids.size() + 1;
  for (const auto& other : waiting_acks_) held += other.ids.size() + 1;
  if (held <= waiting_ids_max) waiting_acks_.push_back(std::move(x));
}

void outbox::settle_waiting_acks(outbox_effects& out) {
  std::vector<pending_ack> still;
  for (auto& x : std::exchange(waiting_acks_, {}))
    if (!settle(x, out)) still.push_back(std::move(x));
  waiting_acks_ = std::move(still);
}

/// With everything acked and saved before, a receipt is due at once.
void outbox::release_receipts(outbox_effects& out) {
  if (!loaded_ || saving_ || dirty_) return;
  for (auto& x : std::exchange(receipts_, {})) {
    x.what.up_to = saved_floor_;
    out.receipts.push_back(std::move(x.what));
  }
}

/// Rule 11.
void outbox::raise_floor() {
  if (!flight_.empty())
    cursor_.raise({flight_.front().what->seq.value - 1});
  else if (!queue_.empty())
    cursor_.raise({queue_.front()->seq.value - 1});
  else
    cursor_.raise(known_);
}

// --- the record -------------------------------------------------------------------------------------------------------------------------

cursor_record outbox::begin_save(const address& user, outbox_effects& out) {
  if (!leaving_.empty()) bury(out);
  dirty_ = urgent_ = false;
  saving_ = true;
  const bool close = std::exchange(closing_, false) && attached_ == 0;
  horizon_ = {pushed_upto_, !close && (horizon_.open || attached_ != 0)};
  saving_open_ = horizon_.open;
  saving_floor_ = cursor_.floor();
  // Rule 4: from here on the store may say "closed": nothing is pushed before it says "open" again.
  if (!saving_open_) horizon_saved_open_ = false;
  return {user, cursor_, horizon_, {}, ++version_};
}

void outbox::saved(steady_time now, outbox_effects& out) {
  saving_ = false;
  horizon_saved_open_ = saving_open_;
  saved_floor_ = saving_floor_;
  buried(out);
  if (attached_ != 0 && !horizon_saved_open_) make_dirty(true);
  if (!elsewhere_.empty()) tell_others(out);
  std::erase_if(receipts_, [&](pending_receipt& x) {
    if (x.version > version_) return false;
    x.what.up_to = saved_floor_;
    out.receipts.push_back(std::move(x.what));
    return true;
  });
  fill(now, out);
}

void outbox::save_failed() {
  saving_ = false;
  make_dirty(urgent_ || saving_open_ || !leaving_.empty());
  // The same version is not written twice with other contents: the next attempt takes a new one, and receipts wait for it.
  for (auto& x : receipts_) x.version = version_ + 1;
  for (auto& x : elsewhere_) x.version = version_ + 1;
}

/// Rule 10, for sessions that have what another one acked.
void outbox::tell_others(outbox_effects& out) {
  std::uint64_t slots = 0;
  for (const auto& x : elsewhere_) slots |= x.version <= version_ ? x.slots : 0;
  for (; slots != 0; slots &= slots - 1) {
    const auto slot = static_cast<unsigned>(std::countr_zero(slots));
    outbox_effects::receipt told{slot, 0, saved_floor_, {}};
    for (const auto& x : elsewhere_)
      if (x.version <= version_ && (x.slots & bit(slot)) != 0) told.ids.push_back(x.id);
    out.receipts.push_back(std::move(told));
  }
  std::erase_if(elsewhere_, [&](const settled_elsewhere& x) { return x.version <= version_; });
}

void outbox::close_horizon() {
  if (!loaded_ || attached_ != 0 || !horizon_.open) return;
  closing_ = true;
  make_dirty(false);
}

std::vector<outbox::in_flight_view> outbox::in_flight() const {
  std::vector<in_flight_view> all;
  for (const auto& x : flight_) all.push_back({x.what, x.attempt, may_push() ? std::optional(x.due) : std::nullopt});
  return all;
}

}  // namespace doorstep
