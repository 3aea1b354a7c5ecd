// SPDX-License-Identifier: Apache-2.0
// Opens the file of the embedded engines. Migrations only go forward: entry n brings a file of version n to n + 1, and none is ever changed.
#include "storage/sqlite_schema.hpp"

#include "runtime/digest.hpp"
#include "runtime/log.hpp"
#include "storage/sqlite_vfs.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <SQLiteCpp/Transaction.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace doorstep {

namespace {

constexpr int application_id = 0x446f7253;  // "DorS"

constexpr std::array migrations{
    R"(
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE shard (shard INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL, position INTEGER NOT NULL);
CREATE TABLE origin (id INTEGER PRIMARY KEY, source TEXT NOT NULL, generation INTEGER NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
  floor INTEGER NOT NULL, rescan INTEGER NOT NULL);
CREATE TABLE message (row INTEGER PRIMARY KEY, shard INTEGER NOT NULL, seq INTEGER NOT NULL, address TEXT NOT NULL, id TEXT NOT NULL,
  appended INTEGER NOT NULL, requeue INTEGER NOT NULL, origin INTEGER, origin_offset INTEGER, reason TEXT, detail TEXT, event TEXT NOT NULL);
CREATE TABLE posting (address INTEGER NOT NULL, last_seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, messages INTEGER NOT NULL,
  first_row INTEGER NOT NULL, places BLOB NOT NULL, PRIMARY KEY (address, last_seq)) WITHOUT ROWID;
CREATE TABLE log_run (shard INTEGER NOT NULL, first_offset INTEGER NOT NULL, records INTEGER NOT NULL, first_row INTEGER NOT NULL,
  places BLOB NOT NULL, PRIMARY KEY (shard, first_offset)) WITHOUT ROWID;
CREATE TABLE dedup_run (run INTEGER PRIMARY KEY, newest INTEGER NOT NULL);
CREATE TABLE dedup_chunk (run INTEGER NOT NULL, first_key INTEGER NOT NULL, keys BLOB NOT NULL, PRIMARY KEY (run, first_key)) WITHOUT ROWID;
CREATE TABLE cursor_journal (entry INTEGER PRIMARY KEY, records BLOB NOT NULL);
CREATE TABLE cursor (user TEXT PRIMARY KEY, version INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (entry INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, address TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL,
  detail TEXT NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, event TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, attempts INTEGER NOT NULL);
)",
    R"(
ALTER TABLE dead_letter ADD COLUMN requeue INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
)",
    R"(
CREATE TABLE shard_origin (shard INTEGER NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (shard, name)) WITHOUT ROWID;
)",
    R"(
CREATE TABLE inbox (user TEXT PRIMARY KEY, version INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
ALTER TABLE shard ADD COLUMN gone_to INTEGER NOT NULL DEFAULT 0;
)",
    R"(
ALTER TABLE dead_letter ADD COLUMN mirrored INTEGER NOT NULL DEFAULT 0;
CREATE INDEX dead_letter_unmirrored ON dead_letter (mirrored) WHERE mirrored = 0;
CREATE INDEX dead_letter_last ON dead_letter (last);
)",
    R"(
CREATE TABLE expiring (expires INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (expires, row)) WITHOUT ROWID;
)",
    R"(
ALTER TABLE message ADD COLUMN bytes INTEGER;
ALTER TABLE message ADD COLUMN terms TEXT;
ALTER TABLE posting ADD COLUMN bytes INTEGER;
ALTER TABLE dead_letter ADD COLUMN terms TEXT;
)",
    R"(
CREATE TABLE device (user TEXT NOT NULL, device TEXT NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID;
)",
};
constexpr int newest_version = static_cast<int>(migrations.size());

int pragma(SQLite::Database& db, const char* name) { return db.execAndGet(std::string("PRAGMA ") + name).getInt(); }

