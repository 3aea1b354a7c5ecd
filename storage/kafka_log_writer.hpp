// SPDX-License-Identifier: Apache-2.0
// The appending side of kafka_log: entries become records in the caller's thread, their reports come on a thread of its own. ROUTER -> here -> Kafka.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/kafka_producer.hpp"
#include "storage/message_log.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace doorstep {

/// Where each shard ends, as far as this process knows. Any thread.
class log_ends {
public:
  explicit log_ends(std::size_t shards) : ends_(shards) {}
  std::uint64_t at(std::uint32_t shard) const { return ends_[shard].load(std::memory_order_acquire); }
  void raise(std::uint32_t shard, std::uint64_t end) {
    auto known = ends_[shard].load(std::memory_order_relaxed);
    while (known < end && !ends_[shard].compare_exchange_weak(known, end, std::memory_order_release, std::memory_order_relaxed)) {}
  }

private:
  std::vector<std::atomic<std::uint64_t>> ends_;
};

class kafka_log_writer final : private producer_events {
public:
  kafka_log_writer(const log_config& options, metrics& counts, log_ends& ends);
  ~kafka_log_writer() override;

  result<void> open();
  /// Begins; `generation` is part of every seq.
  void start(std::uint32_t generation);
  bool append(std::vector<log_entry> entries, admission who, append_done done);
  std::size_t queued() const;
  /// Waits a bounded time for what is under way, then gives it up.
  void stop();

private:
  /// One append() until all its reports are there.
  struct pending;
  struct slot {
    pending* of = nullptr;
  };

  void delivered(void* tag, std::int32_t partition, const result<std::int64_t>& offset) override;
  void producer_trouble(bool, const std::string&) override {}  // the reader sees it too, and when it is over: nobody may be publishing then
  void report_on();
  void renew(const std::string& why);
  void settle(pending& of, std::size_t count);

  const log_config options_;
  metrics& counts_;
  log_ends& ends_;
  const std::size_t record_limit_;
  std::uint32_t generation_ = 0;
  std::thread reporting_;
  std::mutex joining_;

  mutable std::mutex mutex_;
  std::condition_variable settled_;
  std::shared_ptr<kafka_producer> producer_;
  std::size_t queued_ = 0;
  bool stopped_ = false, broken_ = false, done_ = false;
};

}  // namespace doorstep
