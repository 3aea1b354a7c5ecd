// SPDX-License-Identifier: Apache-2.0
// What a record source calls, on its own thread: spawns a PARTITION for each partition that the group gives us, and hands its records on.
#pragma once

#include "actors/node.hpp"
#include "actors/services.hpp"
#include "storage/record_source.hpp"

#include <caf/actor_system.hpp>

#include <map>

namespace doorstep {

class source_door final : public source_listener {
public:
  source_door(caf::actor_system& system, lane& where, const services& parts, const source_config& options, record_source& source, router_actor router,
              node_actor node);

  void assigned(const topic_partition& what, std::uint32_t generation, std::int64_t committed) override;
  void revoked(const topic_partition& what) override;
  void records(source_batch batch) override;
  void reachable(bool yes, const std::string& why) override;

  record_source& source() const { return source_; }

private:
  caf::actor_system& system_;
  lane& where_;
  const services& parts_;
  const source_config& options_;
  record_source& source_;
  router_actor router_;
  node_actor node_;
  std::map<topic_partition, partition_actor> partitions_;  // of the source's thread
};

}  // namespace doorstep
