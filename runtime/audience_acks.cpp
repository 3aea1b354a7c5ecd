// SPDX-License-Identifier: Apache-2.0
// What readers say of messages, and how their cursors become durable.
#include "runtime/audience.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint32_t bit(std::size_t i) { return std::uint32_t{1} << i; }
constexpr std::size_t batch_max = 4096;
}  // namespace

void audience::settle(reader& r, unsigned i, std::vector<std::string>* told, audience_effects& out) {
  if (told != nullptr) told->push_back((*at(r, i))->id);
  r.settled |= bit(i);
  r.waits &= ~bit(i);
  ++out.acked;
}

void audience::ack(reader_id who, std::uint32_t session, std::uint64_t token, sequence up_to, std::vector<std::string> ids, bool urgent,
                   steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (!r.joined) return;
  if (r.behind && !r.behind->page) {
    // Which messages are meant is only known once they are read.
    if (waiting_.size() < waiting_acks_max) waiting_.push_back({who, session, token, up_to, std::move(ids), urgent});
    return want_page(who, now, out);
  }
  audience_effects::answer answer{who, session, token, {}, {}, {}};
  const auto before = r.settled;
  audience_effects::told others{who, session, {}, {}};
  auto* told = r.sessions > 1 ? &others.ids : nullptr;
  for (unsigned i = 0; i < r.sent; ++i)
    if (((r.settled | r.nacked) & bit(i)) == 0 && (*at(r, i))->seq <= up_to) settle(r, i, told, out);
  for (auto& id : ids) {
    bool found = false;
    // Also what an earlier life pushed and this one has not yet.
    for (unsigned i = 0; i < window_max && !found; ++i) {
      const auto* what = at(r, i);
      if (what == nullptr) break;
      if ((*what)->id != id) continue;
      found = true;
      if ((r.settled & bit(i)) == 0) settle(r, i, told, out);
    }
    (found ? answer.ids : answer.unknown).push_back(std::move(id));
  }
  if (r.settled != before) make_dirty(who, urgent);
  if (urgent && r.dirty) urgent_ = true;
  const auto needs = r.dirty ? r.version + 1 : r.version;
  const bool waits = r.dirty || r.saving;
  if (!others.ids.empty()) told_.push_back({std::move(others), needs});
  advance(r, now);
  fill(who, now, out);
  if (waits) {
    pending_.push_back({std::move(answer), needs});
  } else {
    answer.up_to = r.durable;
    out.answers.push_back(std::move(answer));
  }
}

void audience::take_waiting_acks(reader_id who, steady_time now, audience_effects& out) {
  if (waiting_.empty() || (readers_[who].behind && !readers_[who].behind->page)) return;
  std::vector<waiting_ack> mine;
  std::erase_if(waiting_, [&](waiting_ack& x) {
    if (x.who != who) return false;
    mine.push_back(std::move(x));
    return true;
  });
  for (auto& x : mine) {
    if (x.nack)
      nack(who, x.ids, *x.nack, now, out);
    else
      ack(who, x.session, x.token, x.up_to, std::move(x.ids), x.urgent, now, out);
  }
}

void audience::nack(reader_id who, const std::vector<std::string>& ids, const nack_terms& terms, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (!r.joined) return;
  if (r.behind && !r.behind->page) {
    // In its order: an up_to that comes later must not cover it.
    if (waiting_.size() < waiting_acks_max) waiting_.push_back({who, 0, 0, {}, ids, false, terms});
    return want_page(who, now, out);
  }
  for (const auto& id : ids) {
    for (unsigned i = 0; i < window_max; ++i) {
      const auto* what = at(r, i);
      if (what == nullptr) break;
      if ((*what)->id != id || (r.settled & bit(i)) != 0) continue;
      r.nacked |= bit(i);
      if (i >= r.sent) break;  // about to be pushed again
      if (i == 0 && fail_head(who, dead_reason::nacked, terms.reason, now, out)) break;
      r.waits |= bit(i);
      const auto delay = terms.retry_in ? *terms.retry_in : options_.retry.delay(i == 0 ? r.failures : 1U, random_());
      r.retry_at = std::min(r.retry_at, now + delay);
      note_due(r.retry_at);
      break;
    }
  }
  advance(r, now);
  fill(who, now, out);
}

