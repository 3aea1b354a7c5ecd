// SPDX-License-Identifier: Apache-2.0
// Prepared statements of the writing connection, one function a row kind. Included by .cpp files of the database only. Writing thread.
#pragma once

#include "runtime/message.hpp"
#include "storage/message_store.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace SQLite {
class Database;
}

namespace doorstep {

/// A row of the message table; nothing is copied, so all of it must stay until insert() returns.
struct message_row {
  std::uint64_t row = 0;
  std::uint32_t shard = 0;
  std::uint64_t seq = 0;
  std::string_view address;
  const std::string* id = nullptr;
  unix_ms appended;
  std::uint32_t requeue = 0;
  std::int64_t origin = 0;  ///< id in the origin table, 0 = none
  std::int64_t origin_offset = 0;
  std::string_view reason;  ///< of dead letters, else empty
  const std::string* detail = nullptr;
  const std::string* event = nullptr;
  std::uint64_t bytes = 0;  ///< content_bytes()
  std::string terms{};      ///< delivery terms as JSON, empty = none
  unix_ms expires{};        ///< where the event names a time
};

class sqlite_tables {
public:
  explicit sqlite_tables(SQLite::Database& db);
  ~sqlite_tables();

  void begin();
  void commit();
  void insert(const message_row& x);
  void next_offset(std::uint32_t shard, std::uint64_t offset);
  void position(const shard_position& x);
  void shard_origin(shard_id shard, const origin_position& x);
  /// @param judged false: only to say where messages came from; the log beside the store recognises replays.
  std::int64_t insert_origin(const origin_partition& x, bool judged);
  void origin_at(std::int64_t id, std::int64_t floor, std::uint64_t rescan);
  void insert_journal(std::uint64_t entry, const std::string& records);
  /// An older version of the user's record is ignored.
  void insert(const inbox_record& x);
  /// Where to look for the devices of a user.
  void note_device(const address& box);
  /// @returns by how many there are more now: 0 where the id is there already, or an earlier death of the same message gave way.
  int insert(dead_letter x);
  /// @returns how many rows went.
  int change(const dead_letter_change& x);
  /// The highest seq that the index on disk has of an address, 0 = none.
  std::uint64_t last_seq(std::uint64_t address);

private:
  void inherit(dead_letter& x);

  SQLite::Database& db_;
  std::string address_, reason_, record_;  ///< scratch: SQLiteCpp binds texts without a copy from std::string only
  struct statements;
  std::unique_ptr<statements> sql_;
};

}  // namespace doorstep
