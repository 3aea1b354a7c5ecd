// SPDX-License-Identifier: Apache-2.0
// Recovery: no special path but reading. A segment whose flush a crash cut short is formed again with the same rows, so its index rows come out the same.
#include "storage/sqlite_recovery.hpp"

#include "storage/origin_text.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t publish_rows = 4096;

std::uint64_t number(SQLite::Database& db, const char* sql) {
  SQLite::Statement q(db, sql);
  return q.executeStep() ? static_cast<std::uint64_t>(q.getColumn(0).getInt64()) : 0;
}

std::string_view text(const SQLite::Column& x) { return {x.getText(), static_cast<std::size_t>(x.getBytes())}; }

/// Rows of before there was the number are read.
std::uint64_t content_bytes_of(const SQLite::Column& known, const SQLite::Column& stored) {
  if (!known.isNull()) return static_cast<std::uint64_t>(known.getInt64());
  const auto what = event_from_json(text(stored));
  return what ? content_bytes(&*what) : 0;
}

using origins_by_id = std::unordered_map<std::int64_t, std::shared_ptr<const origin_partition>>;

/// @returns the lowest row that an origin partition wants to see again.
std::uint64_t restore_origins(SQLite::Database& db, recovered_rows& into, origins_by_id& by_id) {
  auto rescan = UINT64_MAX;
  SQLite::Statement q(db, "SELECT id, source, generation, topic, partition, floor, rescan FROM origin");
  while (q.executeStep()) {
    origin_position at{{q.getColumn(1).getString(), q.getColumn(2).getUInt(), q.getColumn(3).getString(), q.getColumn(4).getInt()},
                       q.getColumn(5).getInt64(),
                       static_cast<std::uint64_t>(q.getColumn(6).getInt64())};
    into.origin_ids[at.from] = q.getColumn(0).getInt64();
    if (!into.owns_log) continue;  // the log beside it recognises replays
    into.origins.restore(at);
    by_id[q.getColumn(0).getInt64()] = std::make_shared<const origin_partition>(at.from);
    rescan = std::min(rescan, at.rescan);
  }
  return rescan;
}

result<void> replay_journal(SQLite::Database& db, recovered_rows& into) {
  SQLite::Statement q(db, "SELECT entry, records FROM cursor_journal ORDER BY entry");
  while (q.executeStep()) {
    const auto entry = static_cast<std::uint64_t>(q.getColumn(0).getInt64());
    std::string_view bytes(static_cast<const char*>(q.getColumn(1).getBlob()), static_cast<std::size_t>(q.getColumn(1).getBytes()));
    std::vector<cursor_record> records;
    while (!bytes.empty()) {
      auto record = decode_cursor(bytes);
      if (!record) return record.error();
      records.push_back(std::move(*record));
    }
    into.cursors.put(std::move(records), entry);
    into.next_entry = entry + 1;
  }
  return {};
}

}  // namespace

recovered_state read_state(SQLite::Database& db) {
  recovered_state out;
  SQLite::Statement q(db, "SELECT next_offset, position FROM shard ORDER BY shard");
  while (q.executeStep()) {
    out.offsets.push_back(static_cast<std::uint64_t>(q.getColumn(0).getInt64()));
    out.positions.push_back(static_cast<std::uint64_t>(q.getColumn(1).getInt64()));
  }
  return out;
}

result<std::vector<std::vector<origin_position>>> read_shard_origins(SQLite::Database& db, std::size_t shards) {
  std::vector<std::vector<origin_position>> out(shards);
  SQLite::Statement q(db, "SELECT shard, name, state FROM shard_origin");
  while (q.executeStep()) {
    auto at = origin_from_state(text(q.getColumn(2)));
    if (!at) return failure{ec::corrupt, "the state of the origin " + q.getColumn(1).getString() + " cannot be read", {}};
    out.at(q.getColumn(0).getUInt()).push_back(std::move(*at));
  }
  return out;
}

result<void> recover_rows(SQLite::Database& db, recovered_rows& into) {
  const auto start = read_state(db);
  const auto& ends = into.owns_log ? start.offsets : start.positions;
  const auto indexed = number(db, "SELECT value FROM state WHERE name = 'indexed_row'");
  const auto flush_to = number(db, "SELECT value FROM state WHERE name = 'flush_to'");
  origins_by_id by_id;
  const auto rescan = restore_origins(db, into, by_id);
  SQLite::Statement q(db,
                      "SELECT row, shard, seq, address, id, appended, requeue, origin, origin_offset, bytes, "
                      "CASE WHEN bytes IS NULL THEN event END FROM message WHERE row >= ? ORDER BY row");
  q.bind(1, static_cast<std::int64_t>(std::min(indexed + 1, rescan)));
  std::vector<indexed_row> rows;
  into.next_row = indexed + 1;
  while (q.executeStep()) {
    const auto row = static_cast<std::uint64_t>(q.getColumn(0).getInt64());
    const auto to = trusted_address(q.getColumn(3).getString());
    if (const auto from = by_id.find(q.getColumn(7).getInt64()); from != by_id.end())
      into.origins.note({from->second, q.getColumn(8).getInt64(), 0}, to, row);
    if (row <= indexed) continue;
    indexed_row x{to.is_dead_letters() ? 0 : address_key(to.text()),
                  dedup_key(text(q.getColumn(4)), q.getColumn(6).getUInt()),
                  static_cast<std::uint64_t>(q.getColumn(2).getInt64()),
                  row,
                  q.getColumn(1).getUInt(),
                  {q.getColumn(5).getInt64()},
                  content_bytes_of(q.getColumn(9), q.getColumn(10))};
    if (into.owns_log && (x.shard >= ends.size() || sequence{x.seq}.offset() >= ends[x.shard]))
      return failure{ec::corrupt,
                     "message row " + std::to_string(row) + " lies beyond the recorded end of shard " + std::to_string(x.shard) +
                         "; restore the file from a backup",
                     {}};
    rows.push_back(x);
    into.next_row = row + 1;
    const bool segment_ends = row == flush_to || into.tail.active_rows() + rows.size() >= into.segment_rows;
    if (segment_ends || rows.size() == publish_rows) {
      into.tail.publish(rows, ends);
      rows.clear();
    }
    if (segment_ends) into.tail.freeze();
  }
  into.tail.publish(rows, ends);
  return replay_journal(db, into);
}

}  // namespace doorstep
