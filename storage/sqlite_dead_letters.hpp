// SPDX-License-Identifier: Apache-2.0
// Dead letters as one connection finds them. Used by the thread of its connection; throws SQLite's exceptions.
#pragma once

#include "runtime/error.hpp"
#include "storage/message_store.hpp"

#include <memory>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

class sqlite_dead_letters {
public:
  explicit sqlite_dead_letters(SQLite::Database& db);
  ~sqlite_dead_letters();

  result<std::vector<dead_letter>> read(const dead_letter_query& query);

private:
  struct statements;
  std::unique_ptr<statements> sql_;
};

}  // namespace doorstep
