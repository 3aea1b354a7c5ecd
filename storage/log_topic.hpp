// SPDX-License-Identifier: Apache-2.0
// The internal topic: how it is made, and what about it is unsafe (docs/decisions/0007-kafka-log.md). The rules are pure; open_log_topic() asks the brokers and
// blocks, on the opening thread.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "storage/kafka_handles.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace doorstep {

/// A topic as the brokers describe it.
struct topic_facts {
  std::uint32_t partitions = 0;
  std::uint32_t replicas = 0;                   ///< of the partition that has fewest
  std::map<std::string, std::string> settings;  ///< effective ones, the brokers' defaults included
};

/// The largest record, as a broker counts it, that the log is asked to take: escaping may double a message.
std::size_t log_record_limit(const log_config& options);
/// What the topic is made with.
kafka_settings log_topic_settings(const log_config& options);
/// @returns ec::bad_config that names the setting and the command to run, where the topic could lose what was accepted or does not fit the configuration.
result<void> check_log_topic(const topic_facts& topic, const log_config& options);

/// What every client of the log is made with.
kafka_settings log_client_settings(const log_config& options);
/// Makes the topic where it is missing, then checks it. @returns ec::bad_config, or ec::unavailable for the world.
result<void> open_log_topic(const log_config& options);
/// Members that a consumer group has at the moment.
result<std::size_t> log_group_members(const log_config& options);

}  // namespace doorstep
