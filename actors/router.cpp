// SPDX-License-Identifier: Apache-2.0
#include "actors/router.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// More would only be a longer queue in the log, for everybody.
constexpr std::size_t steps_with_log_max = 2;

using done_function = std::function<void(result<std::vector<appended>>)>;

void take_turns(router_self* self) {
  if (!std::exchange(self->state.turn_is_due, true)) self->send(self, go_on{});
}

void append_step(router_self* self, const services& parts, std::uint64_t number, std::vector<log_entry> entries) {
  auto& job = self->state.jobs.at(number);
  ++job.with_log;
  ++self->state.steps_with_log;
  const auto first = job.handed_over;
  job.handed_over += entries.size();
  job.waiting -= std::min(job.waiting, entries.size());
  parts.log.append(std::move(entries), admission::credited,
                   [me = caf::actor_cast<router_actor>(self), number, first](result<std::vector<appended>> what) {
                     caf::anon_send(me, step_appended{number, first, std::move(what)});
                   });
}

std::uint64_t add_job(router_self* self, fan_out_job job) {
  self->state.jobs.emplace(++self->state.jobs_made, std::move(job));
  return self->state.jobs_made;
}

void end_job(router_self* self, std::map<std::uint64_t, fan_out_job>::iterator which) {
  auto job = std::move(which->second);
  self->state.jobs.erase(which);
  if (job.failed)
    job.done(std::move(*job.failed));
  else
    job.done(std::move(job.verdicts));
}

/// Nothing more of a partition may go first, so what waits behind the job fails with it: the partition reads all of it again.
void fail_job(router_self* self, std::uint64_t number, const failure& why) {
  auto& state = self->state;
  const auto* of = state.jobs.at(number).of;
  for (auto x = state.jobs.lower_bound(number); x != state.jobs.end();) {
    const auto here = x++;
    if (here->first != number && (of == nullptr || here->second.of != of)) continue;
    here->second.made = true;
    here->second.waiting = 0;
    here->second.failed = why;
    if (here->second.with_log == 0 && here->first != number) end_job(self, here);
  }
}

/// The next one that may take a step: the oldest of its partition, and after the one whose turn was last.
std::map<std::uint64_t, fan_out_job>::iterator next_turn(router_state& state) {
  const auto may = [&](std::map<std::uint64_t, fan_out_job>::iterator x) {
    if (x->second.made) return false;
    return x->second.of == nullptr ||
           std::none_of(state.jobs.begin(), x, [&](const auto& older) { return older.second.of == x->second.of && !older.second.made; });
  };
  auto first = state.jobs.end();
  for (auto x = state.jobs.begin(); x != state.jobs.end(); ++x) {
    if (!may(x)) continue;
    if (x->first > state.last_turn) return x;
    if (first == state.jobs.end()) first = x;
  }
  return first;
}

void take_turn(router_self* self, const services& parts) {
  auto& state = self->state;
  state.turn_is_due = false;
  if (state.steps_with_log >= steps_with_log_max) return;
  const auto found = next_turn(state);
  if (found == state.jobs.end()) return;
  auto& job = found->second;
  state.last_turn = found->first;
  if (job.of != nullptr && !caf::actor_cast<partition_actor>(job.asked_by)) {
    fail_job(self, found->first, {ec::stopping, "the partition was taken away", {}});
    if (found->second.with_log == 0) end_job(self, found);
    return take_turns(self);
  }
  std::vector<log_entry> entries;
  job.made = !job.work->step(state.rules, job.step_max, entries);
  append_step(self, parts, found->first, std::move(entries));
  take_turns(self);
}

void appended_step(router_self* self, step_appended& x) {
  auto& state = self->state;
  --state.steps_with_log;
  const auto found = state.jobs.find(x.job);
  auto& job = found->second;
  --job.with_log;
  if (x.what) {
    if (job.verdicts.size() < x.first + x.what->size()) job.verdicts.resize(x.first + x.what->size());
    std::move(x.what->begin(), x.what->end(), job.verdicts.begin() + static_cast<std::ptrdiff_t>(x.first));
  } else if (!job.failed) {
    fail_job(self, x.job, x.what.error());
  }
  if (job.made && job.with_log == 0) end_job(self, found);
  take_turns(self);
}

