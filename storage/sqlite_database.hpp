// SPDX-License-Identifier: Apache-2.0
// One SQLite file that is log and store at once: an appended entry is one row, durable with one fsync, for both (docs/decisions/0002-one-durable-write.md).
// Owns one writing thread, which turns queued appends and writes into group commits, and one reading thread. All calls are thread-safe and do not block.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/log_identity.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"

#include <memory>
#include <vector>

namespace doorstep {

class sqlite_database {
public:
  /// @param beside another log, that messages come from with a seq; null where the file is the log as well.
  static result<std::shared_ptr<sqlite_database>> open(const config& options, metrics& counts, const log_identity* beside);
  ~sqlite_database();

  // what embedded_log does
  std::uint32_t shard_count() const;
  std::uint32_t generation() const;
  const std::string& id() const;  ///< random, made with the file
  bool append(std::vector<log_entry> entries, admission who, append_done done);
  void open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink);
  void grant(shard_id shard, std::size_t records);
  void close_shard(shard_id shard);
  std::uint64_t end_offset(shard_id shard) const;
  std::size_t queued() const;
  std::size_t queue_max() const;
  /// Of the log's own rows, where the store is elsewhere.
  void reap_log(reap_step step, store_done<reaped> done);
  void stored(shard_id shard, std::uint64_t next_offset);
  void stop_log();

  // what sqlite_store does
  bool owns_log() const;
  store_identity identity() const;
  std::vector<shard_position> positions() const;
  void write(store_batch batch, urgency when, store_done<void> done);
  void load(address box, std::size_t limit, store_done<stored_mailbox> done);
  void devices(address user, store_done<std::vector<cursor_record>> done);
  void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done);
  void read(address user, sequence after, std::size_t limit, store_done<stored_page> done);
  void locate(address user, std::vector<sequence> seqs, store_done<stored_places> done);
  void history(address box, history_query query, store_done<stored_history> done);
  void reap(reap_step step, store_done<reaped> done);
  void dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done);
  void stop_reading();
  void stop_store();

private:
  struct impl;
  explicit sqlite_database(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

/// A log and the store beside it. `database` where the log is in a file.
struct engines {
  std::shared_ptr<sqlite_database> database;
  std::unique_ptr<message_log> log;
  std::unique_ptr<message_store> store;
};
/// Both on one file, store.path.
result<engines> open_embedded(const config& options, metrics& counts);
/// The log alone, for a store elsewhere; `store` stays null.
result<engines> open_embedded_log(const config& options, metrics& counts);

}  // namespace doorstep
