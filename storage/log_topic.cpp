// SPDX-License-Identifier: Apache-2.0
#include "storage/log_topic.hpp"

#include "runtime/number_text.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

std::int64_t number_of(const std::string& text) { return number_in<std::int64_t>(text).value_or(0); }

std::size_t wanted_in_sync(const log_config& options) { return std::min<std::size_t>(options.replication, 2); }

failure wrong(const log_config& options, const std::string& what, const std::string& remedy, const std::string& field) {
  return {ec::bad_config, "the topic " + options.topic + " (log.topic) " + what + "; " + remedy, field};
}

/// The finding with Kafka's own tool that mends it.
failure unsafe(const log_config& options, const std::string& what, const std::string& setting) {
  return wrong(options, what,
               "run kafka-configs.sh --bootstrap-server " + options.brokers + " --alter --entity-type topics --entity-name " + options.topic +
                   " --add-config " + setting,
               setting.substr(0, setting.find('=')));
}

}  // namespace

std::size_t log_record_limit(const log_config& options) { return 2 * options.record_bytes_max + std::size_t{128} * 1024; }

kafka_settings log_topic_settings(const log_config& options) {
  return {{"cleanup.policy", "delete"},
          {"retention.ms", std::to_string(options.outage_budget.count())},
          {"retention.bytes", "-1"},
          {"unclean.leader.election.enable", "false"},
          {"min.insync.replicas", std::to_string(wanted_in_sync(options))},
          {"max.message.bytes", std::to_string(log_record_limit(options))}};
}

result<void> check_log_topic(const topic_facts& topic, const log_config& options) {
  const auto said = [&](const char* name) {
    const auto found = topic.settings.find(name);
    return found == topic.settings.end() ? std::string() : found->second;
  };
  if (topic.partitions != options.shards)
    return wrong(options,
                 "has " + std::to_string(topic.partitions) + " partitions and log.shards is " + std::to_string(options.shards) +
                     ", and users must stay in their shard",
                 "start with --set log.shards=" + std::to_string(topic.partitions) + " if the log was made with as many, or with another log.topic",
                 "log.shards");
  if (topic.replicas < options.replication)
    return wrong(options, "has " + std::to_string(topic.replicas) + " replicas and log.replication is " + std::to_string(options.replication),
                 "run kafka-reassign-partitions.sh to add replicas, or start with --set log.replication=" + std::to_string(topic.replicas),
                 "log.replication");
  if (said("cleanup.policy") != "delete")
    return unsafe(options, "has cleanup.policy=" + said("cleanup.policy") + ", which removes messages that have the same key",
                  "cleanup.policy=delete");
  const auto retention = number_of(said("retention.ms"));
  if (retention != -1 && retention < options.outage_budget.count())
    return unsafe(options,
                  "has retention.ms=" + said("retention.ms") + ", less than log.outage_budget (" + format_duration(options.outage_budget) +
                      "), so an outage of the store may lose messages",
                  "retention.ms=" + std::to_string(options.outage_budget.count()));
  if (said("retention.bytes") != "-1")
    return unsafe(options, "has retention.bytes=" + said("retention.bytes") + ", so a burst may lose messages that are not stored yet",
                  "retention.bytes=-1");
  if (said("unclean.leader.election.enable") != "false")
    return unsafe(options, "has unclean.leader.election.enable=true, which loses messages that were accepted",
                  "unclean.leader.election.enable=false");
  if (number_of(said("min.insync.replicas")) < static_cast<std::int64_t>(wanted_in_sync(options)))
    return unsafe(options, "has min.insync.replicas=" + said("min.insync.replicas") + ", so one lost disk may lose messages that were accepted",
                  "min.insync.replicas=" + std::to_string(wanted_in_sync(options)));
  if (number_of(said("max.message.bytes")) < static_cast<std::int64_t>(log_record_limit(options)))
    return unsafe(options, "has max.message.bytes=" + said("max.message.bytes") + ", less than log.record_bytes_max asks for",
                  "max.message.bytes=" + std::to_string(log_record_limit(options)));
  return {};
}

kafka_settings log_client_settings(const log_config& options) { return {{"bootstrap.servers", options.brokers}, {"client.id", "doorstep-log"}}; }

}  // namespace doorstep
