// SPDX-License-Identifier: Apache-2.0
// One transaction after the other into the embedded database: judges entries, writes rows, and keeps what memory knows in step with what is durable.
// Only the database's writing thread uses it, but for tail() and cursors(), which lock for themselves.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/commit_queue.hpp"
#include "storage/log_identity.hpp"
#include "storage/sqlite_cursors.hpp"
#include "storage/sqlite_schema.hpp"
#include "storage/sqlite_tail.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace doorstep {

class sqlite_writer {
public:
  /// @param beside the log that messages come from, with a seq; null where rows get theirs here.
  static result<std::unique_ptr<sqlite_writer>> open(const config& options, const log_identity* beside, metrics& counts);
  ~sqlite_writer();

  const database_identity& identity() const;
  std::vector<shard_position> positions() const;  ///< as they are now; read it before the thread starts
  const tail_index& tail() const;
  const cursor_book& cursors() const;

  /// All of it durable, verdicts filled in; or a failure and nothing of it. Uses the occasion to write a piece of the indexes.
  std::optional<failure> run(std::span<append_work> appends, std::span<store_work> writes);
  /// Index pieces are waiting: call run() with nothing when there is nothing else.
  bool flush_pending() const;
  /// The last transaction failed, or others did just before it: intake is told so until writing has worked for a while.
  bool failing() const;
  /// While failing and with nothing to write: does it work again?
  void probe();

private:
  struct impl;
  explicit sqlite_writer(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
