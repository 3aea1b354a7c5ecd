// SPDX-License-Identifier: Apache-2.0
// The mailbox log in a Kafka topic of its own (docs/decisions/0007-kafka-log.md). Verdicts and sinks come from two threads: reports of what was appended, and reading.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/log_identity.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"

#include <memory>

namespace doorstep {

class kafka_log final : public message_log {
public:
  /// Makes the topic where it is missing and checks it. Blocks while brokers are asked.
  /// @returns ec::bad_config with the command to run for a topic that is unsafe or does not fit; ec::unavailable for the world.
  static result<std::unique_ptr<kafka_log>> open(const config& options, metrics& counts);
  ~kafka_log() override;

  /// What the group's offsets say of the log, for the store that is opened beside it.
  log_identity identity() const;
  /// Takes the log for this store and begins to work; before it nothing else may be called. @returns ec::bad_config where the log belongs to another store.
  result<void> claim(const message_store& store);

  std::uint32_t shard_count() const override;
  std::uint32_t generation() const override;
  bool judges_duplicates() const override { return false; }
  bool append(std::vector<log_entry> entries, admission who, append_done done) override;
  void open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) override;
  void grant(shard_id shard, std::size_t records) override;
  void close_shard(shard_id shard) override;
  void stored(shard_id shard, std::uint64_t next_offset) override;
  std::string why_stopped(shard_id shard) const override;
  std::uint64_t end_offset(shard_id shard) const override;
  std::size_t queued() const override;
  std::size_t queue_max() const override;
  void stop() override;

private:
  struct impl;
  explicit kafka_log(std::unique_ptr<impl> x);
  const std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
