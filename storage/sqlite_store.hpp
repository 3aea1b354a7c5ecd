// SPDX-License-Identifier: Apache-2.0
// The message store in a SQLite database; shares the log's rows where the database is the log too. Answers come from the database's threads.
#pragma once

#include "storage/message_store.hpp"
#include "storage/sqlite_database.hpp"

#include <memory>

namespace doorstep {

class sqlite_store final : public message_store {
public:
  explicit sqlite_store(std::shared_ptr<sqlite_database> database);
  ~sqlite_store() override;

  bool shares_log() const override;
  store_identity identity() const override;
  std::vector<shard_position> positions() const override;
  void write(store_batch batch, urgency when, store_done<void> done) override;
  void load(address box, std::size_t limit, store_done<stored_mailbox> done) override;
  void devices(address user, store_done<std::vector<cursor_record>> done) override;
  void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) override;
  void read(address user, sequence after, std::size_t limit, store_done<stored_page> done) override;
  void locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) override;
  void history(address box, history_query query, store_done<stored_history> done) override;
  void reap(reap_step step, store_done<reaped> done) override;
  void dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) override;
  void stop_reading() override;
  void stop() override;

private:
  const std::shared_ptr<sqlite_database> database_;
};

/// A store of its own, beside another log: messages come with write().
/// @returns ec::bad_config where it belongs to another log.
result<std::unique_ptr<message_store>> open_sqlite_store(const config& options, const log_identity& log, metrics& counts);

}  // namespace doorstep
