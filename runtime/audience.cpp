// SPDX-License-Identifier: Apache-2.0
// Readers that come, what they are sent, and what is sent again.
#include "runtime/audience.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace doorstep {

namespace {

constexpr std::uint32_t bit(std::size_t i) { return std::uint32_t{1} << i; }
/// The lowest n.
constexpr std::uint32_t bits(std::size_t n) { return n >= 32 ? UINT32_MAX : bit(n) - 1; }
constexpr std::size_t frames_looked_at = 16;
/// Beyond so many readers a look through all of them is taken no oftener.
constexpr std::size_t readers_looked_at_often = 1024;
constexpr milliseconds look_interval{50};

}  // namespace

void audience_effects::clear() {
  frames.clear();
  pushes.clear();
  joined.clear();
  gaps.clear();
  answers.clear();
  acked_elsewhere.clear();
  load.clear();
  gone.clear();
  reads.clear();
  newest.reset();
  acked = redelivered = timed_out = expired = 0;
  buried.clear();
  lost.clear();
}

audience::audience(audience_options options, std::function<std::uint64_t()> random)
    : options_(std::move(options)),
      random_(std::move(random)),
      recent_after_(options_.known),
      index_(0, user_hash{&readers_}, user_equal{&readers_}) {
  options_.window = std::clamp(options_.window, 1U, window_max);
  options_.page_max = std::max<std::size_t>(options_.page_max, window_max);
}

// --- readers ------------------------------------------------------------------------------------------------------------------------------

reader_id audience::attach(std::string_view user, std::uint32_t session, sequence resume, steady_time now, audience_effects& out) {
  const auto found = index_.find(user);
  if (found != index_.end()) {
    const auto who = *found;
    auto& r = readers_[who];
    ++r.sessions;
    r.flag_upto = std::max(r.flag_upto, resume);
    if (!r.joined) return who;
    out.joined.push_back({who, session, r.durable});
    if (r.sessions == 1) restart_deadline(r, now);
    if (r.behind) {
      // What is not at hand goes to everybody once more, flagged: this session does not have it.
      r.flag_upto = std::max(r.flag_upto, pushed_upto(r));
      r.behind->sent_upto = {};
      want_page(who, now, out);
    }
    push_in_flight(who, session, out);
    fill(who, now, out);
    return who;
  }
  auto who = static_cast<reader_id>(readers_.size());
  if (free_.empty()) {
    readers_.emplace_back();
  } else {
    who = free_.back();
    free_.pop_back();
    readers_[who] = {};
  }
  auto& r = readers_[who];
  r.user = user;
  r.used = true;
  r.sessions = 1;
  r.flag_upto = resume;
  r.floor = last_known();  // what comes from now on is owed to somebody who begins at the latest
  index_.insert(who);
  out.load.push_back(who);
  return who;
}

std::optional<reader_id> audience::find(std::string_view user) const {
  const auto found = index_.find(user);
  return found == index_.end() ? std::nullopt : std::optional(*found);
}

audience::standing audience::standing_of(reader_id who) const {
  const auto& r = readers_[who];
  standing out{r.floor, static_cast<std::size_t>(std::popcount(bits(r.sent) & ~r.settled)), 0, r.behind != nullptr};
  const auto known = r.behind ? (r.behind->page ? r.behind->page->size() - r.at : 0) : r.joined ? recent_.size() - (r.at - first_) : 0;
  out.unacked = known - std::min<std::size_t>(known, static_cast<std::size_t>(std::popcount(r.settled)));
  return out;
}

void audience::detach(reader_id who, audience_effects& out) {
  auto& r = readers_[who];
  if (r.sessions == 0 || --r.sessions > 0) return;
  r.due = r.retry_at = steady_time::max();
  r.waits = r.nacked = 0;
  if (r.behind) r.behind->nacked.clear();
  std::erase_if(waiting_, [&](const waiting_ack& x) { return x.who == who; });
  // The next life has to know how far this one has pushed.
  if (r.joined && r.unsaved_push && pushed_upto(r) > r.floor) make_dirty(who, false);
  forget_if_done(who, out);
}

