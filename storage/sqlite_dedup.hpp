// SPDX-License-Identifier: Apache-2.0
// Was the same message accepted within the dedup window? Exact: a key's hash leads to the row it was accepted with, and the row says. New keys touch no disk,
// but for about one in a thousand. Writing thread only.
#pragma once

#include "runtime/key_filter.hpp"
#include "runtime/message.hpp"
#include "storage/sqlite_tail.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

class sqlite_dedup {
public:
  sqlite_dedup(SQLite::Database& db, const tail_index& tail, milliseconds window);
  ~sqlite_dedup();

  /// Reads the keys of the runs that may still matter. Judged by the youngest run, not by the clock: one that jumps must not make us forget.
  /// @returns the youngest run's time.
  unix_ms load();
  /// What is judged. `seq` where it has one already: the row that holds this very message is none that it duplicates.
  struct question {
    const std::string& id;
    std::uint32_t requeue = 0;
    unix_ms appended;
    sequence seq{};
  };
  /// `staged`: the row this transaction accepted the key with, 0 = none.
  bool is_duplicate(const question& x, std::uint64_t key, std::uint64_t staged);
  /// A run that is now on disk.
  void remember(std::uint64_t run, unix_ms newest, std::span<const std::uint64_t> keys) { filter_.add(run, newest, keys); }
  /// Runs that nobody needs any longer, to be deleted.
  std::vector<std::uint64_t> expired(unix_ms now);

private:
  struct statements;
  bool matches(std::uint64_t row, const question& x);
  void rows_on_disk(std::uint64_t key, std::vector<std::uint64_t>& rows);

  SQLite::Database& db_;
  const tail_index& tail_;
  const milliseconds window_;
  key_filter filter_;
  std::unique_ptr<statements> sql_;
  std::vector<std::uint64_t> expired_at_start_, runs_, rows_;  ///< the last two are scratch
};

}  // namespace doorstep
