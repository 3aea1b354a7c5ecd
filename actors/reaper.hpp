// SPDX-License-Identifier: Apache-2.0
// REAPER: retention and expiry. Wakes up now and then and has the store remove what is past its retention, and tell which users are owed something past its time:
// their mailboxes are woken to judge it. A bounded step at a time, so that no commit waits long. Runs on CAF's scheduler.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace doorstep {

struct reaper_state {
  explicit reaper_state(reaper_actor::pointer) {}
  static inline const char* name = "reaper";

  /// Something that is gone through again and again.
  struct chore {
    reap_kind what = reap_kind::messages;
    bool of_log = false;  ///< the log's records, where the store is beside it
    milliseconds interval{};
    steady_time due{};
    std::string from;   ///< where the pass goes on; empty: at its beginning
    std::string again;  ///< expired_by_age: where the next pass begins
    bool some_overdue = false;
    std::uint64_t removed = 0;  ///< in this pass
  };

  const services* parts = nullptr;
  std::vector<shard_actor> shards;
  std::vector<chore> chores;
  std::size_t at = 0;  ///< the chore that the step under way, or the next one, is of
  std::uint64_t removed = 0, expired = 0, passes = 0;
  bool failing = false;
  actor_age age;
};
using reaper_self = reaper_actor::stateful_pointer<reaper_state>;

/// @param shards by number; who is owed something past its time is told there.
reaper_actor::behavior_type reaper(reaper_self self, const services* parts, std::vector<shard_actor> shards);

}  // namespace doorstep
