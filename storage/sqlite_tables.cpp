// SPDX-License-Identifier: Apache-2.0
// Prepared statements of the writing connection. Texts are bound without a copy: each statement is stepped before its caller's strings go away.
#include "storage/sqlite_tables.hpp"

#include "storage/origin_text.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/devices.hpp"
#include "runtime/event.hpp"
#include "storage/sqlite_format.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>

namespace doorstep {

namespace {

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }

SQLite::Statement& again(SQLite::Statement& x) {
  x.reset();
  return x;
}

}  // namespace

struct sqlite_tables::statements {
  explicit statements(SQLite::Database& db);
  SQLite::Statement begin, commit, message, expiring, next_offset, position, shard_origin, origin, origin_at, journal, dead, dead_before,
      earlier_death, requeued, purged, mirrored, last_seq, inbox, device;
};

sqlite_tables::statements::statements(SQLite::Database& db)
    : begin(db, "BEGIN IMMEDIATE"),
      commit(db, "COMMIT"),
      message(db, "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      expiring(db, "INSERT OR IGNORE INTO expiring VALUES (?, ?)"),
      next_offset(db, "UPDATE shard SET next_offset = ? WHERE shard = ?"),
      position(db, "UPDATE shard SET position = max(position, ?) WHERE shard = ?"),
      shard_origin(db, "INSERT OR REPLACE INTO shard_origin VALUES (?, ?, ?)"),
      origin(db, "INSERT INTO origin (source, generation, topic, partition, floor, rescan) VALUES (?, ?, ?, ?, ?5, ?5)"),
      origin_at(db, "UPDATE origin SET floor = ?, rescan = ? WHERE id = ?"),
      journal(db, "INSERT INTO cursor_journal VALUES (?, ?)"),
      dead(db,
           "INSERT OR IGNORE INTO dead_letter (id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, "
           "requeue, terms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      dead_before(db, "DELETE FROM dead_letter WHERE id = ? AND requeue < ?"),
      earlier_death(db, "SELECT source, topic, partition, offset, first FROM dead_letter WHERE id = ? AND requeue < ?"),
      requeued(db, "UPDATE dead_letter SET requeued = 1 WHERE id = ? AND requeue = ? AND requeued = 0"),
      purged(db, "DELETE FROM dead_letter WHERE id = ? AND requeue = ? AND requeued = 0"),
      mirrored(db, "UPDATE dead_letter SET mirrored = 1 WHERE id = ? AND requeue = ?"),
      last_seq(db, "SELECT max(last_seq) FROM posting WHERE address = ?"),
      inbox(db,
            "INSERT INTO inbox VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET version = excluded.version, record = excluded.record "
            "WHERE excluded.version > inbox.version"),
      device(db, "INSERT OR IGNORE INTO device VALUES (?, ?)") {}

sqlite_tables::sqlite_tables(SQLite::Database& db) : db_(db), sql_(std::make_unique<statements>(db)) {}
sqlite_tables::~sqlite_tables() = default;

void sqlite_tables::begin() { again(sql_->begin).exec(); }
void sqlite_tables::commit() { again(sql_->commit).exec(); }

void sqlite_tables::insert(const message_row& x) {
  auto& q = again(sql_->message);
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
  q.bind(13, as_stored(x.bytes));
  if (x.terms.empty())
    q.bind(14);
  else
    q.bindNoCopy(14, x.terms);
  q.exec();
  if (x.expires.value == 0) return;
  auto& e = again(sql_->expiring);
  e.bind(1, x.expires.value);
  e.bind(2, as_stored(x.row));
  e.exec();
}

void sqlite_tables::next_offset(std::uint32_t shard, std::uint64_t offset) {
  auto& q = again(sql_->next_offset);
  q.bind(1, as_stored(offset));
  q.bind(2, static_cast<std::int64_t>(shard));
  q.exec();
}

void sqlite_tables::position(const shard_position& x) {
  auto& q = again(sql_->position);
  q.bind(1, as_stored(x.next_offset));
  q.bind(2, static_cast<std::int64_t>(x.shard));
  q.exec();
}

void sqlite_tables::shard_origin(shard_id shard, const origin_position& x) {
  auto& q = again(sql_->shard_origin);
  q.bind(1, static_cast<std::int64_t>(shard));
  q.bind(2, origin_name(x.from));
  q.bind(3, origin_state(x));
  q.exec();
}

std::int64_t sqlite_tables::insert_origin(const origin_partition& x, bool judged) {
  auto& q = again(sql_->origin);
  q.bindNoCopy(1, x.source);
  q.bind(2, static_cast<std::int64_t>(x.generation));
  q.bindNoCopy(3, x.topic);
  q.bind(4, x.partition);
  q.bind(5, judged ? std::int64_t{0} : INT64_MAX);  // no row is above that floor, and none has to be read again for it
  q.exec();
  return db_.getLastInsertRowid();
}

void sqlite_tables::origin_at(std::int64_t id, std::int64_t floor, std::uint64_t rescan) {
  auto& q = again(sql_->origin_at);
  q.bind(1, floor);
  q.bind(2, as_stored(rescan));
  q.bind(3, id);
  q.exec();
}

void sqlite_tables::insert_journal(std::uint64_t entry, const std::string& records) {
  auto& q = again(sql_->journal);
  q.bind(1, as_stored(entry));
  q.bindNoCopy(2, static_cast<const void*>(records.data()), static_cast<int>(records.size()));
  q.exec();
}

void sqlite_tables::insert(const inbox_record& x) {
  record_.clear();
  encode_inbox(x, record_);
  auto& q = again(sql_->inbox);
  q.bind(1, std::string(x.user.text()));
  q.bind(2, as_stored(x.version));
  q.bindNoCopy(3, static_cast<const void*>(record_.data()), static_cast<int>(record_.size()));
  q.exec();
}

void sqlite_tables::note_device(const address& box) {
  auto& q = again(sql_->device);
  q.bind(1, std::string(user_of(box).text()));
  q.bind(2, std::string(device_of(box).value_or("")));
  q.exec();
}

/// A message that was requeued has no origin of its own: its earlier death says where it came from, and since when.
void sqlite_tables::inherit(dead_letter& x) {
  auto& q = again(sql_->earlier_death);
  q.bindNoCopy(1, x.id);
  q.bind(2, static_cast<std::int64_t>(x.requeue));
  if (q.executeStep()) {
    if (x.offset < 0) {
      x.source = q.getColumn(0).getString();
      x.topic = q.getColumn(1).getString();
      x.partition = q.getColumn(2).getInt();
      x.offset = q.getColumn(3).getInt64();
    }
    x.first = std::min(x.first, unix_ms{q.getColumn(4).getInt64()});
  }
  q.reset();
}

int sqlite_tables::insert(dead_letter x) {
  int fewer = 0;
  if (x.requeue > 0) {
    inherit(x);
    auto& before = again(sql_->dead_before);
    before.bindNoCopy(1, x.id);
    before.bind(2, static_cast<std::int64_t>(x.requeue));
    fewer = before.exec();
  }
  auto& q = again(sql_->dead);
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
  q.bind(14, static_cast<std::int64_t>(x.requeue));
  if (x.terms)
    q.bind(15, to_json(*x.terms));
  else
    q.bind(15);
  return q.exec() - fewer;
}

int sqlite_tables::change(const dead_letter_change& x) {
  using to = dead_letter_change::to;
  const bool purge = x.what == to::purged;
  auto& q = again(purge ? sql_->purged : x.what == to::mirrored ? sql_->mirrored : sql_->requeued);
  q.bindNoCopy(1, x.id);
  q.bind(2, static_cast<std::int64_t>(x.requeue));
  const int changed = q.exec();
  return purge ? changed : 0;
}

std::uint64_t sqlite_tables::last_seq(std::uint64_t address) {
  auto& q = again(sql_->last_seq);
  q.bind(1, as_stored(address));
  q.executeStep();
  const auto found = static_cast<std::uint64_t>(q.getColumn(0).getInt64());
  q.reset();
  return found;
}

}  // namespace doorstep
