// SPDX-License-Identifier: Apache-2.0
// The state of one Kafka source: what other threads ask for, under a mutex, and what only its own thread touches. Private to kafka_source.cpp.
#pragma once

#include "storage/broker_watch.hpp"
#include "storage/kafka_client.hpp"
#include "storage/kafka_partition.hpp"
#include "storage/kafka_source.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace doorstep {

class kafka_source final : public record_source, private kafka_events {
public:
  kafka_source(source_config config, metrics& counters) : config_(std::move(config)), metrics_(counters) {}
  ~kafka_source() override { stop(); }

  result<void> open() {
    auto client = kafka_client::make(config_, *this);
    if (!client) return std::move(client).error();
    client_ = std::move(*client);
    return {};
  }

  const std::string& name() const override { return config_.name; }
  void start(source_listener& listener) override;
  void grant(const topic_partition& what, std::size_t records) override;
  void commit(const topic_partition& what, std::int64_t next_offset) override;
  void rewind(const topic_partition& what, std::int64_t offset) override;
  std::vector<lag> lags() const override;
  void stop() override;

private:
  /// What other threads asked for since the loop looked last.
  struct request {
    std::size_t granted = 0;
    std::int64_t committed = -1;
    std::optional<std::int64_t> rewind;
  };

  // kafka_events, called within poll() and close()
  void gained(std::vector<topic_partition> partitions) override;
  void losing(std::vector<topic_partition> partitions, bool taken) override;
  void trouble(bool down, const std::string& why) override;
  void ended(const std::string& why) override;

  void run();
  void renew(const std::string& why);
  void take_requests();
  void hand_over();
  void set_fetching(held_partition& x);
  void begin_generation(held_partition& x, std::int64_t first);
  void explain_gap(held_partition& x);
  void commit_if_due();
  void send_commit();
  bool finish_commit(milliseconds timeout);
  void commit_before_losing();
  void take(polled x);
  milliseconds poll_time();
  held_partition* find(std::string_view topic, std::int32_t partition);
  held_partition make_partition(const group_offset& from) const;
  void set_reachable(bool yes, const std::string& why);
  void probe();
  void publish_lags();

  const source_config config_;
  metrics& metrics_;
  std::unique_ptr<kafka_client> client_;
  source_listener* listener_ = nullptr;
  std::thread thread_;
  std::atomic<bool> stopping_{false};

  // the source's thread only
  std::map<topic_partition, held_partition> partitions_;
  held_partition* last_found_ = nullptr;
  bool commit_under_way_ = false, commits_fail_ = false;
  steady_time commit_due_{}, lags_due_{}, retry_due_{}, gap_due_{}, renew_due_{};
  broker_watch brokers_;
  std::string last_fault_;
  std::set<std::string, std::less<>> missing_;  ///< topics that were told of

  mutable std::mutex mutex_;
  std::map<topic_partition, request> requests_;
  bool wants_grants_ = false;  ///< the thread sleeps although there is something to do once there is credit
  std::vector<lag> lags_;
};

}  // namespace doorstep
