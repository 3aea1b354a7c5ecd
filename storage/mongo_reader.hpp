// SPDX-License-Identifier: Apache-2.0
// The reading side: pages of a user, cursors, dead letters. One a reading thread.
#pragma once

#include "storage/message_store.hpp"
#include "storage/mongo_client.hpp"
#include "storage/mongo_writer.hpp"

#include <memory>
#include <vector>

namespace doorstep {

class mongo_reader {
public:
  /// @param with_bytes somebody wants to know the bytes of what is owed
  mongo_reader(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& doubts, bool with_bytes, bool by_device)
      : at_(std::move(pool)), doubts_(doubts), with_bytes_(with_bytes), by_device_(by_device) {}

  /// @param complete_to everything of the user up to here was stored before this call.
  result<stored_mailbox> load(const address& box, std::size_t limit, sequence complete_to);
  result<std::vector<cursor_record>> devices(const address& user);
  result<std::vector<cursor_record>> newest(const std::vector<address>& keys);
  result<stored_page> read(const address& user, sequence after, std::size_t limit, sequence complete_to);
  result<stored_places> locate(const address& user, const std::vector<sequence>& seqs, sequence complete_to);
  result<stored_history> history(const address& box, const history_query& query, shard_id shard);
  result<std::vector<dead_letter>> dead_letters(const dead_letter_query& query);

private:
  result<void> raise_version(const address& box, std::uint64_t version);
  result<void> cursor_of(const address& key, cursor_record& record);
  result<void> records_of(const address& user, cursor_record& record, inbox_record& inbox);
  static std::vector<bson_out> filters_of(const address& user, const std::vector<sequence_range>& ranges, sequence upto);
  result<void> record_of_device(const address& box, sequence complete_to, stored_mailbox& into);
  result<void> count_owed(const address& user, stored_mailbox& of);
  result<void> add_bytes(const address& user, const std::vector<sequence_range>& ranges, sequence upto, std::uint64_t& into);
  result<std::uint64_t> count(const address& user, const std::vector<sequence_range>& ranges, sequence upto);

  mongo_connection at_;
  cursors_in_doubt& doubts_;
  const bool with_bytes_, by_device_;
};

}  // namespace doorstep
