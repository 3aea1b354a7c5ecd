// SPDX-License-Identifier: Apache-2.0
// ROUTER: turns records and published events into log entries and appends them in the order they came. Runs on the intake lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <memory>
#include <vector>

namespace doorstep {

/// Holds nothing between messages: what is under way is bounded by the partitions' credit and the log's queue.
struct router_state {
  explicit router_state(on_lane<router_actor::base>*) {}
  static inline const char* name = "router";

  std::uint64_t records = 0, published = 0;
  actor_age age;
};
using router_self = caf::stateful_actor<router_state, on_lane<router_actor::base>>;

/// One log entry a recipient.
void add_entries(const std::shared_ptr<const event>& what, const std::vector<address>& to, const origin& from, unix_ms now,
                 std::vector<log_entry>& entries);

router_actor::behavior_type router(router_self* self, const services* parts);

}  // namespace doorstep
