// SPDX-License-Identifier: Apache-2.0
// Copies the write-ahead log into the database file beside the writing thread, which then only has the little to copy that was written meanwhile. A thread and a
// connection of its own; started and asked by the writing thread.
#pragma once

#include "runtime/config.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace SQLite {
class Database;
}

namespace doorstep {

class wal_checkpointer {
public:
  explicit wal_checkpointer(const std::string& path);
  ~wal_checkpointer();

  /// Writing thread, after each commit, with the pages that the write-ahead log holds now. Copies the rest itself when the other thread is through, so that
  /// the log can begin anew.
  void committed(SQLite::Database& writing, int log_pages);

private:
  enum class state { idle, asked, copying, copied };
  void copy();

  const std::string path_;
  const std::unique_ptr<SQLite::Database> db_;
  std::mutex mutex_;
  std::condition_variable changed_;
  state state_ = state::idle;
  bool stop_ = false;
  int due_at_;
  std::thread thread_;
};

}  // namespace doorstep
