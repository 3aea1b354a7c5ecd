// SPDX-License-Identifier: Apache-2.0
// What is asked of the brokers before the log is used, with a client of its own that goes away afterwards. A consumer's: it never makes a topic by asking for one.
#include "storage/log_topic.hpp"

#include "runtime/log.hpp"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace doorstep {

namespace {

constexpr milliseconds broker_timeout{10'000};
constexpr milliseconds appears_within{15'000};

failure unavailable(const log_config& options, const std::string& doing, const std::string& why) {
  return {ec::unavailable, doing + " at " + options.brokers + " (log.brokers) failed: " + why, {}};
}

class admin_client {
public:
  static result<admin_client> open(const log_config& options) {
    if (options.brokers.empty()) return failure{ec::bad_config, "log.brokers must be set for log.engine = \"kafka\"", "log.brokers"};
    auto settings = log_client_settings(options);
    add_kafka_options(settings, options.kafka_options);
    auto conf = make_kafka_conf("log", settings);
    if (!conf) return std::move(conf).error();
    char why[512];
    auto* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), why, sizeof why);
    if (client == nullptr) return failure{ec::bad_config, std::string("log: ") + why, {}};
    static_cast<void>(conf->release());  // rd_kafka_new took it
    return admin_client(client, options);
  }
  admin_client(admin_client&& other) noexcept : client_(std::exchange(other.client_, nullptr)), options_(std::move(other.options_)) {}
  admin_client& operator=(admin_client&&) = delete;
  ~admin_client() {
    if (client_ != nullptr) destroy_kafka(client_);
  }

  /// @returns none where there is no such topic.
  result<std::optional<topic_facts>> describe() {
    topic_facts out;
    auto there = read_settings(out.settings);
    if (!there) return there.error();
    if (!*there) return std::optional<topic_facts>();
    if (auto counted = count_partitions(out); !counted) return counted.error();
    return std::optional(std::move(out));
  }

  result<void> create() {
    char why[512];
    auto* const topic =
        rd_kafka_NewTopic_new(options_.topic.c_str(), static_cast<int>(options_.shards), static_cast<int>(options_.replication), why, sizeof why);
    if (topic == nullptr) return failure{ec::bad_config, std::string("log: ") + why, "log.topic"};
    for (const auto& [name, value] : log_topic_settings(options_)) rd_kafka_NewTopic_set_config(topic, name.c_str(), value.c_str());
    auto* made = topic;
    const auto event = ask([&](rd_kafka_queue_t* queue) { rd_kafka_CreateTopics(client_, &made, 1, nullptr, queue); });
    rd_kafka_NewTopic_destroy(topic);
    if (!event) return unavailable(options_, "making the topic " + options_.topic, "no answer");
    if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
      return unavailable(options_, "making the topic " + options_.topic, rd_kafka_event_error_string(event.get()));
    std::size_t count = 0;
    const auto** const results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
    const auto code = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return {};
    const auto* const text = count == 1 ? rd_kafka_topic_result_error_string(results[0]) : nullptr;
    return failure{ec::bad_config,
                   "the topic " + options_.topic + " (log.topic) cannot be made with log.shards = " + std::to_string(options_.shards) +
                       " and log.replication = " + std::to_string(options_.replication) + ": " + (text != nullptr ? text : rd_kafka_err2str(code)) +
                       "; make it by hand, or change these",
                   "log.replication"};
  }

  result<std::size_t> members() {
    const struct rd_kafka_group_list* found = nullptr;
    const auto code = rd_kafka_list_groups(client_, options_.group.c_str(), &found, as_kafka_ms(broker_timeout));
    std::size_t out = 0;
    for (int i = 0; found != nullptr && i < found->group_cnt; ++i) out += static_cast<std::size_t>(std::max(found->groups[i].member_cnt, 0));
    if (found != nullptr) rd_kafka_group_list_destroy(found);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(options_, "looking at the group " + options_.group, rd_kafka_err2str(code));
    return out;
  }

private:
  admin_client(rd_kafka_t* client, const log_config& options) : client_(client), options_(options) {}

  kafka_owned<rd_kafka_event_t> ask(const std::function<void(rd_kafka_queue_t*)>& what) {
    const kafka_owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client_));
    what(queue.get());
    return kafka_owned<rd_kafka_event_t>(rd_kafka_queue_poll(queue.get(), as_kafka_ms(broker_timeout)));
  }

  /// @returns false where there is no such topic.
  result<bool> read_settings(std::map<std::string, std::string>& out) {
    auto* asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, options_.topic.c_str());
    const auto event = ask([&](rd_kafka_queue_t* queue) { rd_kafka_DescribeConfigs(client_, &asked, 1, nullptr, queue); });
    rd_kafka_ConfigResource_destroy(asked);
    const std::string doing = "reading the settings of the topic " + options_.topic;
    if (!event) return unavailable(options_, doing, "no answer");
    if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
      return unavailable(options_, doing, rd_kafka_event_error_string(event.get()));
    std::size_t count = 0;
    const auto** const found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    if (count != 1) return unavailable(options_, doing, "an empty answer");
    const auto code = rd_kafka_ConfigResource_error(found[0]);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return false;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(options_, doing, rd_kafka_err2str(code));
    const auto** const settings = rd_kafka_ConfigResource_configs(found[0], &count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto* const value = rd_kafka_ConfigEntry_value(settings[i]);
      out[rd_kafka_ConfigEntry_name(settings[i])] = value != nullptr ? value : "";
    }
    return true;
  }

  result<void> count_partitions(topic_facts& out) {
    auto* const topic = rd_kafka_topic_new(client_, options_.topic.c_str(), nullptr);
    const struct rd_kafka_metadata* all = nullptr;
    const auto code = rd_kafka_metadata(client_, 0, topic, &all, as_kafka_ms(broker_timeout));
    rd_kafka_topic_destroy(topic);
    const std::string doing = "counting the partitions of the topic " + options_.topic;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(options_, doing, rd_kafka_err2str(code));
    auto why = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (all->topic_cnt == 1) {
      const auto& found = all->topics[0];
      why = found.err;
      out.partitions = static_cast<std::uint32_t>(found.partition_cnt);
      for (int i = 0; i < found.partition_cnt; ++i) {
        const auto replicas = static_cast<std::uint32_t>(found.partitions[i].replica_cnt);
        out.replicas = i == 0 ? replicas : std::min(out.replicas, replicas);
        if (found.partitions[i].leader < 0) why = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
      }
    }
    rd_kafka_metadata_destroy(all);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(options_, doing, rd_kafka_err2str(why));
    return {};
  }

  rd_kafka_t* client_;
  log_config options_;
};

}  // namespace

result<void> open_log_topic(const log_config& options) {
  auto client = admin_client::open(options);
  if (!client) return client.error();
  auto found = client->describe();
  if (found && !*found) {
    if (auto made = client->create(); !made) return made;
    log_line(log_level::info, "log", "topic-made")
        .with("topic", options.topic)
        .with("partitions", options.shards)
        .with("replicas", options.replication);
  }
  // A topic that has just been made, or a broker that has just started, takes a moment until every partition has a leader.
  const auto until = std::chrono::steady_clock::now() + appears_within;
  while ((!found || !*found) && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds{100});
    found = client->describe();
  }
  if (!found) return found.error();
  if (!*found) return unavailable(options, "making the topic " + options.topic, "it does not appear");
  return check_log_topic(**found, options);
}

result<std::size_t> log_group_members(const log_config& options) {
  auto client = admin_client::open(options);
  if (!client) return client.error();
  return client->members();
}

}  // namespace doorstep
