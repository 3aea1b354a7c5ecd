// SPDX-License-Identifier: Apache-2.0
// The reading side of kafka_log: one consumer for all shards, assigned by hand, on a thread of its own, which calls the sinks. Kafka -> here -> SHARD.
// It also keeps what the log's group remembers beside its offsets: whose log the topic is, and how far the store is, for lag tools.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/broker_watch.hpp"
#include "storage/kafka_fetch.hpp"
#include "storage/kafka_log_writer.hpp"
#include "storage/message_log.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace doorstep {

/// What is written beside the group's offsets, as "doorstep log=ID generation=N shards=N store=ID".
struct log_mark {
  std::string log_id;
  std::uint32_t generation = 0;
  std::uint32_t shards = 0;
  std::string store_id;

  std::string text() const;
  /// @returns none where the text is not ours.
  static std::optional<log_mark> parse(std::string_view text);
};

class kafka_log_reader final : private kafka_events {
public:
  kafka_log_reader(const log_config& options, metrics& counts, log_ends& ends);
  ~kafka_log_reader() override;

  // before start(), on the opening thread; they ask the brokers
  result<void> open();
  /// The mark that the group's offsets carry; none where there is none.
  result<std::optional<log_mark>> mark();
  /// Reads where the shards end.
  result<void> find_ends();
  /// Writes the mark beside an offset of every shard. @param stored how far the store is, by shard
  result<void> claim(const log_mark& mark, const std::vector<std::uint64_t>& stored);
  void start();

  void open_shard(std::uint32_t shard, std::uint64_t from, log_sink sink);
  void grant(std::uint32_t shard, std::size_t records);
  void close_shard(std::uint32_t shard);
  void stored(std::uint32_t shard, std::uint64_t next_offset);
  /// Empty while it is read.
  std::string why_stopped(std::uint32_t shard) const;
  void stop();

private:
  /// What other threads ask for.
  struct wish {
    std::shared_ptr<const log_sink> sink;  ///< null = closed; also tells one opening from the next
    std::uint64_t from = 0;
    std::size_t granted = 0;
    std::uint64_t stored = 0;
    std::string why_stopped;  ///< told by the reading thread
  };
  /// The reading thread's.
  struct reading : fetched_partition {
    std::shared_ptr<const log_sink> sink{};
    bool halted = false;  ///< a record that must not be guessed at
    std::uint64_t stored = 0, mirrored = 0;
  };

  void gained(std::vector<topic_partition>) override {}
  void losing(std::vector<topic_partition>, bool) override {}
  void trouble(bool down, const std::string& why) override;
  void ended(const std::string& why) override;

  void run();
  void take_wishes();
  void hand_over(std::uint32_t shard);
  std::optional<logged> read(std::uint32_t shard, source_record& record);
  void steer();
  void mirror();
  void take(polled x);
  void halt(std::uint32_t shard, std::int64_t offset, const std::string& why, const std::string& action);
  milliseconds poll_time();
  void probe();
  void set_reachable(bool yes, const std::string& why);
  void tell_reachable(const std::string& why);
  std::vector<topic_partition> partitions() const;
  result<void> commit_marks(const std::vector<std::uint64_t>& offsets, milliseconds timeout);

  const log_config options_;
  metrics& counts_;
  log_ends& ends_;
  log_mark mark_;
  std::unique_ptr<kafka_client> client_;
  std::thread thread_;
  std::mutex joining_;
  std::atomic<bool> stopping_{false};

  // the reading thread only
  std::vector<reading> shards_;
  bool commit_under_way_ = false;
  broker_watch brokers_;
  std::string last_fault_;
  steady_time retry_due_{}, mirror_due_{};

  mutable std::mutex mutex_;
  std::vector<wish> wishes_;
  bool wants_grants_ = false;  ///< the thread sleeps although there is something to do once there is credit
};

}  // namespace doorstep
