// SPDX-License-Identifier: Apache-2.0
// ROUTER: turns records and published events into log entries and appends them in the order they came. Runs on the intake lane.
// What fits a step (routing.fan_out_step, or as many entries as the batch has records) is one append, and nothing of it stays here. What is wider is a job:
// its steps take turns with other jobs and with all that comes in between, at most two of them are with the log at a time, and what comes later of the
// same partition waits behind it.
#pragma once

#include "actors/fan_out.hpp"
#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace doorstep {

/// A fan-out under way.
struct fan_out_job {
  std::shared_ptr<fan_out> work;
  const origin_partition* of = nullptr;  ///< jobs of one partition go one after the other; null: a request
  std::size_t step_max = 0;
  bool made = false;  ///< nothing more comes of `work`
  std::size_t with_log = 0, handed_over = 0;
  std::optional<failure> failed{};
  std::vector<appended> verdicts{};
  std::function<void(result<std::vector<appended>>)> done;
  caf::actor_addr asked_by{};  ///< the partition, not kept alive by this
  std::size_t waiting = 0;     ///< entries of a request that are still to come
};

/// Bounded by the partitions' credit, by log.queue_entries_max for requests, and by the log's queue.
struct router_state {
  explicit router_state(on_lane<router_actor::base>*) {}
  static inline const char* name = "router";

  rule_book rules;
  std::map<std::uint64_t, fan_out_job> jobs;  ///< by age
  std::uint64_t jobs_made = 0, last_turn = 0;
  std::size_t steps_with_log = 0;
  bool turn_is_due = false;
  std::uint64_t records = 0, published = 0;
  actor_age age;
};
using router_self = caf::stateful_actor<router_state, on_lane<router_actor::base>>;

router_actor::behavior_type router(router_self* self, const services* parts);

}  // namespace doorstep
