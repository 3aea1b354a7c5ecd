// SPDX-License-Identifier: Apache-2.0
#include "actors/reader_inboxes.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {
/// Until a store that is away, or not as far as the log yet, is asked again.
constexpr milliseconds ask_again{100};
}  // namespace

unsigned reader_inboxes::slot_of(entry& x, const caf::strong_actor_ptr& by) {
  const auto found = std::find(x.by.begin(), x.by.end(), by);
  const auto slot = static_cast<unsigned>(found - x.by.begin());
  if (found == x.by.end()) x.by.push_back(by);
  return slot;
}

std::optional<failure> reader_inboxes::change(const std::string& user, caf::strong_actor_ptr by, inbox_change x, unix_ms now) {
  const failure busy{ec::queue_full, "too many changes of this inbox wait for the store", {}};
  if (open_.size() >= open_max && !open_.contains(user)) return busy;
  auto& at = open_[user];
  x.slot = slot_of(at, by);
  if (at.box) return at.box->change(std::move(x), now) ? std::nullopt : std::optional(busy);
  if (at.early.size() >= inbox::waiting_max) return busy;
  at.early.push_back(std::move(x));
  return std::nullopt;
}

void reader_inboxes::look(const std::string& user) {
  const auto found = open_.find(user);
  if (found == open_.end())
    looks_.push_back(user);
  else if (found->second.box)
    looked_.push_back({user, found->second.box->record()});
  else
    found->second.look = true;
}

void reader_inboxes::lost(const std::string& user, sequence seq) {
  if (losses_.size() < losses_max) losses_.emplace_back(user, seq);
}

void reader_inboxes::take_losses() {
  while (!losses_.empty() && (open_.size() < looks_max || open_.contains(losses_.front().first))) {
    auto& at = open_[losses_.front().first];
    if (at.box)
      at.box->left(losses_.front().second, inbox_mark::dead, wall_now());
    else
      at.lost.push_back(losses_.front().second);
    losses_.pop_front();
  }
}

void reader_inboxes::ask(message_store& store, const channel_actor& who, steady_time now) {
  for (; !looks_.empty() && open_.size() < looks_max; looks_.pop_front()) {
    auto& at = open_[looks_.front()];
    if (at.box)
      looked_.push_back({looks_.front(), at.box->record()});
    else
      at.look = true;
  }
  take_losses();
  if (now < not_before_) return;
  not_before_ = {};
  for (auto& [user, x] : open_) {
    if (x.asking) continue;
    if (!x.box) {
      x.asking = true;
      store.history(of_, history_query{{}, {}, {}, {}, 1, false, reader_key(of_, user)}, [who, user = user](result<stored_history> what) {
        caf::anon_send(who, reader_inbox_read{user, std::move(what)});
      });
    } else if (auto seqs = x.box->wants_places(); !seqs.empty()) {
      x.asking = true;
      store.locate(of_, std::move(seqs), [who, user = user](result<stored_places> what) {
        caf::anon_send(who, reader_places_read{user, std::move(what)});
      });
    }
  }
}

void reader_inboxes::loaded(const reader_inbox_read& x, steady_time now) {
  const auto found = open_.find(x.user);
  if (found == open_.end()) return;
  auto& at = found->second;
  at.asking = false;
  if (!x.what) {
    not_before_ = now + ask_again;
    return;
  }
  at.version = x.what->inbox.version;
  auto start = x.what->inbox;
  start.user = reader_key(of_, x.user);
  at.box.emplace(std::move(start));
  if (std::exchange(at.look, false)) looked_.push_back({x.user, at.box->record()});
  for (const auto seq : std::exchange(at.lost, {})) at.box->left(seq, inbox_mark::dead, wall_now());
  for (auto& one : std::exchange(at.early, {})) at.box->change(std::move(one), wall_now());
}

void reader_inboxes::places(const reader_places_read& x, steady_time now) {
  const auto found = open_.find(x.user);
  if (found == open_.end() || !found->second.box) return;
  auto& at = found->second;
  at.asking = false;
  if (!x.what) at.box->places_failed();
  if (!x.what || !at.box->places(*x.what, wall_now())) not_before_ = now + ask_again;
}

bool reader_inboxes::is_dirty() const {
  return std::any_of(open_.begin(), open_.end(), [](const auto& x) { return x.second.box && x.second.box->is_dirty(); });
}

std::vector<inbox_record> reader_inboxes::begin_save() {
  std::vector<inbox_record> out;
  for (auto& [user, x] : open_) {
    if (!x.box || !x.box->is_dirty()) continue;
    x.saving = true;
    out.push_back(x.box->begin_save(++x.version));
    out.back().user = reader_key(of_, user);
  }
  return out;
}

void reader_inboxes::saved(bool durable) {
  for (auto& [user, x] : open_) {
    if (!std::exchange(x.saving, false)) continue;
    if (!durable)
      x.box->save_failed();
    else if (x.box->saved(x.due))
      looked_.push_back({user, x.box->record()});
  }
}

std::vector<reader_inboxes::reply> reader_inboxes::take_replies() {
  const failure too_many{ec::too_large, "the inbox would hold too many separate marks; mark them with up_to", {}};
  std::vector<reply> out;
  for (auto at = open_.begin(); at != open_.end();) {
    auto& x = at->second;
    if (x.box)
      for (const auto& one : x.box->take_replies()) x.due.push_back(one);
    for (const auto& one : std::exchange(x.due, {}))
      out.push_back({x.by[one.slot], {one.request, one.refused ? std::optional(too_many) : std::nullopt}});
    const bool done = x.box && x.box->is_idle() && !x.asking && !x.saving;
    at = done ? open_.erase(at) : std::next(at);
  }
  return out;
}

}  // namespace doorstep
