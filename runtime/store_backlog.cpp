// SPDX-License-Identifier: Apache-2.0
#include "runtime/store_backlog.hpp"

namespace doorstep {

store_backlog::store_backlog(const store_config& limits, metrics& counts)
    : messages_max_(limits.backlog_messages_max), bytes_max_(limits.backlog_bytes_max), counts_(counts) {
  counts_.store_backlog_max.set(static_cast<double>(messages_max_));
  counts_.store_backlog_bytes_max.set(static_cast<double>(bytes_max_));
}

void store_backlog::add(std::size_t messages, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  messages_ += messages;
  bytes_ += bytes;
  judge();
}

void store_backlog::remove(std::size_t messages, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  messages_ -= messages;
  bytes_ -= bytes;
  judge();
}

void store_backlog::judge() {
  counts_.store_backlog.set(static_cast<double>(messages_));
  counts_.store_backlog_bytes.set(static_cast<double>(bytes_));
  const bool was = is_full();
  const bool is = was ? messages_ > messages_max_ / 4 * 3 || bytes_ > bytes_max_ / 4 * 3 : messages_ >= messages_max_ || bytes_ >= bytes_max_;
  if (was == is) return;
  full_.store(is, std::memory_order_relaxed);
  if (is)
    counts_.away.begin(
        "intake",
        "messages that the store does not have yet reached store.backlog_" + std::string(messages_ >= messages_max_ ? "messages_max" : "bytes_max"),
        "publishers get 503 and sources are paused until the store has caught up");
  else
    counts_.away.end("intake");
}

}  // namespace doorstep
