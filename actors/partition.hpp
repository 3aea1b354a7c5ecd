// SPDX-License-Identifier: Apache-2.0
// PARTITION: one partition of a source topic: hands records on with credit, keeps the low watermark, commits it. Runs on the intake lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/services.hpp"
#include "runtime/offsets.hpp"

#include <caf/stateful_actor.hpp>

#include <memory>
#include <optional>

namespace doorstep {

struct partition_birth {
  topic_partition what;
  std::uint32_t generation = 0;
  std::int64_t committed = -1;  ///< -1: the group has none
  const source_config* options = nullptr;
  record_source* source = nullptr;
  router_actor router;
};

struct partition_state {
  explicit partition_state(on_lane<partition_actor::base>*) {}
  static inline const char* name = "partition";

  partition_birth birth;
  std::shared_ptr<const origin_partition> from;
  std::optional<offsets> progress;           ///< none until the first record says where the partition starts
  std::uint64_t run = 0;                     ///< rises with each rewind: answers of former runs are ignored
  std::optional<std::int64_t> resume_below;  ///< after a rewind: records from before it are dropped until one at or below this comes
  std::optional<steady_time> rewound_at;
  std::size_t unreturned = 0;  ///< credit of records that were dropped while stopped
  bool stopped = false;        ///< an append failed; waits for the alarm to rewind
  steady_time rewind_due{};
  std::size_t held = 0;                 ///< credit that is not given while intake is paused, so that the source pauses the partition
  std::optional<steady_time> look_due;  ///< when an alarm comes that sees whether it may be given
  std::uint32_t failures = 0;
  std::uint64_t records = 0;
  actor_age age;
};
using partition_self = caf::stateful_actor<partition_state, on_lane<partition_actor::base>>;

partition_actor::behavior_type partition(partition_self* self, const services* parts, partition_birth birth);

}  // namespace doorstep
