// SPDX-License-Identifier: Apache-2.0
// A mailbox log in memory, for tests of actors and for benches: everything happens when the test calls run(), on the thread that calls it.
// Calls may come from any thread. Its rules are those of every log (the log_contract suite runs against it too).
#pragma once

#include "runtime/origin_filter.hpp"
#include "storage/message_log.hpp"

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace doorstep::test {

struct memory_log_options {
  std::uint32_t shards = 1;
  std::uint32_t generation = 0;
  std::size_t queue_max = 65536;
  milliseconds dedup_window{24 * 3600 * 1000};
  bool judges = true;  ///< replays and duplicates; else every entry gets a seq, and its origin goes on with it
};

class memory_log final : public message_log {
public:
  explicit memory_log(memory_log_options options = {});

  /// Commits what is queued, calls what is owed and hands over what was granted, until there is nothing left. @returns false when there was nothing to do.
  bool run();
  /// From now on every append fails with this, as with a full disk; none = works again.
  void fail_with(std::optional<failure> why);

  std::uint32_t shard_count() const override { return options_.shards; }
  std::uint32_t generation() const override { return options_.generation; }
  bool judges_duplicates() const override { return options_.judges; }
  bool append(std::vector<log_entry> entries, admission who, append_done done) override;
  void open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) override;
  void grant(shard_id shard, std::size_t records) override;
  void close_shard(shard_id shard) override;
  std::uint64_t end_offset(shard_id shard) const override;
  std::size_t queued() const override;
  std::size_t queue_max() const override { return options_.queue_max; }
  void stop() override;

  /// The messages of one address with seq > after, as a store on the same table sees them.
  std::vector<message_ptr> messages_of(const address& to, sequence after, std::size_t limit) const;
  /// The oldest of all, for retention: those appended earlier than `before`, in seq order an address.
  std::vector<message_ptr> older_than(unix_ms before) const;
  void forget(const message& x);

private:
  struct job {
    std::vector<log_entry> entries;
    append_done done;
  };
  struct shard_state {
    std::deque<logged> records;
    std::uint64_t next = 0;
    std::size_t granted = 0;
    log_sink sink;
  };

  bool commit_one();
  bool hand_over_one();
  appended place(log_entry& entry);

  const memory_log_options options_;
  mutable std::mutex mutex_;
  std::deque<job> jobs_;
  std::size_t queued_ = 0;
  bool stopped_ = false;
  std::optional<failure> failing_;
  std::vector<shard_state> shards_;
  std::unordered_map<std::string, unix_ms> keys_;
  std::unordered_map<address, std::vector<message_ptr>> by_address_;
  origin_filter origins_;
};

}  // namespace doorstep::test
