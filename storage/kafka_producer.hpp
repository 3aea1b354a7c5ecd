// SPDX-License-Identifier: Apache-2.0
// librdkafka's idempotent producer in our words: what is produced to a partition lands there in its order, once, over every retry. produce() from any thread and
// without blocking; the rest on one thread, which gets the reports within poll().
#pragma once

#include "runtime/error.hpp"
#include "runtime/ids.hpp"
#include "storage/kafka_handles.hpp"
#include "storage/log_record.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace doorstep {

/// Called from within poll().
class producer_events {
public:
  virtual ~producer_events() = default;
  /// What became of a record: its offset once all in-sync replicas have it, or why nobody knows.
  virtual void delivered(void* tag, std::int32_t partition, const result<std::int64_t>& offset) = 0;
  virtual void producer_trouble(bool down, const std::string& why) = 0;
};

class kafka_producer {
public:
  /// @returns ec::bad_config where librdkafka does not take a setting.
  static result<std::unique_ptr<kafka_producer>> make(const std::string& who, const kafka_settings& settings, producer_events& events);
  ~kafka_producer();
  kafka_producer(const kafka_producer&) = delete;
  kafka_producer& operator=(const kafka_producer&) = delete;

  /// @returns why it was not taken; then it is not reported. Else delivered() comes for `tag`, however long the brokers are away.
  std::optional<failure> produce(const std::string& topic, std::int32_t partition, const encoded_record& what, void* tag);
  void poll(milliseconds timeout);
  /// Ends a poll that waits, or else the next one. Any thread.
  void wake();
  /// Gives up what is under way: each is reported, as one of which nobody knows whether it landed.
  void purge();
  /// Why librdkafka has ended this producer for good, if it has. Cheap.
  std::optional<std::string> fatal_error() const;

private:
  struct impl;
  explicit kafka_producer(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
