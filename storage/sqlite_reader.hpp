// SPDX-License-Identifier: Apache-2.0
// The reading side: pages of a user, cursors, dead letters and records of a shard, from a connection of its own and the indexes in memory. Reading thread only.
#pragma once

#include "runtime/config.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"
#include "storage/sqlite_cursors.hpp"
#include "storage/sqlite_schema.hpp"
#include "storage/sqlite_tail.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace doorstep {

class sqlite_reader {
public:
  static result<std::unique_ptr<sqlite_reader>> open(const config& options, const database_identity& identity, const tail_index& tail,
                                                     const cursor_book& cursors);
  ~sqlite_reader();

  result<stored_mailbox> load(const address& box, std::size_t limit);
  result<std::vector<cursor_record>> devices(const address& user);
  result<std::vector<cursor_record>> newest(const std::vector<address>& keys);
  result<stored_page> read(const address& user, sequence after, std::size_t limit);
  result<stored_places> locate(const address& user, const std::vector<sequence>& seqs);
  result<stored_history> history(const address& box, const history_query& query);
  result<std::vector<dead_letter>> dead_letters(const dead_letter_query& query);
  /// Records of a shard from `offset` on: at least one where there is one, at most `limit`. Only where the log is ours (offsets without gaps).
  result<std::vector<logged>> records(std::uint32_t shard, std::uint64_t offset, std::size_t limit);

private:
  struct impl;
  explicit sqlite_reader(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
