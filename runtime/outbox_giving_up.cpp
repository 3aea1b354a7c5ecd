// SPDX-License-Identifier: Apache-2.0
// Messages that fail, and those that leave unacked: tried too often, nacked, expired, over the limit, poison (rules 12 to 16 of docs/decisions/0004-outbox.md). Pure, any thread.
#include "runtime/outbox.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint64_t bit(unsigned slot) { return std::uint64_t{1} << slot; }
}  // namespace

dead_letter dead_letter_of(const given_up& x, unix_ms now) {
  dead_letter d;
  d.id = x.what->id;
  d.to = x.what->to;
  d.seq = x.what->seq;
  d.reason = x.reason;
  d.detail = x.detail;
  d.what = x.what->what;
  d.first = x.what->appended;
  d.last = now;
  d.attempts = x.attempts;
  d.requeue = x.what->requeue;
  d.terms = x.what->terms;
  if (x.what->from) {
    d.source = x.what->from->source;
    d.topic = x.what->from->topic;
    d.partition = x.what->from->partition;
    d.offset = x.what->from_offset;
  }
  return d;
}

bool outbox::is_poisoned(sequence seq) const {
  return any_poisoned_ && std::find(options_.poisoned.begin(), options_.poisoned.end(), seq) != options_.poisoned.end();
}

/// Rule 13. The clock is asked only where something may expire.
bool outbox::is_expired(const message& x, steady_time now) const {
  const auto named = x.what ? x.what->expires : unix_ms{};
  if (named.value != 0) return options_.clock.time_at(now) >= named;
  const auto ttl = x.terms && x.terms->ttl ? *x.terms->ttl : options_.ttl;
  return ttl.count() != 0 && options_.clock.time_at(now).value - x.appended.value >= ttl.count();
}

/// Rule 12: it is out of flight and queue at once, and settled once the record that says so is durable, with its dead letter.
void outbox::give_up(entry what, dead_reason reason, std::string detail) {
  if (!settle_in_cursor(*what.what)) return;
  leaving_.push_back({std::move(what), reason, std::move(detail), false});
  make_dirty(true);
}

/// @returns the place of the next one.
outbox::entry* outbox::give_up_in_flight(entry* at, dead_reason reason, std::string detail) {
  const auto index = at - flight_.data();
  give_up(std::move(*at), reason, std::move(detail));
  flight_.erase(flight_.begin() + index);
  return flight_.data() + index;
}

/// Counts one more failure.
bool outbox::fails_too_often(entry& x) const {
  if (x.failures < std::numeric_limits<std::uint16_t>::max()) ++x.failures;
  const auto most = x.what->terms && x.what->terms->max_attempts ? *x.what->terms->max_attempts : options_.max_attempts;
  return most != 0 && x.failures >= most;
}

/// Rule 13, of what nobody asks for. Beyond what was counted a message has not been heard of yet; beyond `known_` each one given up is a hole in the cursor.
void outbox::expire(const std::vector<message_ptr>& candidates, steady_time now, outbox_effects& out) {
  const auto leaving_before = leaving_.size();
  for (const auto& x : candidates) {
    if (x->seq > counted_ || leaving_.size() >= leaving_max()) break;
    if (cursor_.is_acked(x->seq) || !is_expired(*x, now)) continue;
    if (cursor_.above().size() >= options_.holes_max) raise_floor();
    if (cursor_.above().size() >= options_.holes_max) break;
    const auto in_flight = std::find_if(flight_.begin(), flight_.end(), [&](const entry& y) { return y.what->seq == x->seq; });
    if (in_flight != flight_.end()) {
      if (attached_ == 0) give_up_in_flight(&*in_flight, dead_reason::expired, {});
      continue;
    }
    const auto queued = std::find_if(queue_.begin(), queue_.end(), [&](const message_ptr& y) { return y->seq == x->seq; });
    if (queued != queue_.end()) queue_.erase(queued);
    give_up({.what = x}, dead_reason::expired, {});
  }
  if (leaving_.size() == leaving_before) return;
  raise_floor();
  fill(now, out);
}

/// Until its dead letter is on its way to the store, an ack is in time.
void outbox::ack_leaving(unsigned slot, sequence up_to, outbox_effects& out) {
  out.acked += std::erase_if(leaving_, [&](const leaving& x) { return !x.saving && x.what.what->seq <= up_to && (x.what.sent_to & bit(slot)) != 0; });
}

bool outbox::ack_leaving(const std::string& id, outbox_effects& out) {
  const auto found = std::find_if(leaving_.begin(), leaving_.end(), [&](const leaving& x) { return x.what.what->id == id; });
  if (found == leaving_.end()) return false;
  if (!found->saving) {
    ++out.acked;
    leaving_.erase(found);
  }
  return true;
}

/// Rule 8: the retry of a nacked message may cross with a cumulative ack that the client sent before it saw it, so that connection acks it by id.
void outbox::nack(const std::vector<std::string>& ids, steady_time now, outbox_effects& out, unsigned slot, const nack_terms& terms) {
  const auto who = slot < slots_max ? bit(slot) : attached_;
  bool any_left = false;
  for (const auto& id : ids) {
    // The nack may cross with the last ack timeout: what was given up meanwhile is not covered by this connection's cumulative acks either.
    for (auto& x : leaving_)
      if (x.what.what->id == id) x.what.sent_to &= ~who;
    auto* const x = std::find_if(flight_.data(), flight_.data() + flight_.size(), [&](const entry& y) { return y.what->id == id; });
    if (x == flight_.data() + flight_.size()) continue;
    x->nacked_by |= who;
    x->sent_to &= ~who;
    if (!x->waits_for_retry && fails_too_often(*x)) {
      give_up_in_flight(x, dead_reason::nacked, terms.reason);
      any_left = true;
      continue;
    }
    if (!x->waits_for_retry) start_retry(*x, now);
    if (terms.retry_in) set_due(*x, now + *terms.retry_in);
  }
  if (any_left) fill(now, out);
  tick(now, out);
}

void outbox::in_progress(unsigned slot, const std::vector<std::string>& ids, steady_time now) {
  if (slot >= slots_max) return;
  for (auto& x : flight_) {
    if ((x.waits_for_retry && (x.nacked_by & bit(slot)) != 0) || std::find(ids.begin(), ids.end(), x.what->id) == ids.end()) continue;
    x.waits_for_retry = false;
    x.asked |= bit(slot);
    set_due(x, now + options_.ack_timeout);
  }
}

void outbox::bury(outbox_effects& out) {
  raise_floor();
  for (auto& x : leaving_) {
    x.saving = true;
    out.to_bury.push_back({x.what.what, x.reason, x.what.attempt, x.detail});
  }
}

void outbox::buried(outbox_effects& out) {
  std::erase_if(leaving_, [&](const leaving& x) {
    if (x.saving) out.buried.push_back(x.reason);
    return x.saving;
  });
}

}  // namespace doorstep
