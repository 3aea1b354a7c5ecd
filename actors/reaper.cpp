// SPDX-License-Identifier: Apache-2.0
#include "actors/reaper.hpp"

#include "runtime/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// Messages looked at in one step, and the rest between two steps: about 20,000 a second at most, and others have the store for most of the time.
constexpr std::size_t step_messages = 1'000;
constexpr milliseconds step_pause{50};

void step(reaper_self self) {
  const auto& state = self->state;
  const auto& options = state.parts->options;
  // Within the dedup window a message is needed to recognise its duplicates.
  const auto keep = std::max(options.store.retention, options.log.dedup_window);
  const unix_ms before{state.parts->clock.time_at(self->clock().now()).value - keep.count()};
  state.parts->store.reap({before, state.from, step_messages},
                          [me = caf::actor_cast<reaper_actor>(self)](result<reaped> x) { caf::anon_send(me, reap_finished{std::move(x)}); });
}

/// One line when it begins to fail and one when it works again.
void note_health(reaper_state& state, const result<reaped>& x) {
  if (x.has_error() == state.failing) return;
  state.failing = x.has_error();
  if (state.failing)
    log_line(log_level::warn, "reaper", "retention-failing")
        .with("why", to_string(x.error()))
        .with("effect", "old messages stay until it works again");
  else
    log_line(log_level::warn, "reaper", "retention-recovered");
}

void stepped(reaper_self self, const result<reaped>& x) {
  auto& state = self->state;
  const auto interval = state.parts->options.store.retention_interval;
  note_health(state, x);
  if (!x) {
    self->delayed_send(self, interval, alarm{});
    return;
  }
  state.removed += x->removed;
  state.parts->counts.retained_out.add(static_cast<double>(x->removed));
  state.from = x->next;
  if (!state.from.empty()) {
    self->delayed_send(self, step_pause, alarm{});
    return;
  }
  ++state.passes;
  if (const auto removed = state.removed - std::exchange(state.removed_before_pass, state.removed); removed > 0)
    log_line(log_level::info, "reaper", "retention-pass").with("removed", removed);
  self->delayed_send(self, interval, alarm{});
}

}  // namespace

reaper_actor::behavior_type reaper(reaper_self self, const services* parts) {
  self->state.parts = parts;
  if (parts->options.store.retention.count() > 0) self->delayed_send(self, parts->options.store.retention_interval, alarm{});
  return {
      [=](alarm) { step(self); },
      [=](const reap_finished& x) { stepped(self, x.what); },
      [=](look) -> actor_report {
        auto& state = self->state;
        actor_report x{"reaper", "0", {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"removed", state.removed}, {"passes", state.passes}, {"failing", state.failing ? 1 : 0}};
        return x;
      },
  };
}

}  // namespace doorstep
