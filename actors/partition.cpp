// SPDX-License-Identifier: Apache-2.0
#include "actors/partition.hpp"

#include "runtime/backoff.hpp"
#include "runtime/log.hpp"
#include "runtime/test_points.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace doorstep {

namespace {

constexpr backoff append_retry{milliseconds{100}, milliseconds{5'000}};
/// Longer than a source needs to drop what it had fetched before a rewind.
constexpr milliseconds rewind_settles{5'000};
/// How often a paused partition looks whether intake goes on.
constexpr milliseconds pause_look{100};

std::uint64_t jitter() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

void give_credit(partition_self* self, const services& parts, std::size_t records) {
  auto& state = self->state;
  state.held += records;
  if (state.held == 0) return;
  if (!parts.backlog->is_full()) {
    state.birth.source->grant(state.birth.what, std::exchange(state.held, 0));
  } else if (!state.look_due) {
    state.look_due = self->clock().now() + pause_look;
    self->delayed_send(self, pause_look, alarm{});
  }
}

/// True for records that were under way when the partition was rewound: they come again, in order, from the watermark on.
bool is_stale(partition_self* self, const take_records& x) {
  auto& state = self->state;
  if (state.stopped) return true;
  if (!state.resume_below) return false;
  // Compaction may have taken the very record we wait for: then what comes after the source has settled is the new run.
  if (x.records.front().offset > *state.resume_below && self->clock().now() < *state.rewound_at + rewind_settles) return true;
  state.resume_below.reset();
  return false;
}

void take(partition_self* self, const services& parts, take_records& x) {
  auto& state = self->state;
  if (x.records.empty()) return;
  if (is_stale(self, x)) {
    // They come again, so their credit goes back; while stopped not at once, or the source would only fetch more to drop.
    if (state.stopped)
      state.unreturned += x.records.size();
    else
      give_credit(self, parts, x.records.size());
    return;
  }
  const auto first = x.records.front().offset;
  if (!state.progress) state.progress.emplace(state.birth.committed >= 0 ? std::min(state.birth.committed, first) : first);
  state.progress->open(first, x.records.back().offset, x.records.size());
  state.records += x.records.size();
  parts.counts.records_in.add(static_cast<double>(x.records.size()));
  if (seeded_bug("early-commit")) {
    state.birth.source->commit(state.birth.what, x.records.back().offset + 1);
    self->delayed_send(state.birth.router, milliseconds{300},
                       route_records{state.run, state.from, state.progress->watermark(), std::move(x.records)});
    return;
  }
  self->send(state.birth.router, route_records{state.run, state.from, state.progress->watermark(), std::move(x.records)});
}

void finished(partition_self* self, const services& parts, const routed& x) {
  auto& state = self->state;
  if (x.run != state.run || state.stopped) return;
  if (x.durable) {
    state.failures = 0;
    const auto before = state.progress->watermark();
    const auto records = state.progress->finish(x.first, x.last);
    if (state.progress->watermark() > before) {
      crash_point("source-commit");
      state.birth.source->commit(state.birth.what, state.progress->watermark());
    }
    give_credit(self, parts, records);
    return;
  }
  // Nothing after the failed batch may go first, so the whole partition stops and reads again from the watermark.
  // The log has said why, once for all of them.
  ++state.failures;
  log_line(log_level::debug, "partition", "append-failed")
      .with("source", state.birth.source->name())
      .with("topic", state.birth.what.topic)
      .with("partition", state.birth.what.partition)
      .with("why", x.why);
  state.stopped = true;
  state.resume_below = state.progress->end() - 1;
  const auto pause = append_retry.ceiling(state.failures) / 2 + append_retry.delay(state.failures, jitter()) / 2;
  state.rewind_due = self->clock().now() + pause;
  self->delayed_send(self, pause, alarm{});
}

void rewind(partition_self* self, const services& parts) {
  auto& state = self->state;
  if (!state.stopped || self->clock().now() < state.rewind_due) return;
  state.stopped = false;
  ++state.run;
  const auto credit = state.progress->in_flight() + std::exchange(state.unreturned, 0);
  state.progress->rewind();
  state.rewound_at = self->clock().now();
  state.birth.source->rewind(state.birth.what, state.progress->watermark());
  give_credit(self, parts, credit);
}

void rang(partition_self* self, const services& parts) {
  rewind(self, parts);
  auto& due = self->state.look_due;
  if (!due || self->clock().now() < *due) return;
  due.reset();
  give_credit(self, parts, 0);
}

}  // namespace

partition_actor::behavior_type partition(partition_self* self, const services* parts, partition_birth birth) {
  auto& state = self->state;
  state.birth = std::move(birth);
  state.from = std::make_shared<const origin_partition>(
      origin_partition{state.birth.source->name(), state.birth.generation, state.birth.what.topic, state.birth.what.partition});
  give_credit(self, *parts, state.birth.options->in_flight_max);
  return {
      [=](take_records& x) { take(self, *parts, x); },
      [=](const routed& x) { finished(self, *parts, x); },
      [=](revoke) { self->quit(); },
      [=](alarm) { rang(self, *parts); },
      [=](look) -> actor_report {
        auto& s = self->state;
        actor_report x{"partition", s.birth.what.topic + "/" + std::to_string(s.birth.what.partition), {}, 0, self->mailbox().size(), s.age.now(),
                       {}};
        x.numbers = {{"records", s.records}, {"failures", s.failures}, {"held", s.held}};
        if (s.progress) {
          x.numbers.emplace_back("watermark", s.progress->watermark());
          x.numbers.emplace_back("in_flight", s.progress->in_flight());
          x.numbers.emplace_back("in_flight_max", s.birth.options->in_flight_max);
        }
        return x;
      },
  };
}

}  // namespace doorstep
