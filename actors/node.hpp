// SPDX-License-Identifier: Apache-2.0
// NODE: the top of the tree: watches everybody but mailboxes and sessions (the SHARDs see to those), gathers the look, runs the drain in order.
// Any of its children failing ends the process with exit code 1: a restart is a replay, and it is quicker than doubt. Runs on CAF's scheduler.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <functional>
#include <unordered_map>
#include <vector>

namespace doorstep {

/// A partition came: watch it.
struct watch_partition {
  partition_actor who;
};
struct watch_session {
  session_actor who;
};

using node_actor = caf::typed_actor<caf::reacts_to<watch_partition>, caf::reacts_to<watch_session>,
                                    caf::reacts_to<send_away>,      // to every session, as is the next one
                                    caf::reacts_to<join_channels>,  // from RELOADER
                                    caf::replies_to<disconnect_sessions>::with<disconnected>,
                                    caf::replies_to<drain>::with<drained>,  // to every shard; answered when all have ended
                                    caf::reacts_to<drained>, caf::replies_to<look>::with<actor_report>>;

struct node_birth {
  std::vector<writer_actor> writers;
  std::vector<shard_actor> shards;
  router_actor router;
  reaper_actor reaper;
  mirror_actor mirror;                     ///< null where there is none
  std::function<void(std::string)> fatal;  ///< called once, with what failed
};

struct node_state {
  explicit node_state(node_actor::pointer) {}
  static inline const char* name = "node";

  node_birth birth;
  std::vector<partition_actor> partitions;
  std::unordered_map<caf::actor_addr, session_actor> sessions;
  std::size_t shards_left = 0;
  caf::typed_response_promise<drained> drained_promise;
  bool draining = false;
  actor_age age;
};
using node_self = node_actor::stateful_pointer<node_state>;

node_actor::behavior_type node(node_self self, node_birth birth);

}  // namespace doorstep

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(doorstep::watch_partition)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(doorstep::watch_session)
