// SPDX-License-Identifier: Apache-2.0
// Checkpoints are passive: they wait for nobody, and leave to the next one what a reader still needs. Done by hand because SQLite's automatic ones run
// inside a commit and keep a failed fsync to themselves.
#include "storage/sqlite_checkpoint.hpp"

#include "runtime/threads.hpp"

#include "storage/sqlite_schema.hpp"

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

namespace doorstep {

namespace {

constexpr int due_pages = 4'000;  // 32 MB

void checkpoint(SQLite::Database& db, const std::string& path) {
  int pages = 0, done = 0;
  if (sqlite3_wal_checkpoint_v2(db.getHandle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &done) != SQLITE_OK)
    exit_if_sync_failed(sqlite3_extended_errcode(db.getHandle()), path);  // anything else is tried again
}

}  // namespace

wal_checkpointer::wal_checkpointer(const std::string& path)
    : path_(path), db_(std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, 5000)), due_at_(due_pages) {
  db_->exec("PRAGMA synchronous = FULL");
  db_->exec("PRAGMA wal_autocheckpoint = 0");
  thread_ = std::thread([this] {
    name_this_thread("db-checkpoint");
    copy();
  });
}

wal_checkpointer::~wal_checkpointer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

void wal_checkpointer::copy() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || state_ == state::asked; });
    if (stop_) return;
    state_ = state::copying;
    lock.unlock();
    checkpoint(*db_, path_);
    lock.lock();
    state_ = state::copied;
  }
}

void wal_checkpointer::committed(SQLite::Database& writing, int log_pages) {
  if (log_pages < due_pages) due_at_ = due_pages;
  if (log_pages < due_at_) return;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == state::idle) {
      state_ = state::asked;
      changed_.notify_one();
    }
    if (state_ != state::copied) return;
    state_ = state::idle;
  }
  checkpoint(writing, path_);
  due_at_ = log_pages + due_pages / 2;  // where a reader keeps the log from beginning anew
}

}  // namespace doorstep