void audience::forget_if_done(reader_id who, audience_effects& out) {
  auto& r = readers_[who];
  if (!r.used || r.sessions != 0 || !r.loaded || r.dirty || r.saving) return;
  index_.erase(who);
  drop_behind(r);
  r = {};
  free_.push_back(who);
  out.gone.push_back(who);
}

void audience::loaded(reader_id who, const cursor_record& record, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (!r.used || r.loaded) return;
  r.version = r.durable_version = static_cast<std::uint32_t>(record.version);
  if (record.version == 0 || !record.horizon.open) {
    switch (options_.start.what) {
      case channel_start::from::latest: begin(who, r.floor, out); break;
      case channel_start::from::earliest: begin(who, {}, out); break;
      case channel_start::from::last: wait_for_newest_.push_back(who); start_last(now, out);
    }
    return;
  }
  r.loaded = true;
  r.floor = r.durable = record.acked.floor();
  r.began = record.read_upto;
  r.flag_upto = std::max(r.flag_upto, record.horizon.upto);
  if (r.sessions == 0) return forget_if_done(who, out);
  if (!record.acked.above().empty()) make_behind(r).acked = record.acked;
  join(who, now, out);
}

void audience::load_failed(reader_id who, steady_time now) {
  load_again_.push_back(who);
  note_due(now + read_retry);
}

/// Its first cursor: owed is what is above, once that is durable. Until then the reader is told nothing.
void audience::begin(reader_id who, sequence floor, audience_effects&) {
  auto& r = readers_[who];
  r.unread_past = floor < r.floor;
  r.floor = r.began = floor;
  r.loaded = r.fresh = true;
  make_dirty(who, true);
}

void audience::start_last(steady_time, audience_effects& out) {
  const auto count = options_.start.count;
  if (count > recent_.size() && recent_after_) {
    if (!std::exchange(reading_newest_, true)) out.newest = audience_effects::fetch{recent_after_, count - recent_.size()};
    return;
  }
  const auto from = count == 0        ? last_known()
                    : recent_.empty() ? recent_after_
                                      : sequence{recent_[recent_.size() - std::min(count, recent_.size())]->seq.value - 1};
  for (const auto who : std::exchange(wait_for_newest_, {})) begin(who, from, out);
}

void audience::newest(const std::vector<message_ptr>& messages, steady_time, audience_effects& out) {
  reading_newest_ = false;
  sequence from = recent_after_;
  if (!messages.empty()) from = {messages.front()->seq.value - 1};
  for (const auto who : std::exchange(wait_for_newest_, {})) begin(who, from, out);
}

void audience::newest_failed(steady_time now) {
  reading_newest_ = false;
  note_due(now + read_retry);
}

void audience::join(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  r.joined = true;
  out.joined.push_back({who, 0, r.durable});
  place(who, now, out);
  fill(who, now, out);
}

// --- pushing ------------------------------------------------------------------------------------------------------------------------------

bool audience::is_expired(const message& x, steady_time now) const {
  const auto named = x.what ? x.what->expires : unix_ms{};
  if (named.value != 0) return options_.clock.time_at(now) >= named;
  const auto ttl = x.terms && x.terms->ttl ? *x.terms->ttl : options_.ttl;
  return ttl.count() != 0 && options_.clock.time_at(now).value - x.appended.value >= ttl.count();
}

bool audience::is_poisoned(sequence seq) const {
  return !options_.poisoned.empty() && std::find(options_.poisoned.begin(), options_.poisoned.end(), seq) != options_.poisoned.end();
}

/// Once for all: with the record of the first reader that passes over it, so as long as the letter is not durable that one meets it again.
void audience::bury_poison(reader_id who, const message_ptr& what, steady_time now, audience_effects& out) {
  make_dirty(who, true);
  if (std::find(buried_.begin(), buried_.end(), what->seq) != buried_.end()) return;
  buried_.push_back(what->seq);
  dead_.emplace_back(who, dead_letter_of(given_up{what, dead_reason::poison, 0, {}}, options_.clock.time_at(now)));
  out.buried.push_back(dead_reason::poison);
}

bool audience::is_flagged(const reader& r, const message& x) const {
  return x.seq <= options_.may_be_pushed || x.seq <= r.flag_upto || x.requeue != 0;
}

