// SPDX-License-Identifier: Apache-2.0
// Flushing of indexes. The position (state.indexed_row) moves with the last piece of a segment; readers leave out what the disk holds of rows that are still in
// the tail, so that a half-written segment is never counted twice.
#include "storage/sqlite_flush.hpp"

#include "runtime/devices.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t posting_places_max = 512;
constexpr std::size_t chunk_keys = 256;

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }

}  // namespace

struct index_flusher::statements {
  explicit statements(SQLite::Database& db)
      : posting(db, "INSERT OR REPLACE INTO posting VALUES (?, ?, ?, ?, ?, ?, ?)"),
        log_run(db, "INSERT OR REPLACE INTO log_run VALUES (?, ?, ?, ?, ?)"),
        dedup_run(db, "INSERT OR REPLACE INTO dedup_run VALUES (?, ?)"),
        dedup_chunk(db, "INSERT OR REPLACE INTO dedup_chunk VALUES (?, ?, ?)"),
        state(db, "INSERT OR REPLACE INTO state VALUES (?, ?)"),
        cursor(db,
               "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET version = excluded.version, record = excluded.record "
               "WHERE excluded.version > cursor.version"),
        no_cursor(db, "DELETE FROM cursor WHERE user = ? AND version < ?"),
        journal(db, "DELETE FROM cursor_journal WHERE entry <= ?"),
        reap_run(db, "DELETE FROM dedup_run WHERE run = ?"),
        reap_chunks(db, "DELETE FROM dedup_chunk WHERE run = ?") {}
  SQLite::Statement posting, log_run, dedup_run, dedup_chunk, state, cursor, no_cursor, journal, reap_run, reap_chunks;

  template <class... Values>
  static void run(SQLite::Statement& x, const Values&... values) {
    x.reset();
    int at = 0;
    (bind(x, ++at, values), ...);
    x.exec();
  }
  static void bind(SQLite::Statement& x, int at, const std::string& bytes) {
    x.bindNoCopy(at, static_cast<const void*>(bytes.data()), static_cast<int>(bytes.size()));
  }
  static void bind(SQLite::Statement& x, int at, std::string_view text) { x.bind(at, std::string(text)); }
  static void bind(SQLite::Statement& x, int at, std::int64_t value) { x.bind(at, value); }
};

index_flusher::index_flusher(SQLite::Database& db, tail_index& tail, cursor_book& cursors, sqlite_dedup& dedup)
    : tail_(tail), cursors_(cursors), dedup_(dedup), sql_(std::make_unique<statements>(db)) {}

index_flusher::~index_flusher() = default;

void index_flusher::take_up() {
  at_ = {};
  at_.segment = tail_.oldest_frozen();
  at_.entries = at_.segment->entries;
  std::sort(at_.entries.begin(), at_.entries.end(),
            [](const auto& a, const auto& b) { return std::tuple(as_stored(a.address), a.seq) < std::tuple(as_stored(b.address), b.seq); });
  at_.keys = at_.segment->keys;
  std::sort(at_.keys.begin(), at_.keys.end(), [](const key_place& a, const key_place& b) { return as_stored(a.key) < as_stored(b.key); });
}

void index_flusher::step(std::size_t rows) {
  if (tail_.oldest_frozen()) step_postings(rows);
  if (cursors_.frozen()) step_cursors(rows);
  if (!expired_.empty()) {
    statements::run(sql_->reap_chunks, as_stored(expired_.front()));
    statements::run(sql_->reap_run, as_stored(expired_.front()));
    reaped_ = true;
  }
}

void index_flusher::step_postings(std::size_t rows) {
  if (!at_.segment) {
    take_up();
    statements::run(sql_->state, std::string_view("flush_to"), as_stored(at_.segment->last_row));
  }
  auto from = at_.next;
  for (std::size_t written = 0; written < rows && from < at_.entries.size(); ++written) {
    auto to = from + 1;
    while (to < at_.entries.size() && at_.entries[to].address == at_.entries[from].address && to - from < posting_places_max) ++to;
    write_posting(from, to);
    from = to;
  }
  at_.staged = from;
  if (at_.next == at_.entries.size()) {  // all postings are committed: the rest is small and goes as one
    finish_segment();
    at_.finishing = true;
  }
}

