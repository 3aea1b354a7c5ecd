// SPDX-License-Identifier: Apache-2.0
// What memory has to know again after a start: read from the small tables, and from the rows above what the indexes on disk cover. Throws SQLite's exceptions.
#pragma once

#include "runtime/error.hpp"
#include "runtime/origin_filter.hpp"
#include "storage/sqlite_cursors.hpp"
#include "storage/sqlite_tail.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

struct recovered_state {
  std::vector<std::uint64_t> offsets, positions;  ///< by shard
};
recovered_state read_state(SQLite::Database& db);
/// By shard: the origin partitions of a log that does not judge replays. @returns ec::corrupt where one cannot be read.
result<std::vector<std::vector<origin_position>>> read_shard_origins(SQLite::Database& db, std::size_t shards);

struct recovered_rows {
  tail_index& tail;
  cursor_book& cursors;
  origin_filter& origins;
  std::map<origin_partition, std::int64_t>& origin_ids;
  std::size_t segment_rows;
  bool owns_log;
  std::uint64_t next_row = 1, next_entry = 1;
};
/// @returns ec::corrupt where rows and counters contradict each other.
result<void> recover_rows(SQLite::Database& db, recovered_rows& into);

}  // namespace doorstep