void audience::push(reader_id who, const message_ptr& what, std::uint32_t attempt, bool flagged, std::uint32_t session, audience_effects& out) {
  auto n = out.frames.size();
  const auto least = n > frames_looked_at ? n - frames_looked_at : 0;
  while (n > least) {
    const auto& x = out.frames[n - 1];
    if (x.what == what && x.attempt == attempt && x.redelivered == flagged) break;
    --n;
  }
  if (n == least) {
    out.frames.push_back({what, attempt, flagged});
    n = out.frames.size();
  }
  out.pushes.push_back({who, static_cast<std::uint32_t>(n - 1), session});
  out.redelivered += flagged ? 1 : 0;
}

/// To a session that came later, or to all once they can be read: flagged, and no new attempt.
void audience::push_in_flight(reader_id who, std::uint32_t session, audience_effects& out) {
  const auto& r = readers_[who];
  for (unsigned i = 0; i < r.sent; ++i) {
    if ((r.settled & bit(i)) != 0) continue;
    const auto* what = at(r, i);
    if (what == nullptr) return;
    push(who, *what, i == 0 ? r.failures + 1U : 1U, true, session, out);
  }
}

void audience::fill(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (!r.joined || r.sessions == 0) return;
  do {
    send_next(who, now, out);
  } while (advance(r, now));
  if (r.behind && (!r.behind->page || r.at == r.behind->page->size()) && r.sent == 0) place(who, now, out);
}

