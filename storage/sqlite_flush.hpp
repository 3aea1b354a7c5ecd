// SPDX-License-Identifier: Apache-2.0
// Takes what is indexed in memory into the indexes on disk: sorted, a bounded piece a transaction, so that no commit is held up. Idempotent: after a crash in the
// middle the same segment is written again with the same keys. Writing thread only.
#pragma once

#include "storage/sqlite_cursors.hpp"
#include "storage/sqlite_dedup.hpp"
#include "storage/sqlite_tail.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

class index_flusher {
public:
  index_flusher(SQLite::Database& db, tail_index& tail, cursor_book& cursors, sqlite_dedup& dedup);
  ~index_flusher();

  bool pending() const { return tail_.oldest_frozen() || cursors_.frozen() || !expired_.empty(); }
  /// Writes about `rows` index rows inside the open transaction. Throws SQLite's exceptions.
  void step(std::size_t rows);
  void committed();
  void rolled_back();
  /// Runs of dedup keys to delete when there is time.
  void reap(unix_ms now);

private:
  struct statements;
  /// How far the oldest frozen segment is.
  struct progress {
    std::shared_ptr<const tail_segment> segment;
    std::vector<tail_segment::entry> entries;  ///< by address as SQLite sorts it, then seq
    std::vector<key_place> keys;               ///< by key as SQLite sorts it
    std::size_t next = 0, staged = 0;
    bool finishing = false;  ///< keys, log runs and the position are in the open transaction
  };
  void take_up();
  void step_postings(std::size_t rows);
  void write_posting(std::size_t from, std::size_t to);
  void finish_segment();
  void step_cursors(std::size_t rows);

  tail_index& tail_;
  cursor_book& cursors_;
  sqlite_dedup& dedup_;
  std::unique_ptr<statements> sql_;
  progress at_;
  std::size_t cursor_next_ = 0, cursor_staged_ = 0;
  bool cursors_finishing_ = false;
  std::deque<std::uint64_t> expired_;
  bool reaped_ = false;
  std::vector<message_place> places_;  ///< scratch
  std::string bytes_;                  ///< scratch
};

}  // namespace doorstep
