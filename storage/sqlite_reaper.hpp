// SPDX-License-Identifier: Apache-2.0
// Retention: old rows that nobody is owed and no reader of the log needs any more go, with their places in the indexes, a bounded piece a transaction.
// Only rows that the indexes on disk cover are looked at, so the tail in memory never names a row that is gone. Writing thread only.
#pragma once

#include "runtime/stored.hpp"
#include "storage/sqlite_devices.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

class sqlite_reaper {
public:
  /// @param by_device whether devices have cursors of their own
  sqlite_reaper(SQLite::Database& db, const cursor_book& cursors, bool by_device);
  ~sqlite_reaper();

  enum class settled_by : std::uint8_t {
    cursor,   ///< a message that its user's cursor has settled is owed to nobody
    position  ///< of a log beside its store: so is every record below the position
  };
  /// Inside the open transaction, as are the others. @param positions by shard, as they are durable: nothing at or above is taken. Throws SQLite's exceptions.
  reaped step(const reap_step& what, const std::vector<std::uint64_t>& positions, settled_by whom = settled_by::cursor);
  reaped step_dead_letters(const reap_step& what);
  reaped step_expired_named(const reap_step& what);
  reaped step_expired_by_age(const reap_step& what);
  /// @param records of the transaction: a device that has one is there. Takes those that say who is forgotten.
  reaped step_devices(const reap_step& what, std::vector<cursor_record>& records);
  /// The oldest row that the indexes on disk do not cover yet is past its retention too.
  bool waits_for_indexes(const reap_step& what);

private:
  struct statements;
  class judges_of_users;
  void note_gone(const address& channel, sequence seq);
  void forget_places(std::uint64_t address, std::uint64_t first_seq, const std::vector<std::uint64_t>& rows);

  sqlite_devices devices_;
  const std::unique_ptr<statements> sql_;
};

}  // namespace doorstep
