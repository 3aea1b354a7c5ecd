// SPDX-License-Identifier: Apache-2.0
#include "actors/reaper.hpp"

#include "runtime/devices.hpp"
#include "runtime/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// Looked at in one step, and the rest between two steps: about 20,000 a second at most, and others have the store for most of the time.
constexpr std::size_t step_messages = 1'000;
constexpr milliseconds step_pause{50};
/// Of what is past its time fewer at once, and with more time between: each may wake a mailbox.
constexpr std::size_t step_overdue = 200;
constexpr milliseconds overdue_pause{250};

bool looks_for_overdue(const reaper_state::chore& x) { return x.what == reap_kind::expired_named || x.what == reap_kind::expired_by_age; }

std::vector<reaper_state::chore> chores_of(const services& parts) {
  const auto& options = parts.options;
  std::vector<reaper_state::chore> out;
  const auto add = [&](reap_kind what, milliseconds interval, bool of_log = false) {
    reaper_state::chore x;
    x.what = what;
    x.of_log = of_log;
    x.interval = interval;
    out.push_back(std::move(x));
  };
  add(reap_kind::expired_named, options.delivery.expiry_interval);
  if (options.delivery.ttl.count() > 0) add(reap_kind::expired_by_age, options.delivery.expiry_interval);
  if (options.store.retention.count() > 0) add(reap_kind::messages, options.store.retention_interval);
  if (options.dead_letters.retention.count() > 0) add(reap_kind::dead_letters, options.store.retention_interval);
  if (acks_by_device(options.delivery)) add(reap_kind::devices, options.store.retention_interval);
  if (!parts.store.shares_log()) add(reap_kind::messages, options.store.retention_interval, true);
  return out;
}

/// How old something has to be for the chore.
milliseconds age_for(const reaper_state::chore& x, const config& options) {
  // Within the dedup window a message is needed to recognise its duplicates.
  if (x.of_log) return options.log.dedup_window;
  switch (x.what) {
    case reap_kind::messages: return std::max(options.store.retention, options.log.dedup_window);
    case reap_kind::dead_letters: return options.dead_letters.retention;
    case reap_kind::devices: return options.delivery.device_ttl;
    case reap_kind::expired_by_age: return options.delivery.ttl;
    case reap_kind::expired_named: return milliseconds{0};
  }
  return milliseconds{0};
}

void step(reaper_self self) {
  auto& state = self->state;
  const auto& parts = *state.parts;
  const auto& chore = state.chores[state.at];
  const auto now = parts.clock.time_at(self->clock().now());
  reap_step what{
      {now.value - age_for(chore, parts.options).count()}, chore.from, looks_for_overdue(chore) ? step_overdue : step_messages, chore.what};
  what.mirrored_only = parts.mirror != nullptr;
  what.now = now;
  auto tell = [me = caf::actor_cast<reaper_actor>(self)](result<reaped> x) { caf::anon_send(me, reap_finished{std::move(x)}); };
  chore.of_log ? parts.log.reap(std::move(what), std::move(tell)) : parts.store.reap(std::move(what), std::move(tell));
}

/// The chore that is due next, and the time until then.
void rest(reaper_self self) {
  auto& state = self->state;
  const auto next = std::min_element(state.chores.begin(), state.chores.end(), [](const auto& a, const auto& b) { return a.due < b.due; });
  state.at = static_cast<std::size_t>(next - state.chores.begin());
  const auto wait = std::chrono::duration_cast<milliseconds>(next->due - self->clock().now());
  self->delayed_send(self, std::max(milliseconds{0}, wait), alarm{});
}

/// One line when it begins to fail and one when it works again.
void note_health(reaper_state& state, const result<reaped>& x) {
  if (x.has_error() == state.failing) return;
  state.failing = x.has_error();
  if (state.failing)
    log_line(log_level::warn, "reaper", "retention-failing")
        .with("why", to_string(x.error()))
        .with("effect", "what is old stays until it works again");
  else
    log_line(log_level::warn, "reaper", "retention-recovered");
}

/// Their mailboxes decide: they know what is in flight, and the one place where a message is given up is there.
void tell_shards(reaper_self self, const std::vector<overdue>& users) {
  auto& state = self->state;
  std::vector<judge_expired> by_shard(state.shards.size());
  for (const auto& x : users)
    by_shard[static_cast<std::size_t>(shard_of(user_of(x.user), static_cast<std::uint32_t>(state.shards.size())))].users.push_back(x);
  for (std::size_t i = 0; i < by_shard.size(); ++i)
    if (!by_shard[i].users.empty()) self->send(state.shards[i], std::move(by_shard[i]));
}

void count(reaper_state& state, reaper_state::chore& chore, const reaped& x) {
  const auto& counts = state.parts->counts;
  const auto removed = static_cast<double>(x.removed);
  if (chore.what == reap_kind::devices) return counts.devices_forgotten.add(removed);
  state.removed += x.removed;
  chore.removed += x.removed;
  if (chore.of_log)
    counts.log_retained_out.add(removed);
  else if (chore.what == reap_kind::messages)
    counts.retained_out.add(removed);
  else if (chore.what == reap_kind::dead_letters)
    counts.dead_retained_out.add(removed);
}

/// A pass of a chore is through.
void finish(reaper_state& state, reaper_state::chore& chore, const reaped& x) {
  ++state.passes;
  if (const auto removed = std::exchange(chore.removed, 0); removed > 0)
    log_line(log_level::info, "reaper", "retention-pass")
        .with("removed", removed)
        .with("of", chore.of_log                            ? "log"
                    : chore.what == reap_kind::dead_letters ? "dead-letters"
                                                            : "messages");
  if (chore.what != reap_kind::expired_by_age) return;
  // Not from the beginning: all before the first one that was still owed is settled for good.
  chore.from = std::exchange(chore.some_overdue, false) ? chore.again : x.again;
}

void stepped(reaper_self self, const result<reaped>& x) {
  auto& state = self->state;
  auto& chore = state.chores[state.at];
  note_health(state, x);
  if (!x) {
    chore.due = self->clock().now() + chore.interval;
    return rest(self);
  }
  count(state, chore, *x);
  if (!x->expired.empty()) {
    state.expired += x->expired.size();
    if (!std::exchange(chore.some_overdue, true)) chore.again = x->again;
    tell_shards(self, x->expired);
  }
  chore.from = x->next;
  if (!chore.from.empty()) {
    self->delayed_send(self, x->expired.empty() ? step_pause : overdue_pause, alarm{});
    return;
  }
  finish(state, chore, *x);
  chore.due = self->clock().now() + chore.interval;
  rest(self);
}

}  // namespace

reaper_actor::behavior_type reaper(reaper_self self, const services* parts, std::vector<shard_actor> shards) {
  auto& state = self->state;
  state.parts = parts;
  state.shards = std::move(shards);
  state.chores = chores_of(*parts);
  for (auto& x : state.chores) x.due = self->clock().now() + x.interval;
  rest(self);
  return {
      [=](alarm) { step(self); },
      [=](const reap_finished& x) { stepped(self, x.what); },
      [=](look) -> actor_report {
        auto& now = self->state;
        actor_report x{"reaper", "0", {}, 0, self->mailbox().size(), now.age.now(), {}};
        x.numbers = {{"removed", now.removed}, {"users_with_expired", now.expired}, {"passes", now.passes}, {"failing", now.failing ? 1 : 0}};
        return x;
      },
  };
}

}  // namespace doorstep