void audience::in_progress(reader_id who, const std::vector<std::string>& ids, steady_time now) {
  auto& r = readers_[who];
  for (unsigned i = 0; i < r.sent; ++i) {
    const auto* what = at(r, i);
    if (what == nullptr) return;
    if (((r.settled | r.nacked) & bit(i)) != 0 || std::find(ids.begin(), ids.end(), (*what)->id) == ids.end()) continue;
    return restart_deadline(r, now);
  }
}

// --- saving -------------------------------------------------------------------------------------------------------------------------------

void audience::make_dirty(reader_id who, bool urgent) {
  auto& r = readers_[who];
  urgent_ = urgent_ || urgent;
  if (std::exchange(r.dirty, true)) return;
  dirty_.push_back(who);
}

sequence audience::pushed_upto(const reader& r) const {
  auto upto = r.flag_upto;
  if (r.sent > 0) {
    if (const auto* what = at(r, r.sent - 1U)) upto = std::max(upto, (*what)->seq);
  }
  return r.behind ? std::max(upto, r.behind->sent_upto) : upto;
}

/// `open` in every record of a reader: a document that only takes a version is not one.
cursor_record audience::record_of(const reader& r) const {
  // Beyond a page it is known by seqs only.
  auto acked = r.behind ? r.behind->acked : cursor();
  acked.raise(r.floor);
  for (unsigned i = 0; i < window_max; ++i) {
    const auto* what = at(r, i);
    if (what == nullptr) break;
    if ((r.settled & bit(i)) != 0) acked.ack((*what)->seq);
  }
  return {reader_key(options_.of, r.user), std::move(acked), {pushed_upto(r), true}, r.began, r.version};
}

audience::batch audience::begin_save(steady_time) {
  batch out;
  const auto count = std::min(dirty_.size(), batch_max);
  saving_.assign(dirty_.begin(), dirty_.begin() + static_cast<std::ptrdiff_t>(count));
  dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<std::ptrdiff_t>(count));
  for (const auto who : saving_) {
    auto& r = readers_[who];
    r.dirty = false;
    r.saving = true;
    r.unsaved_push = false;
    ++r.version;
    r.saving_floor = r.floor;
    out.cursors.push_back(record_of(r));
  }
  for (auto& x : dead_)
    if (readers_[x.first].saving) dead_saving_.push_back(std::move(x));
  std::erase_if(dead_, [&](const auto& x) { return readers_[x.first].saving; });
  for (const auto& [who, letter] : dead_saving_) out.dead.push_back(letter);
  urgent_ = urgent_ && !dirty_.empty();
  return out;
}

void audience::saved(steady_time now, audience_effects& out) {
  const auto done = std::exchange(saving_, {});
  dead_saving_.clear();
  for (const auto who : done) {
    auto& r = readers_[who];
    r.saving = false;
    r.durable = r.saving_floor;
    r.durable_version = r.version;
  }
  std::erase_if(pending_, [&](pending_answer& x) {
    const auto& r = readers_[x.what.who];
    if (r.durable_version < x.version) return false;
    x.what.up_to = r.durable;
    out.answers.push_back(std::move(x.what));
    return true;
  });
  std::erase_if(told_, [&](pending_told& x) {
    if (readers_[x.what.who].durable_version < x.version) return false;
    x.what.up_to = readers_[x.what.who].durable;
    out.acked_elsewhere.push_back(std::move(x.what));
    return true;
  });
  for (const auto who : done) {
    auto& r = readers_[who];
    const bool fresh = std::exchange(r.fresh, false);
    if (fresh && r.sessions > 0) join(who, now, out);
    forget_if_done(who, out);
  }
}

void audience::save_failed() {
  for (const auto who : std::exchange(saving_, {})) {
    readers_[who].saving = false;
    readers_[who].unsaved_push = true;
    make_dirty(who, true);
  }
  // The letters of these go with the next record of any of them: what is written twice is one.
  for (auto& x : std::exchange(dead_saving_, {})) dead_.push_back(std::move(x));
}

}  // namespace doorstep
