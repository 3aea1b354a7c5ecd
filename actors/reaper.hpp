// SPDX-License-Identifier: Apache-2.0
// REAPER: retention. Wakes up now and then and has the store remove what is older than store.retention and owed to nobody, a bounded step at a time, so that no
// commit waits long. Runs on CAF's scheduler.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <string>

namespace doorstep {

struct reaper_state {
  explicit reaper_state(reaper_actor::pointer) {}
  static inline const char* name = "reaper";

  const services* parts = nullptr;
  std::string from;  ///< where the pass goes on; empty: at its beginning
  std::uint64_t removed = 0, passes = 0;
  std::uint64_t removed_before_pass = 0;
  bool failing = false;
  actor_age age;
};
using reaper_self = reaper_actor::stateful_pointer<reaper_state>;

reaper_actor::behavior_type reaper(reaper_self self, const services* parts);

}  // namespace doorstep