result<void> migrate(SQLite::Database& db, const std::string& path) {
  const auto version = pragma(db, "user_version");
  const bool empty = db.execAndGet("SELECT count(*) FROM sqlite_master").getInt() == 0;
  if (!empty && pragma(db, "application_id") != application_id)
    return failure{ec::bad_config, path + " is a SQLite database of another program; set store.path to another file", "store.path"};
  if (version > newest_version)
    return failure{ec::unsupported,
                   path + " was written by a newer Doorstep (format " + std::to_string(version) + ", this one knows up to " +
                       std::to_string(newest_version) + "); run that version, or set store.path to another file",
                   "store.path"};
  for (int at = version; at < newest_version; ++at) {
    SQLite::Transaction transaction(db);
    db.exec(migrations[static_cast<std::size_t>(at)]);
    db.exec("PRAGMA application_id = " + std::to_string(application_id));
    db.exec("PRAGMA user_version = " + std::to_string(at + 1));
    transaction.commit();
    if (!empty) log_line(log_level::info, "store", "migrated").with("path", path).with("from", at).with("to", at + 1);
  }
  return {};
}

/// What the file says of the log that filled it. Until log_id was written down that was its own.
known_log log_known_to(SQLite::Database& db, const database_identity& file) {
  known_log out{{}, file.generation, {}};
  SQLite::Statement id(db, "SELECT value FROM state WHERE name = 'log_id'");
  if (id.executeStep())
    out.id = id.getColumn(0).getString();
  else if (db.execAndGet("SELECT EXISTS (SELECT 1 FROM message)").getInt() != 0)
    out.id = file.store_id;
  SQLite::Statement positions(db, "SELECT position FROM shard ORDER BY shard");
  while (positions.executeStep()) out.positions.push_back(static_cast<std::uint64_t>(positions.getColumn(0).getInt64()));
  return out;
}

result<void> settle_log(SQLite::Database& db, const std::string& path, const log_identity* beside, database_identity& file) {
  const auto known = log_known_to(db, file);
  if (beside == nullptr && !known.id.empty() && known.id != file.store_id)
    return failure{ec::bad_config, path + " holds the messages of a log in Kafka; set log.engine = \"kafka\", or another store.path", "store.path"};
  chosen_log chosen{file.store_id, file.generation, false};
  if (beside != nullptr) {
    auto agreed = choose_log(known, *beside, "the store " + path, "store.path");
    if (!agreed) return agreed.error();
    chosen = std::move(*agreed);
  }
  SQLite::Statement keep(db, "INSERT OR REPLACE INTO state VALUES (?, ?)");
  keep.bind(1, "log_id");
  keep.bind(2, chosen.id);
  keep.exec();
  keep.reset();
  keep.bind(1, "generation");
  keep.bind(2, static_cast<std::int64_t>(chosen.generation));
  keep.exec();
  if (chosen.anew) {
    db.exec("UPDATE shard SET position = 0");
    db.exec("DELETE FROM shard_origin");
  }
  file.log_id = chosen.id;
  file.generation = chosen.generation;
  return {};
}

result<database_identity> identify(SQLite::Database& db, const std::string& path, std::uint32_t shards, const log_identity* beside) {
  SQLite::Transaction transaction(db);
  SQLite::Statement insert(db, "INSERT OR IGNORE INTO state VALUES (?, ?)");
  const auto keep = [&](const char* name, const auto& value) {
    insert.reset();
    insert.bind(1, name);
    insert.bind(2, value);
    insert.exec();
  };
  keep("store_id", base64url(random_bytes(16)));
  keep("shards", static_cast<std::int64_t>(shards));
  keep("generation", std::int64_t{0});
  keep("indexed_row", std::int64_t{0});
  const auto read = [&](const char* name) { return db.execAndGet(std::string("SELECT value FROM state WHERE name = '") + name + "'"); };
  database_identity out{read("store_id").getString(), {}, read("shards").getUInt(), read("generation").getUInt()};
  if (out.shards != shards)
    return failure{ec::bad_config,
                   path + " was made with " + std::to_string(out.shards) + " shards and the configuration says " + std::to_string(shards) +
                       ": set log.shards = " + std::to_string(out.shards) + ", or start anew with another store.path",
                   "log.shards"};
  for (std::uint32_t i = 0; i < shards; ++i)
    db.exec("INSERT OR IGNORE INTO shard (shard, next_offset, position) VALUES (" + std::to_string(i) + ", 0, 0)");
  if (auto settled = settle_log(db, path, beside, out); !settled) return settled.error();
  transaction.commit();
  return out;
}

}  // namespace

