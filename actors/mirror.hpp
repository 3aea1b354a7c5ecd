// SPDX-License-Identifier: Apache-2.0
// MIRROR: brings every dead letter to the topic that dead_letters.mirror_topic names: reads some that are not marked in the store, produces them, marks those that
// landed. The mark is all it knows, so a crash or brokers that are away only delay it, and a repeat has the same key. Runs on CAF's scheduler.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <vector>

namespace doorstep {

struct mirror_state {
  explicit mirror_state(mirror_actor::pointer) {}
  static inline const char* name = "mirror";

  const services* parts = nullptr;
  std::vector<dead_letter> in_hand;
  std::vector<std::size_t> under_way;  ///< which of those were produced last
  store_batch marks;                   ///< of those that landed
  bool second_try = false;
  bool all_landed = false;
  std::uint64_t mirrored = 0;
  actor_age age;
};
using mirror_self = mirror_actor::stateful_pointer<mirror_state>;

/// Services::mirror is there.
mirror_actor::behavior_type mirror(mirror_self self, const services* parts);

}  // namespace doorstep
