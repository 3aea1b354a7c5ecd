// SPDX-License-Identifier: Apache-2.0
// Acks, the record that makes them durable, and the receipts tied to it (rules 8 to 11 of docs/decisions/0004-outbox.md). Pure, any thread.
#include "runtime/outbox.hpp"

#include <bit>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint64_t bit(unsigned slot) { return std::uint64_t{1} << slot; }
}  // namespace

// --- acks -------------------------------------------------------------------------------------------------------------------------------

void outbox::mark_acked(entry* at, unsigned slot, outbox_effects& out) {
  const auto others = (at->sent_to | at->nacked_by) & ~(slot < slots_max ? bit(slot) : 0);
  if (others != 0) elsewhere_.push_back({others, at->what->id, version_ + 1});
  if (settle_in_cursor(*at->what)) {
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
      if (settle_in_cursor(**at)) {
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
  if (!flight_.empty() && (!any_strict_ || queue_.empty() || flight_.front().what->seq < queue_.front()->seq))
    cursor_.raise({flight_.front().what->seq.value - 1});
  else if (!queue_.empty())
    cursor_.raise({queue_.front()->seq.value - 1});
  else
    cursor_.raise(known_);
  if (cursor_.above().size() >= options_.holes_max) join_holes();
}

// --- the record -------------------------------------------------------------------------------------------------------------------------

cursor_record outbox::begin_save(const address& user, outbox_effects& out) {
  if (!leaving_.empty()) bury(out);
  out.replaced = std::exchange(superseded_, {});
  if (cursor_.above().size() > 1) join_holes();
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

}  // namespace doorstep
