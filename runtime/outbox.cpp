// SPDX-License-Identifier: Apache-2.0
#include "runtime/outbox.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

void outbox_effects::clear() {
  pushes.clear();
  receipts.clear();
  read.reset();
  counts_changed = false;
  acked = repeated = redelivered = timed_out = 0;
  acked_times.clear();
}

outbox::outbox(outbox_options options, std::function<std::uint64_t()> random) : options_(options), random_(std::move(random)) {}

// --- what comes in from the log and the store -------------------------------------------------------------------------------------------

void outbox::load(const stored_mailbox& start, sequence open_horizon, steady_time now, outbox_effects& out) {
  cursor_ = start.record.acked;
  horizon_ = start.record.horizon;
  read_upto_ = start.record.read_upto;
  version_ = start.record.version;
  flag_upto_ = horizon_.open ? std::max(open_horizon, horizon_.upto) : horizon_.upto;
  // What was pushed in an earlier life counts as pushed: the horizon never goes back.
  pushed_upto_ = flag_upto_;
  horizon_saved_open_ = horizon_.open;
  known_ = cursor_.floor();
  unread_ = start.unread;
  counted_ = start.page.complete_to;
  loaded_ = true;
  for (auto seq : std::exchange(before_load_, {}))
    count_unread(seq, out);
  if (attached_ > 0 && !horizon_saved_open_)
    make_dirty(true);
  reading_ = true;
  page(start.page, now, out);
  out.counts_changed = true;
}

void outbox::deliver(const std::vector<message_ptr>& messages, steady_time now, outbox_effects& out) {
  for (const auto& x : messages) {
    if (x->seq <= highest_)
      continue;
    highest_ = x->seq;
    if (!loaded_) {
      before_load_.push_back(x->seq);
      behind_ = true;
      continue;
    }
    count_unread(x->seq, out);
    if (x->seq <= known_)
      continue;
    // Beyond the limit nothing is kept: the store has it, and the cursor does not move.
    if (behind_ || reading_ || queue_.size() >= options_.backlog_max) {
      behind_ = true;
      continue;
    }
    known_ = x->seq;
    if (!cursor_.is_acked(x->seq))
      queue_.push_back(x);
  }
  if (loaded_)
    fill(now, out);
}

void outbox::page(const stored_page& x, steady_time now, outbox_effects& out) {
  reading_ = false;
  const auto known_before = known_;
  for (const auto& m : x.messages) {
    if (m->seq <= known_)
      continue;
    known_ = m->seq;
    if (!cursor_.is_acked(m->seq))
      queue_.push_back(m);
  }
  if (!x.more)
    known_ = std::max(known_, x.complete_to);
  behind_ = x.more || known_ < highest_;
  highest_ = std::max(highest_, known_);
  // A store that lags behind the log has nothing new yet: asking again at once would only spin.
  if (behind_ && known_ == known_before)
    page_failed(now);
  raise_floor();
  settle_acks(out);
  fill(now, out);
}

void outbox::page_failed(steady_time now) {
  reading_ = false;
  read_again_ = now + read_retry;
}

void outbox::want_more(outbox_effects& out) {
  if (!loaded_ || reading_ || read_again_ || !behind_)
    return;
  // Nothing beyond the window is read while nobody is there to take it, but for acks that wait to learn their seq.
  if (waiting_acks_.empty() && (attached_ == 0 || queue_.size() >= options_.window))
    return;
  reading_ = true;
  out.read = outbox_effects::fetch{known_, options_.backlog_max};
}

void outbox::count_unread(sequence seq, outbox_effects& out) {
  if (seq <= counted_)
    return;
  counted_ = seq;
  ++unread_;
  out.counts_changed = true;
}

// --- sessions ---------------------------------------------------------------------------------------------------------------------------

std::optional<unsigned> outbox::attach(sequence resume, steady_time now, outbox_effects& out) {
  const auto free = std::find_if(slots_.begin(), slots_.end(), [](const slot_state& x) { return !x.used; });
  const auto slot = static_cast<unsigned>(free - slots_.begin());
  if (slot == slots_max)
    return std::nullopt;
  if (free == slots_.end())
    slots_.emplace_back();
  slots_[slot] = {true, resume, true};
  if (attached_++ == 0 && loaded_ && !horizon_saved_open_)
    make_dirty(true);
  if (loaded_)
    fill(now, out);
  return slot;
}

