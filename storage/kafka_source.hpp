// SPDX-License-Identifier: Apache-2.0
// record_source on a Kafka consumer group. One thread of its own a source; it calls the listener.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "runtime/metrics.hpp"
#include "storage/record_source.hpp"

#include <memory>

namespace doorstep {

/// Makes the client, but joins the group only at start(). `counters` must outlive the source.
/// @returns ec::bad_config where librdkafka does not take an option (it names it in `field`).
///
/// Beyond what record_source promises:
/// - rewind() leaves the credit as it is; a batch that was handed over meanwhile may still arrive before the rewound records do.
/// - A topic that is not there is told once and waited for, for ever. Brokers that are away are told by source_listener::reachable and waited for, too.
/// - Another process that joins with the same instance_id ends this one's client, and so may a broker that comes back with our commit still under way: a new
///   client joins in its place, at most once a session timeout. Two processes with one name take turns, each with a WARN line, until one of them is renamed.
/// - Generations. librdkafka 2.0 does not know topic ids, so the generation is ours: the wall clock's seconds when the group first met the partition, kept as
///   the commit's metadata ("doorstep generation=N") and committed before the first record is handed over. It is minted anew where the group has no commit
///   with our metadata (Kafka forgets commits when it deletes a topic; an operator reset the group) and where the topic ends before our position (an ERROR
///   is logged; the listener sees revoked, then assigned). A topic made anew that has grown past our position while nobody was looking at its deletion cannot
///   be told apart; delete the group's offsets, too, which Kafka does by itself.
/// - Records that retention removed before they were read are told by one ERROR line with the offsets.
result<std::unique_ptr<record_source>> make_kafka_source(const source_config& config, metrics& counters);

}  // namespace doorstep
