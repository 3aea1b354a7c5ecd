// SPDX-License-Identifier: Apache-2.0
// The mailbox log in the embedded database. Sinks and verdicts come from the database's threads.
#pragma once

#include "storage/message_log.hpp"
#include "storage/sqlite_database.hpp"

#include <memory>

namespace doorstep {

class embedded_log final : public message_log {
public:
  /// @param alone the file holds no store, so its stop is the log's.
  explicit embedded_log(std::shared_ptr<sqlite_database> database, bool alone = false);
  ~embedded_log() override;

  std::uint32_t shard_count() const override;
  std::uint32_t generation() const override;
  bool append(std::vector<log_entry> entries, admission who, append_done done) override;
  void open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) override;
  void grant(shard_id shard, std::size_t records) override;
  void close_shard(shard_id shard) override;
  void stored(shard_id shard, std::uint64_t next_offset) override;
  void reap(reap_step step, std::function<void(result<reaped>)> done) override;
  std::uint64_t end_offset(shard_id shard) const override;
  std::size_t queued() const override;
  std::size_t queue_max() const override;
  void stop() override;

private:
  const std::shared_ptr<sqlite_database> database_;
  const bool alone_;
};

}  // namespace doorstep