void outbox::detach(unsigned slot, steady_time) {
  if (slot >= slots_.size() || !slots_[slot].used)
    return;
  slots_[slot] = {};
  --attached_;
  const auto mask = ~(std::uint64_t{1} << slot);
  for (auto& x : flight_)
    x.sent_to &= mask;
  std::erase_if(receipts_, [slot](const pending_receipt& x) { return x.what.slot == slot; });
  // The ack itself still counts; there is only nobody left to tell.
  for (auto& x : waiting_acks_)
    if (x.slot == slot)
      x.slot = slots_max;
}

// --- pushing ----------------------------------------------------------------------------------------------------------------------------

void outbox::fill(steady_time now, outbox_effects& out) {
  if (may_push()) {
    greet_newcomers(now, out);
    while (!queue_.empty() && flight_.size() < options_.window && cursor_.above().size() < options_.holes_max) {
      flight_.push_back({.what = std::move(queue_.front())});
      queue_.pop_front();
      flight_.back().maybe_pushed = flight_.back().what->seq <= flag_upto_;
      push_round(flight_.back(), now, out);
    }
  }
  want_more(out);
}

/// Rule 4: what is in flight goes to a session that comes later at once, flagged, and is no new attempt. A deadline that ran out while nobody was
/// there starts again: lost connections do not count.
void outbox::greet_newcomers(steady_time now, outbox_effects& out) {
  for (unsigned slot = 0; slot < slots_.size(); ++slot) {
    if (!slots_[slot].waits)
      continue;
    slots_[slot].waits = false;
    for (auto& x : flight_) {
      push_to(x, slot, true, out);
      if (x.due <= now) {
        x.waits_for_retry = false;
        x.due = now + options_.ack_timeout;
      }
    }
  }
}

void outbox::push_round(entry& x, steady_time now, outbox_effects& out) {
  const bool flagged = x.maybe_pushed;
  ++x.attempt;
  x.maybe_pushed = true;
  x.waits_for_retry = false;
  x.pushed_at = now;
  x.due = now + options_.ack_timeout;
  pushed_upto_ = std::max(pushed_upto_, x.what->seq);
  for (unsigned slot = 0, left = static_cast<unsigned>(attached_); left > 0 && slot < slots_.size(); ++slot) {
    if (!slots_[slot].used)
      continue;
    --left;
    push_to(x, slot, flagged || x.what->seq <= slots_[slot].resume, out);
  }
}

void outbox::push_to(entry& x, unsigned slot, bool flagged, outbox_effects& out) {
  x.sent_to |= std::uint64_t{1} << slot;
  out.pushes.push_back({slot, x.what, x.attempt, flagged});
  out.redelivered += flagged ? 1 : 0;
}

void outbox::start_retry(entry& x, steady_time now) {
  x.waits_for_retry = true;
  x.due = now + options_.retry.delay(x.attempt, random_());
}

void outbox::tick(steady_time now, outbox_effects& out) {
  if (read_again_ && *read_again_ <= now) {
    read_again_.reset();
    want_more(out);
  }
  if (!may_push())
    return;
  for (auto& x : flight_) {
    if (x.due > now)
      continue;
    if (!x.waits_for_retry) {
      ++out.timed_out;
      start_retry(x, now);
    }
    if (x.waits_for_retry && x.due <= now)
      push_round(x, now, out);
  }
}

std::optional<steady_time> outbox::next_due() const {
  auto next = read_again_;
  if (may_push())
    for (const auto& x : flight_)
      if (!next || x.due < *next)
        next = x.due;
  return next;
}

// --- acks -------------------------------------------------------------------------------------------------------------------------------

void outbox::mark_acked(std::deque<entry>::iterator at, outbox_effects& out) {
  if (cursor_.ack(at->what->seq)) {
    ++out.acked;
    out.acked_times.emplace_back(at->pushed_at, at->what->appended);
    make_dirty(false);
  }
  flight_.erase(at);
}

bool outbox::ack_by_id(const std::string& id, outbox_effects& out) {
  for (auto at = flight_.begin(); at != flight_.end(); ++at)
    if (at->what->id == id) {
      mark_acked(at, out);
      return true;
    }
  for (auto at = queue_.begin(); at != queue_.end(); ++at)
    if ((*at)->id == id) {
      if (cursor_.ack((*at)->seq)) {
        ++out.acked;
        make_dirty(false);
      }
      queue_.erase(at);
      return true;
    }
  return false;
}