/// The partition's answer. A job that waits does not keep a partition alive that was taken away.
done_function answer_to(const caf::actor_addr& who, std::uint64_t run, std::int64_t first, std::int64_t last) {
  return [=](const result<std::vector<appended>>& what) {
    if (const auto to = caf::actor_cast<partition_actor>(who))
      caf::anon_send(to, routed{run, first, last, what.has_value(), what ? std::string{} : to_string(what.error())});
  };
}

void route_batch(router_self* self, const services& parts, route_records& batch) {
  auto& state = self->state;
  state.records += batch.records.size();
  const auto asked_by = caf::actor_cast<caf::actor_addr>(self->current_sender());
  auto answer = answer_to(asked_by, batch.run, batch.records.front().offset, batch.records.back().offset);
  const auto* of = batch.from.get();
  const auto most = std::max(batch.records.size(), parts.options.routing.fan_out_step);
  const bool waits = std::any_of(state.jobs.begin(), state.jobs.end(), [&](const auto& x) { return x.second.of == of; });
  std::vector<log_entry> entries;
  entries.reserve(batch.records.size());
  batch_fan_out work(std::move(batch), parts);
  if (!waits && !work.step(state.rules, most, entries)) {
    // Also an empty append goes through the log, so that answers keep the order of the batches.
    parts.log.append(std::move(entries), admission::credited, std::move(answer));
    return;
  }
  fan_out_job job;
  job.work = std::make_shared<batch_fan_out>(std::move(work));
  job.of = of;
  job.step_max = most;
  job.done = std::move(answer);
  job.asked_by = asked_by;
  const auto number = add_job(self, std::move(job));
  if (!waits) append_step(self, parts, number, std::move(entries));
  take_turns(self);
}

failure full_queue(const services& parts) {
  // With a log that works the publisher is too fast; with one that does not, nobody can be.
  return {parts.counts.away.has("log") ? ec::unavailable : ec::queue_full, "the mailbox log's queue is full (log.queue_entries_max)", {}};
}

void publish(router_self* self, const services& parts, const publish_events& x) {
  auto& state = self->state;
  if (parts.backlog->is_full()) {
    x.done(failure{ec::unavailable, "the store is behind by as much as it may be (store.backlog_messages_max, store.backlog_bytes_max)", {}});
    return;
  }
  auto opened = request_fan_out::open(x, state.rules, parts);
  if (!opened) {
    x.done(opened.error());
    return;
  }
  const auto count = static_cast<double>(x.events.size());
  const auto most = std::max(x.events.size(), parts.options.routing.fan_out_step);
  auto work = std::make_shared<request_fan_out>(std::move(*opened));
  std::vector<log_entry> entries;
  entries.reserve(std::min(most, work->entries()));
  const bool more = work->step(state.rules, most, entries);
  done_function done = [tell = x.done, work](const result<std::vector<appended>>& what) { what ? tell(work->outcomes(*what)) : tell(what.error()); };
  if (!more) {
    if (!parts.log.append(std::move(entries), admission::bounded, std::move(done))) return x.done(full_queue(parts));
  } else {
    std::size_t ahead = parts.log.queued();
    for (const auto& [number, job] : state.jobs) ahead += job.waiting;
    if (ahead + work->entries() > parts.log.queue_max()) return x.done(full_queue(parts));
    fan_out_job job;
    job.work = work;
    job.step_max = most;
    job.done = std::move(done);
    job.waiting = work->entries();
    append_step(self, parts, add_job(self, std::move(job)), std::move(entries));
    take_turns(self);
  }
  state.published += x.events.size();
  parts.counts.published_in.add(count);
}

}  // namespace

router_actor::behavior_type router(router_self* self, const services* parts) {
  self->state.rules.use(parts->options.routes, parts->counts);
  return {
      [=](route_records& x) { route_batch(self, *parts, x); },
      [=](const publish_events& x) { publish(self, *parts, x); },
      [=](go_on) { take_turn(self, *parts); },
      [=](step_appended& x) { appended_step(self, x); },
      [=](const use_routes& x) {
        self->state.rules.use(x.table, parts->counts);
        return routes_in_use{x.table ? x.table->rules.size() : 0};
      },
      [=](look) -> actor_report {
        auto& state = self->state;
        actor_report x{"router", "0", {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {
            {"records", state.records},      {"published", state.published},     {"routes", state.rules.table ? state.rules.table->rules.size() : 0},
            {"fan_outs", state.jobs.size()}, {"log_queue", parts->log.queued()}, {"log_queue_max", parts->log.queue_max()}};
        return x;
      },
  };
}

}  // namespace doorstep