failure database_failure(const SQLite::Exception& x, const std::string& path) {
  const bool corrupt = x.getErrorCode() == SQLITE_CORRUPT || x.getErrorCode() == SQLITE_NOTADB;
  const auto detail = path + ": " + x.what() + " (SQLite " + std::to_string(x.getExtendedErrorCode()) + ")";
  return {corrupt ? ec::corrupt : ec::unavailable, detail, "store.path"};
}

void exit_if_sync_failed(int extended_code, const std::string& path) {
  if (extended_code != SQLITE_IOERR_FSYNC && extended_code != SQLITE_IOERR_DIR_FSYNC) return;
  log_line(log_level::error, "store", "fsync-failed").with("path", path).with("action", "exit, recover from the disk at the next start");
  std::_Exit(exit_io_error);
}

result<file_lock> file_lock::take(const std::string& database_path) {
  const auto directory = std::filesystem::path(database_path).parent_path();
  std::error_code error;
  if (!directory.empty()) std::filesystem::create_directories(directory, error);
  if (error) return failure{ec::unavailable, "cannot make the directory of " + database_path + ": " + error.message(), "store.path"};
  const auto path = database_path + ".lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return failure{ec::unavailable, "cannot open " + path + ": " + std::strerror(errno), "store.path"};
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return file_lock(fd);
  const auto why = errno;
  ::close(fd);
  if (why == EWOULDBLOCK)
    return failure{ec::unavailable, database_path + " is in use by another process; stop it, or set store.path to another file", "store.path"};
  return failure{ec::unavailable, "cannot lock " + path + ": " + std::strerror(why), "store.path"};
}

bool was_stopped_cleanly(const std::string& database_path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(database_path + "-wal", error);
  return error || bytes == 0;
}

file_lock::~file_lock() {
  if (fd_ >= 0) ::close(fd_);
}

result<std::unique_ptr<SQLite::Database>> open_for_writing(const store_config& store, std::uint32_t shards, const log_identity* beside,
                                                           database_identity& identity) {
  try {
    auto db =
        std::make_unique<SQLite::Database>(store.path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_NOMUTEX, 5000, gathering_vfs());
    db->exec("PRAGMA page_size = 8192");
    if (db->execAndGet("PRAGMA journal_mode = WAL").getString() != "wal")
      return failure{ec::unavailable, store.path + ": this file system does not allow SQLite's write-ahead log", "store.path"};
    db->exec("PRAGMA synchronous = FULL");
    db->exec("PRAGMA wal_autocheckpoint = 0");  // the database does it itself: SQLite would swallow a failed fsync of an automatic one
    db->exec("PRAGMA cache_size = -" + std::to_string(store.cache_bytes / 1024));
    db->exec("PRAGMA temp_store = MEMORY");
    if (auto migrated = migrate(*db, store.path); !migrated) return migrated.error();
    auto found = identify(*db, store.path, shards, beside);
    if (!found) return found.error();
    identity = *found;
    return db;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, store.path);
  }
}

result<std::unique_ptr<SQLite::Database>> open_for_reading(const store_config& store) {
  try {
    auto db = std::make_unique<SQLite::Database>(store.path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, 5000,
                                                 store.map_bytes != 0 ? mapping_vfs() : "");
    db->exec("PRAGMA query_only = 1");
    db->exec("PRAGMA mmap_size = " + std::to_string(store.map_bytes));
    db->exec("PRAGMA cache_size = -" + std::to_string(store.cache_bytes / 4 / 1024));
    return db;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, store.path);
  }
}

}  // namespace doorstep
