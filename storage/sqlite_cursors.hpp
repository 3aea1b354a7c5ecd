// SPDX-License-Identifier: Apache-2.0
// The newest cursor record of every user that was written lately. Records are durable in an append-only journal (one row a transaction); from here they are
// taken sorted into the cursor table now and then. One thread writes, any thread finds.
#pragma once

#include "runtime/cursor.hpp"
#include "runtime/error.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace SQLite {
class Statement;
}

namespace doorstep {

class cursor_book {
public:
  /// Records that have just become durable in journal row `entry`. An older version of a user's record is ignored.
  void put(std::vector<cursor_record> records, std::uint64_t entry);
  /// The newest record written lately; the table may hold a newer one all the same, so the reader compares versions.
  std::optional<cursor_record> find(const address& user) const;

  /// Records put since the last freeze. Writing thread only, as is what follows.
  std::size_t active_records() const { return active_records_; }
  /// Sets the newest aside, sorted by user, to be written into the table.
  void freeze();
  const std::vector<cursor_record>* frozen() const { return frozen_ ? frozen_.get() : nullptr; }
  std::uint64_t frozen_entry() const { return frozen_entry_; }  ///< the last journal row they cover
  void drop_frozen();

private:
  mutable std::mutex mutex_;
  std::unordered_map<address, cursor_record> active_;
  std::unique_ptr<std::vector<cursor_record>> frozen_;
  std::size_t active_records_ = 0;
  std::uint64_t active_entry_ = 0, frozen_entry_ = 0;
};

/// The newest durable record of a user, from the book and the table; version 0 where there is none.
/// @param by_user SELECT record FROM cursor WHERE user = ?, of the caller's connection. Throws SQLite's exceptions.
result<cursor_record> newest_cursor(const cursor_book& book, SQLite::Statement& by_user, const address& user);

}  // namespace doorstep
