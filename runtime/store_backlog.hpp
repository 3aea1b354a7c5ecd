// SPDX-License-Identifier: Apache-2.0
// What the log has and a store beside it does not have yet, of all shards: kept in memory and pushed all the same while the store is away or slow, up to
// store.backlog_messages_max and store.backlog_bytes_max. Beyond them shards read no further, sources are not given credit, and publishers get 503. Thread-safe.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"

#include <atomic>
#include <cstddef>
#include <mutex>

namespace doorstep {

class store_backlog {
public:
  store_backlog(const store_config& limits, metrics& counts);

  void add(std::size_t messages, std::size_t bytes);
  void remove(std::size_t messages, std::size_t bytes);
  /// From the moment a limit is reached until a quarter of the room is free again, so that it does not open and close with each message.
  bool is_full() const { return full_.load(std::memory_order_relaxed); }

private:
  void judge();

  const std::size_t messages_max_, bytes_max_;
  metrics& counts_;
  std::mutex mutex_;
  std::size_t messages_ = 0, bytes_ = 0;
  std::atomic<bool> full_ = false;
};

}  // namespace doorstep
