// SPDX-License-Identifier: Apache-2.0
// The file of the embedded engines: its lock, its connections, its tables and their versions. Used by the database's own files only; SQLite stays in the .cpp.
// The tables are described in docs/formats.md.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "storage/log_identity.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace SQLite {
class Database;
class Exception;
}  // namespace SQLite

namespace doorstep {

/// Held while the process uses the database, so that a second one is refused; given back by the kernel however the process ends.
class file_lock {
public:
  static result<file_lock> take(const std::string& database_path);
  file_lock(file_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  file_lock& operator=(file_lock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~file_lock();

private:
  explicit file_lock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

/// False where the last process left its write-ahead log behind, which a clean stop does not. Ask with the lock held, before the file is opened.
bool was_stopped_cleanly(const std::string& database_path);

/// What the file says about itself.
struct database_identity {
  std::string store_id;  ///< random, made with the file
  std::string log_id;    ///< store_id where the file is the log as well
  std::uint32_t shards = 0;
  std::uint32_t generation = 0;
};

/// Makes the file and its directory where missing, brings the tables to this version.
/// @returns ec::bad_config for another shard count or a file that is not ours, ec::unsupported for a newer version, ec::unavailable for the world.
/// @param beside the log that the store stands beside; null where the file is the log as well
result<std::unique_ptr<SQLite::Database>> open_for_writing(const store_config& store, std::uint32_t shards, const log_identity* beside,
                                                           database_identity& identity);
/// A second connection to a file that open_for_writing() has prepared.
result<std::unique_ptr<SQLite::Database>> open_for_reading(const store_config& store);

/// ec::unavailable with the path and SQLite's words; ec::corrupt where SQLite says so.
failure database_failure(const SQLite::Exception& x, const std::string& path);
/// After a failed fsync nobody knows what is on the disk, and the next fsync may lie: ends the process so that it recovers from the disk.
void exit_if_sync_failed(int extended_code, const std::string& path);

}  // namespace doorstep
