// SPDX-License-Identifier: Apache-2.0
// Prepared statements of the writing connection. Texts are bound without a copy: each statement is stepped before its caller's strings go away.
#include "storage/sqlite_tables.hpp"

#include "runtime/event.hpp"

#include <SQLiteCpp/Column.h>

namespace doorstep {

namespace {

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }

}  // namespace

sqlite_tables::sqlite_tables(SQLite::Database& db)
    : db_(db),
      begin_(db, "BEGIN IMMEDIATE"),
      commit_(db, "COMMIT"),
      message_(db, "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      next_offset_(db, "UPDATE shard SET next_offset = ? WHERE shard = ?"),
      position_(db, "UPDATE shard SET position = max(position, ?) WHERE shard = ?"),
      origin_(db, "INSERT INTO origin (source, generation, topic, partition, floor, rescan) VALUES (?, ?, ?, ?, 0, 0)"),
      origin_at_(db, "UPDATE origin SET floor = ?, rescan = ? WHERE id = ?"),
      journal_(db, "INSERT INTO cursor_journal VALUES (?, ?)"),
      dead_(db,
            "INSERT OR IGNORE INTO dead_letter (id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      last_seq_(db, "SELECT max(last_seq) FROM posting WHERE address = ?") {}

void sqlite_tables::insert(const message_row& x) {
  auto& q = again(message_);
  address_.assign(x.address);
  q.bind(1, as_stored(x.row));
  q.bind(2, static_cast<std::int64_t>(x.shard));
  q.bind(3, as_stored(x.seq));
  q.bindNoCopy(4, address_);
  q.bindNoCopy(5, *x.id);
  q.bind(6, x.appended.value);
  q.bind(7, static_cast<std::int64_t>(x.requeue));
  if (x.origin != 0) {
    q.bind(8, x.origin);
    q.bind(9, x.origin_offset);
  } else {
    q.bind(8);
    q.bind(9);
  }
  if (x.reason.empty()) {
    q.bind(10);
    q.bind(11);
  } else {
    reason_.assign(x.reason);
    q.bindNoCopy(10, reason_);
    q.bindNoCopy(11, *x.detail);
  }
  q.bindNoCopy(12, *x.event);
  q.exec();
}

void sqlite_tables::next_offset(std::uint32_t shard, std::uint64_t offset) {
  auto& q = again(next_offset_);
  q.bind(1, as_stored(offset));
  q.bind(2, static_cast<std::int64_t>(shard));
  q.exec();
}

void sqlite_tables::position(const shard_position& x) {
  auto& q = again(position_);
  q.bind(1, as_stored(x.next_offset));
  q.bind(2, static_cast<std::int64_t>(x.shard));
  q.exec();
}

std::int64_t sqlite_tables::insert_origin(const origin_partition& x) {
  auto& q = again(origin_);
  q.bindNoCopy(1, x.source);
  q.bind(2, static_cast<std::int64_t>(x.generation));
  q.bindNoCopy(3, x.topic);
  q.bind(4, x.partition);
  q.exec();
  return db_.getLastInsertRowid();
}

void sqlite_tables::origin_at(std::int64_t id, std::int64_t floor, std::uint64_t rescan) {
  auto& q = again(origin_at_);
  q.bind(1, floor);
  q.bind(2, as_stored(rescan));
  q.bind(3, id);
  q.exec();
}

void sqlite_tables::insert_journal(std::uint64_t entry, const std::string& records) {
  auto& q = again(journal_);
  q.bind(1, as_stored(entry));
  q.bindNoCopy(2, static_cast<const void*>(records.data()), static_cast<int>(records.size()));
  q.exec();
}

bool sqlite_tables::insert(const dead_letter& x) {
  auto& q = again(dead_);
  const auto event = x.what ? to_json(*x.what) : std::string();
  q.bindNoCopy(1, x.id);
  q.bind(2, std::string(x.to.text()));
  q.bind(3, as_stored(x.seq.value));
  q.bind(4, std::string(name(x.reason)));
  q.bindNoCopy(5, x.detail);
  q.bindNoCopy(6, x.source);
  q.bindNoCopy(7, x.topic);
  q.bind(8, x.partition);
  q.bind(9, x.offset);
  q.bindNoCopy(10, event);
  q.bind(11, x.first.value);
  q.bind(12, x.last.value);
  q.bind(13, static_cast<std::int64_t>(x.attempts));
  return q.exec() > 0;
}

std::uint64_t sqlite_tables::last_seq(std::uint64_t address) {
  auto& q = again(last_seq_);
  q.bind(1, as_stored(address));
  q.executeStep();
  const auto found = static_cast<std::uint64_t>(q.getColumn(0).getInt64());
  q.reset();
  return found;
}

}  // namespace doorstep