void audience::send_next(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  while (r.sent < options_.window) {
    const auto* what = at(r, r.sent);
    if (what == nullptr) break;
    if ((r.settled & bit(r.sent)) == 0) {
      if (is_expired(**what, now)) {
        r.settled |= bit(r.sent);
        ++out.expired;
        make_dirty(who, false);
      } else if (is_poisoned((*what)->seq)) {
        r.settled |= bit(r.sent);
        bury_poison(who, *what, now, out);
      } else if (r.behind && r.behind->not_before > now) {
        note_due(r.behind->not_before);
        break;
      } else {
        push(who, *what, 1, is_flagged(r, **what), 0, out);
        r.unsaved_push = true;
        if (r.behind && options_.replay_rate != 0) {
          const auto slot = std::chrono::nanoseconds(1'000'000'000 / options_.replay_rate);
          // A window at once, then by the rate.
          r.behind->replay_from = std::max(r.behind->replay_from, now - options_.window * slot) + slot;
          if (r.behind->replay_from > now) r.behind->not_before = r.behind->replay_from;
        }
      }
    }
    ++r.sent;
    if (r.due == steady_time::max() && (bits(r.sent) & ~r.settled & ~r.waits) != 0) restart_deadline(r, now);
  }
}

/// What is settled from the oldest on is left behind. @returns whether there was any.
bool audience::advance(reader& r, steady_time now) {
  const auto done = std::min<unsigned>(static_cast<unsigned>(std::countr_one(r.settled)), r.sent);
  if (done > 0) {
    r.floor = (*at(r, done - 1))->seq;
    r.at += done;
    const auto shift = [&](std::uint32_t x) { return done == 32 ? 0U : x >> done; };
    r.settled = shift(r.settled);
    r.nacked = shift(r.nacked);
    r.waits = shift(r.waits);
    r.sent = static_cast<std::uint8_t>(r.sent - done);
    r.asked = static_cast<std::uint8_t>(r.asked - std::min<unsigned>(r.asked, done));
    r.failures = 0;
    r.unread_past = false;
  }
  if ((bits(r.asked) & ~r.settled & ~r.waits) == 0) restart_deadline(r, now);
  if (r.waits == 0) r.retry_at = steady_time::max();
  return done > 0;
}

/// Everything in flight that waits for no retry has the whole of the ack timeout from now on.
void audience::restart_deadline(reader& r, steady_time now) {
  r.asked = r.sent;
  r.due = (bits(r.sent) & ~r.settled & ~r.waits) == 0 ? steady_time::max() : now + options_.ack_timeout;
  note_due(r.due);
}

void audience::deliver(const std::vector<message_ptr>& messages, steady_time now, audience_effects& out) {
  bool any = false;
  for (const auto& x : messages) {
    if (x->seq <= last_known()) continue;
    recent_.push_back(x);
    recent_bytes_ += memory_of(*x);
    any = true;
  }
  if (!any) return;
  for (reader_id who = 0; who < readers_.size(); ++who)
    if (readers_[who].joined && !readers_[who].behind) fill(who, now, out);
  evict();
}

// --- time ---------------------------------------------------------------------------------------------------------------------------------

void audience::time_out(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  auto late = bits(r.asked) & ~r.settled & ~r.waits;
  out.timed_out += static_cast<std::size_t>(std::popcount(late));
  if ((late & 1U) != 0 && fail_head(who, dead_reason::max_attempts, "no ack in time", now, out)) late &= ~1U;
  if (late != 0) {
    r.waits |= late;
    r.retry_at = std::min(r.retry_at, now + options_.retry.delay(std::max<std::uint32_t>(r.failures, 1), random_()));
    note_due(r.retry_at);
  }
  restart_deadline(r, now);
  fill(who, now, out);
  // A reader that stalls costs a cursor, not a page.
  if (r.behind && r.behind->page && r.sent > 0) fall_behind(r);
}

void audience::send_again(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  const auto again = std::exchange(r.waits, 0) & ~r.settled;
  r.retry_at = steady_time::max();
  for (unsigned i = 0; i < r.sent; ++i) {
    if ((again & bit(i)) == 0) continue;
    const auto* what = at(r, i);
    if (is_expired(**what, now)) {
      r.settled |= bit(i);
      ++out.expired;
      make_dirty(who, false);
    } else {
      push(who, *what, std::max<std::uint32_t>(i == 0 ? r.failures : 1U, 1U) + 1, true, 0, out);
    }
  }
  restart_deadline(r, now);
  fill(who, now, out);
}

/// @returns whether the reader's oldest message has failed for the last time: it is a dead letter of (message, user), and settled.
bool audience::fail_head(reader_id who, dead_reason reason, std::string detail, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (r.failures < UINT8_MAX) ++r.failures;
  const auto& what = *at(r, 0);
  const auto most = what->terms && what->terms->max_attempts ? *what->terms->max_attempts : options_.max_attempts;
  if (most == 0 || r.failures < std::min<std::uint32_t>(most, UINT8_MAX)) return false;
  auto letter = dead_letter_of(given_up{what, reason, r.failures, {}}, options_.clock.time_at(now));
  // To be taken back for this user alone.
  const auto user = address::user(r.user).value();
  letter.id = message_id(what->id, options_.of.text(), user);
  letter.to = user;
  letter.detail = std::string(options_.of.text()) + ": " + std::move(detail);
  letter.requeue = 0;
  dead_.emplace_back(who, std::move(letter));
  r.settled |= 1U;
  out.buried.push_back(reason);
  out.lost.push_back({who, what->seq});
  make_dirty(who, true);
  return true;
}

void audience::tick(steady_time now, audience_effects& out) {
  if (now < first_due_) return;
  first_due_ = steady_time::max();
  for (const auto who : std::exchange(load_again_, {})) out.load.push_back(who);
  if (!wait_for_newest_.empty() && !reading_newest_) start_last(now, out);
  for (reader_id who = 0; who < readers_.size(); ++who) {
    auto& r = readers_[who];
    if (!r.joined || r.sessions == 0) continue;
    if (r.due <= now || r.retry_at <= now) {
      if (r.sent > 0 && at(r, 0) == nullptr) {
        want_page(who, now, out);
        (r.due <= now ? r.due : r.retry_at) = now + std::chrono::seconds(1);
      } else {
        if (r.due <= now) time_out(who, now, out);
        if (r.retry_at <= now && r.sent > 0 && at(r, 0) != nullptr) send_again(who, now, out);
      }
    }
    if (r.behind && r.behind->not_before <= now && r.behind->not_before != steady_time{}) {
      r.behind->not_before = {};
      fill(who, now, out);
    }
    note_due(std::min(r.due, r.retry_at));
    if (r.behind && r.behind->not_before != steady_time{}) note_due(r.behind->not_before);
  }
  if (readers_.size() > readers_looked_at_often) first_due_ = std::max(first_due_, now + look_interval);
  read_next(out);
}

std::optional<steady_time> audience::next_due() const {
  if (first_due_ == steady_time::max()) return std::nullopt;
  return first_due_;
}

}  // namespace doorstep