void index_flusher::write_posting(std::size_t from, std::size_t to) {
  places_.clear();
  std::int64_t bytes = 0;
  for (auto i = from; i < to; ++i) {
    places_.push_back({at_.entries[i].seq, at_.entries[i].row});
    bytes += at_.entries[i].bytes;
  }
  bytes_.clear();
  encode_places(places_, bytes_);
  statements::run(sql_->posting, as_stored(at_.entries[from].address), as_stored(places_.back().seq), as_stored(places_.front().seq),
                  static_cast<std::int64_t>(to - from), as_stored(places_.front().row), bytes_, bytes);
}

void index_flusher::finish_segment() {
  const auto& segment = *at_.segment;
  for (std::size_t from = 0, to = 0; from < at_.keys.size(); from = to) {
    to = std::min(from + chunk_keys, at_.keys.size());
    while (to < at_.keys.size() && at_.keys[to].key == at_.keys[to - 1].key) ++to;  // a key is in one chunk only
    bytes_.clear();
    encode_keys({at_.keys.data() + from, to - from}, segment.first_row, bytes_);
    statements::run(sql_->dedup_chunk, as_stored(segment.first_row), as_stored(at_.keys[from].key), bytes_);
  }
  statements::run(sql_->dedup_run, as_stored(segment.first_row), segment.newest.value);
  for (std::size_t i = 0; i < segment.shards.size(); ++i) {
    const auto& shard = segment.shards[i];
    if (shard.rows.empty()) continue;
    bytes_.clear();
    encode_rows(shard.rows, bytes_);
    statements::run(sql_->log_run, static_cast<std::int64_t>(i), as_stored(shard.first_offset), static_cast<std::int64_t>(shard.rows.size()),
                    as_stored(segment.first_row), bytes_);
  }
  statements::run(sql_->state, std::string_view("indexed_row"), as_stored(segment.last_row));
}

void index_flusher::step_cursors(std::size_t rows) {
  const auto& records = *cursors_.frozen();
  const auto to = std::min(records.size(), cursor_next_ + rows);
  for (auto i = cursor_next_; i < to; ++i) {
    if (device_of(records[i].user) && !is_registered(records[i])) {  // forgotten
      statements::run(sql_->no_cursor, records[i].user.text(), as_stored(records[i].version));
      continue;
    }
    bytes_.clear();
    encode_cursor(records[i], bytes_);
    statements::run(sql_->cursor, records[i].user.text(), as_stored(records[i].version), bytes_);
  }
  cursor_staged_ = to;
  if (to == records.size()) {
    statements::run(sql_->journal, as_stored(cursors_.frozen_entry()));
    cursors_finishing_ = true;
  }
}

void index_flusher::committed() {
  if (at_.finishing) {
    std::vector<std::uint64_t> keys;
    keys.reserve(at_.keys.size());
    for (const auto& x : at_.keys) keys.push_back(x.key);
    dedup_.remember(at_.segment->first_row, at_.segment->newest, keys);
    tail_.drop_oldest();
    reap(at_.segment->newest);
    at_ = {};
  }
  at_.next = at_.staged;
  if (cursors_finishing_) cursors_.drop_frozen();
  cursor_next_ = cursors_finishing_ ? 0 : cursor_staged_;
  cursor_staged_ = cursor_next_;
  cursors_finishing_ = false;
  if (std::exchange(reaped_, false)) expired_.pop_front();
}

void index_flusher::rolled_back() {
  at_.staged = at_.next;
  at_.finishing = false;
  if (at_.next == 0) at_ = {};  // flush_to is written again
  cursor_staged_ = cursor_next_;
  cursors_finishing_ = false;
  reaped_ = false;
}

void index_flusher::reap(unix_ms now) {
  const auto runs = dedup_.expired(now);
  expired_.insert(expired_.end(), runs.begin(), runs.end());
}

}  // namespace doorstep
