// SPDX-License-Identifier: Apache-2.0
#include "actors/source_door.hpp"

#include "actors/partition.hpp"
#include "runtime/log.hpp"

#include <caf/send.hpp>

#include <utility>

namespace doorstep {

source_door::source_door(caf::actor_system& system, lane& where, const services& parts, const source_config& options, record_source& source,
                         router_actor router, node_actor node)
    : system_(system), where_(where), parts_(parts), options_(options), source_(source), router_(std::move(router)), node_(std::move(node)) {}

void source_door::assigned(const topic_partition& what, std::uint32_t generation, std::int64_t committed) {
  log_line(log_level::info, "source", "partition-assigned")
      .with("source", source_.name())
      .with("topic", what.topic)
      .with("partition", what.partition)
      .with("committed", committed);
  auto make = &partition;
  auto who = spawn_on(system_, &where_, make, &parts_, partition_birth{what, generation, committed, &options_, &source_, router_});
  caf::anon_send(who, alarm{});  // it asks for records once it runs
  caf::anon_send(node_, watch_partition{who});
  partitions_[what] = std::move(who);
}

void source_door::revoked(const topic_partition& what) {
  log_line(log_level::info, "source", "partition-revoked").with("source", source_.name()).with("topic", what.topic).with("partition", what.partition);
  if (auto gone = partitions_.extract(what)) caf::anon_send(gone.mapped(), revoke{});
}

void source_door::records(source_batch batch) {
  const auto found = partitions_.find(batch.from);
  if (found != partitions_.end()) caf::anon_send(found->second, take_records{std::move(batch.records)});
}

void source_door::reachable(bool yes, const std::string& why) {
  const auto part = "source " + source_.name();
  if (yes)
    parts_.counts.away.end(part);
  else
    parts_.counts.away.begin(part, why, "what is stored is delivered and acked, nothing new comes from this source");
}

}  // namespace doorstep
