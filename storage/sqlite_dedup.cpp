// SPDX-License-Identifier: Apache-2.0
// Dedup: the transaction's own keys, then the tail in memory, then the filter, and only where that says "maybe" the runs on disk.
#include "storage/sqlite_dedup.hpp"

#include "storage/sqlite_format.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace doorstep {

struct sqlite_dedup::statements {
  explicit statements(SQLite::Database& db)
      : row(db, "SELECT id, requeue, appended, seq FROM message WHERE row = ?"),
        chunk(db, "SELECT keys FROM dedup_chunk WHERE run = ? AND first_key <= ? ORDER BY first_key DESC LIMIT 1") {}
  SQLite::Statement row, chunk;
};

sqlite_dedup::sqlite_dedup(SQLite::Database& db, const tail_index& tail, milliseconds window)
    : db_(db), tail_(tail), window_(window), sql_(std::make_unique<statements>(db)) {}

sqlite_dedup::~sqlite_dedup() = default;

namespace {

std::string_view blob(const SQLite::Column& x) { return {static_cast<const char*>(x.getBlob()), static_cast<std::size_t>(x.getBytes())}; }

}  // namespace

unix_ms sqlite_dedup::load() {
  const unix_ms now{db_.execAndGet("SELECT coalesce(max(newest), 0) FROM dedup_run").getInt64()};
  SQLite::Statement runs(db_, "SELECT run, newest FROM dedup_run ORDER BY run");
  SQLite::Statement chunks(db_, "SELECT keys FROM dedup_chunk WHERE run = ?");
  std::vector<std::uint64_t> keys;
  while (runs.executeStep()) {
    const auto run = static_cast<std::uint64_t>(runs.getColumn(0).getInt64());
    const unix_ms newest{runs.getColumn(1).getInt64()};
    if (now.value - newest.value >= window_.count()) {
      expired_at_start_.push_back(run);
      continue;
    }
    keys.clear();
    chunks.reset();
    chunks.bind(1, static_cast<std::int64_t>(run));
    while (chunks.executeStep()) decode_keys(blob(chunks.getColumn(0)), keys);
    filter_.add(run, newest, keys);
  }
  return now;
}

bool sqlite_dedup::matches(std::uint64_t row, const question& x) {
  auto& q = sql_->row;
  q.reset();
  q.bind(1, static_cast<std::int64_t>(row));
  if (!q.executeStep()) return false;
  const bool same = q.getColumn(0).getString() == x.id && q.getColumn(1).getUInt() == x.requeue;
  const auto age = x.appended.value - q.getColumn(2).getInt64();
  const bool itself = x.seq && static_cast<std::uint64_t>(q.getColumn(3).getInt64()) == x.seq.value;
  q.reset();
  return same && !itself && age < window_.count();
}

void sqlite_dedup::rows_on_disk(std::uint64_t key, std::vector<std::uint64_t>& rows) {
  runs_.clear();
  filter_.candidates(key, runs_);
  for (const auto run : runs_) {
    auto& q = sql_->chunk;
    q.reset();
    q.bind(1, static_cast<std::int64_t>(run));
    q.bind(2, static_cast<std::int64_t>(key));
    if (q.executeStep()) find_key(blob(q.getColumn(0)), key, run, rows);
    q.reset();
  }
}

bool sqlite_dedup::is_duplicate(const question& x, std::uint64_t key, std::uint64_t staged) {
  if (staged != 0 && matches(staged, x)) return true;
  if (const auto row = tail_.row_of_key(key); row != 0 && matches(row, x)) return true;
  rows_.clear();
  rows_on_disk(key, rows_);
  return std::any_of(rows_.begin(), rows_.end(), [&](std::uint64_t row) { return matches(row, x); });
}

std::vector<std::uint64_t> sqlite_dedup::expired(unix_ms now) {
  auto out = std::exchange(expired_at_start_, {});
  const auto more = filter_.forget_before({now.value - window_.count()});
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

}  // namespace doorstep
