// SPDX-License-Identifier: Apache-2.0
// WRITER: what mailboxes and shards of a lane want to keep becomes one store batch a turn of the lane. Runs on the lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace doorstep {

/// Bounded by its senders: a mailbox and a shard each have at most one write under way.
struct writer_state {
  explicit writer_state(on_lane<writer_actor::base>*) {}
  static inline const char* name = "writer";

  struct waiting {
    std::vector<caf::strong_actor_ptr> mailboxes;
    std::vector<caf::strong_actor_ptr> settling;
    std::vector<caf::strong_actor_ptr> channels;
    std::vector<std::pair<caf::strong_actor_ptr, shard_saved>> shards;
  };
  store_batch next;
  urgency when = urgency::soon;
  waiting next_waiting;
  bool flush_sent = false;
  std::uint64_t batches = 0;
  std::unordered_map<std::uint64_t, waiting> under_way;
  bool failing = false;
  actor_age age;
};
using writer_self = caf::stateful_actor<writer_state, on_lane<writer_actor::base>>;

writer_actor::behavior_type writer(writer_self* self, const services* parts);

}  // namespace doorstep