void outbox::ack(unsigned slot, std::uint64_t request, sequence up_to, std::vector<std::string> ids, steady_time now, outbox_effects& out) {
  if (up_to) {
    const auto mask = std::uint64_t{1} << slot;
    bool any = false;
    for (auto at = flight_.begin(); at != flight_.end() && at->what->seq <= up_to;) {
      // Rule 6: a cumulative ack covers what this connection was sent, so another session's messages stay owed.
      if ((at->sent_to & mask) == 0) {
        ++at;
        continue;
      }
      const auto index = at - flight_.begin();
      mark_acked(at, out);
      at = flight_.begin() + index;
      any = true;
    }
    out.repeated += any ? 0 : 1;
  }
  waiting_acks_.push_back({slot, request, up_to, std::move(ids)});
  settle_acks(out);
  fill(now, out);
}

void outbox::settle_acks(outbox_effects& out) {
  if (!loaded_ || waiting_acks_.empty())
    return;
  // An id can only be of a message that was pushed, and those are among the first `window` unacked: once that many are here, an id
  // that is not among them was acked before.
  const bool complete = !behind_ || flight_.size() + queue_.size() >= options_.window;
  std::vector<pending_ack> waiting;
  for (auto& x : waiting_acks_) {
    bool all_known = true;
    for (const auto& id : x.ids)
      if (!ack_by_id(id, out)) {
        all_known = false;
        out.repeated += complete ? 1 : 0;
      }
    if (!all_known && !complete) {
      waiting.push_back(std::move(x));
      continue;
    }
    if (x.slot < slots_max)
      // Rule 7: what is dirty now is saved with the next version, what is being saved with the present one.
      receipts_.push_back({{x.slot, x.request, x.up_to, std::move(x.ids)}, version_ + (dirty_ ? 1 : 0)});
    if (x.request != 0 && dirty_)
      urgent_ = true;
  }
  waiting_acks_ = std::move(waiting);
  raise_floor();
  if (!saving_ && !dirty_) {
    // Everything was acked and saved before: the receipt is due at once.
    for (auto& x : receipts_)
      out.receipts.push_back(std::move(x.what));
    receipts_.clear();
  }
}

void outbox::raise_floor() {
  if (!flight_.empty())
    cursor_.raise({flight_.front().what->seq.value - 1});
  else if (!queue_.empty())
    cursor_.raise({queue_.front()->seq.value - 1});
  else
    cursor_.raise(known_);
}

void outbox::nack(const std::vector<std::string>& ids, steady_time now, outbox_effects& out) {
  for (const auto& id : ids)
    for (auto& x : flight_)
      if (x.what->id == id && !x.waits_for_retry) {
        x.sent_to = 0;  // a cumulative ack of a later message must not cover it
        start_retry(x, now);
      }
  tick(now, out);
}

bool outbox::read(sequence up_to, outbox_effects& out) {
  if (up_to <= read_upto_)
    return false;
  read_upto_ = up_to;
  make_dirty(false);
  if (up_to < std::max(highest_, counted_))
    return true;
  unread_ = 0;
  out.counts_changed = true;
  return false;
}

void outbox::recounted(std::uint64_t unread, outbox_effects& out) {
  unread_ = unread;
  out.counts_changed = true;
}

// --- the record -------------------------------------------------------------------------------------------------------------------------

cursor_record outbox::begin_save(const address& user) {
  dirty_ = urgent_ = false;
  saving_ = true;
  saving_closed_ = std::exchange(closing_, false) && attached_ == 0;
  horizon_ = {pushed_upto_, !saving_closed_ && (horizon_.open || attached_ > 0)};
  saving_open_ = horizon_.open;
  // From here on the store may say "closed": nothing is pushed before it says "open" again.
  if (!saving_open_)
    horizon_saved_open_ = false;
  return {user, cursor_, horizon_, read_upto_, ++version_};
}

void outbox::saved(steady_time now, outbox_effects& out) {
  saving_ = false;
  horizon_saved_open_ = saving_open_;
  if (attached_ > 0 && !horizon_saved_open_)
    make_dirty(true);
  std::erase_if(receipts_, [&](pending_receipt& x) {
    if (x.version > version_)
      return false;
    out.receipts.push_back(std::move(x.what));
    return true;
  });
  fill(now, out);
}

void outbox::save_failed() {
  saving_ = false;
  make_dirty(urgent_ || saving_open_);
  // The same version is not written twice with other contents: the next attempt takes a new one, and receipts wait for it.
  for (auto& x : receipts_)
    x.version = version_ + 1;
}

void outbox::close_horizon() {
  if (!loaded_ || attached_ > 0 || !horizon_.open)
    return;
  closing_ = true;
  make_dirty(false);
}

std::vector<outbox::in_flight_view> outbox::in_flight() const {
  std::vector<in_flight_view> all;
  for (const auto& x : flight_)
    all.push_back({x.what, x.attempt, may_push() ? std::optional(x.due) : std::nullopt});
  return all;
}

}  // namespace doorstep
