// SPDX-License-Identifier: Apache-2.0
// A message store in memory for tests of actors: every call is answered when the test calls run(). With a memory_log it shares its messages, as the
// embedded engine does; without one it keeps those it is given. Calls may come from any thread.
#pragma once

#include "storage/message_store.hpp"
#include "tests/support/memory_log.hpp"

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace doorstep::test {

class memory_store final : public message_store {
public:
  explicit memory_store(std::uint32_t shards = 1) : shards_(shards), positions_(shards) {}
  /// @param shares false: it keeps messages of its own, as a store on another machine does.
  explicit memory_store(memory_log& log, bool shares = true)
      : shared_(shares ? &log : nullptr), shards_(log.shard_count()), positions_(log.shard_count()) {}

  /// Answers what was asked before this call. @returns false when there was nothing.
  bool run();
  /// From now on every call fails with this; none = works again.
  void fail_with(std::optional<failure> why);
  /// Calls waiting for run().
  std::size_t waiting() const;
  std::size_t writes() const;  ///< store_batch given to write() and stored
  /// What a reader would find now, without a callback.
  cursor_record record_of(const address& user) const;
  inbox_record inbox_of(const address& user) const;
  std::vector<cursor_record> devices_of(const address& user) const;
  std::vector<dead_letter> dead() const;
  bool is_mirrored(const dead_letter& x) const;

  bool shares_log() const override { return shared_ != nullptr; }
  store_identity identity() const override { return {"memory", "memory", 0}; }
  std::vector<shard_position> positions() const override;
  void write(store_batch batch, urgency when, store_done<void> done) override;
  void load(address box, std::size_t limit, store_done<stored_mailbox> done) override;
  void devices(address user, store_done<std::vector<cursor_record>> done) override;
  void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) override;
  void read(address user, sequence after, std::size_t limit, store_done<stored_page> done) override;
  void locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) override;
  void history(address box, history_query query, store_done<stored_history> done) override;
  void reap(reap_step step, store_done<reaped> done) override;
  void dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) override;
  void stop_reading() override;
  void stop() override;

private:
  using answer = std::function<void(const std::optional<failure>&)>;
  void ask(answer x);
  void read_later(answer x);
  /// @returns the duplicates.
  std::vector<message_ptr> store(const store_batch& batch);
  stored_page page_of(const address& user, sequence after, std::size_t limit) const;
  std::vector<message_ptr> messages_of(const address& user, sequence after) const;
  std::vector<message_ptr> older_than(unix_ms before) const;
  reaped reap_some(const reap_step& step);
  reaped reap_dead_letters(const reap_step& step);
  reaped forget_devices(const reap_step& step);
  std::vector<address> owing(const message& x) const;
  reaped find_expired(const reap_step& step) const;

  memory_log* const shared_ = nullptr;
  const std::uint32_t shards_;
  mutable std::mutex mutex_;
  std::deque<answer> asked_;
  std::optional<failure> failing_;
  bool stopped_ = false;
  std::atomic<bool> reads_stopped_ = false;
  std::size_t writes_ = 0;
  struct standing {
    std::uint64_t next_offset = 0;
    std::map<origin_partition, origin_position> origins;
  };
  std::vector<standing> positions_;
  std::map<std::string, message_ptr> keys_;  ///< of messages that were judged
  std::unordered_map<address, cursor_record> cursors_;
  std::unordered_map<address, inbox_record> inboxes_;
  std::map<shard_id, sequence> gone_to_;
  std::unordered_map<address, std::map<sequence, message_ptr>> messages_;
  std::vector<dead_letter> dead_;
  std::set<std::pair<std::string, std::uint32_t>> mirrored_;  ///< ids and numbers of deaths
};

}  // namespace doorstep::test
