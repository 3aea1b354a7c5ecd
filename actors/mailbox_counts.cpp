// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox_counts.hpp"

namespace doorstep {

namespace {

void count_buried(dead_reason reason, const metrics& counts, mailbox_state& state) {
  counts.dead.add();
  ++state.given_up[static_cast<std::size_t>(reason)];
  const counter* by_reason = nullptr;
  if (reason == dead_reason::max_attempts) by_reason = &counts.attempts_exhausted;
  if (reason == dead_reason::nacked) by_reason = &counts.given_up_nacked;
  if (reason == dead_reason::expired) by_reason = &counts.expired;
  if (reason == dead_reason::overflow) by_reason = &counts.overflowed;
  if (reason == dead_reason::poison) by_reason = &counts.poisoned;
  if (by_reason != nullptr) by_reason->add();
}

}  // namespace

void count_effects(const outbox_effects& x, const metrics& counts, mailbox_state& state, steady_time now) {
  if (x.superseded > 0) {
    counts.superseded.add(static_cast<double>(x.superseded));
    state.superseded += x.superseded;
  }
  if (x.acked > 0) counts.acked.add(static_cast<double>(x.acked));
  if (x.repeated > 0) counts.ack_repeats.add(static_cast<double>(x.repeated));
  if (x.timed_out > 0) counts.ack_timeouts.add(static_cast<double>(x.timed_out));
  for (const auto reason : x.buried) count_buried(reason, counts, state);
  for (const auto& [pushed_at, appended] : x.acked_times) counts.push_to_ack.observe(now - pushed_at);
  if (x.pushes.empty()) return;
  counts.pushed.add(static_cast<double>(x.pushes.size()));
  if (x.redelivered > 0) counts.redelivered.add(static_cast<double>(x.redelivered));
  const auto wall = wall_now();
  for (const auto& p : x.pushes)
    if (p.attempt == 1 && !p.redelivered) counts.publish_to_push.observe(milliseconds{wall.value - p.what->appended.value});
}

}  // namespace doorstep
