// SPDX-License-Identifier: Apache-2.0
// The writing side: what has come together goes out in unordered bulks, each part of it safe to write again. No transaction: the order of the parts stands in for
// one. Messages and dead letters come first, then inboxes and the cursors that settle them, then the positions that cover them. Writing thread.
#pragma once

#include "runtime/metrics.hpp"
#include "storage/commit_queue.hpp"
#include "storage/mongo_client.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace doorstep {

/// Cursors whose write failed, but which the server may still apply, late. Before such a user is loaded again the stored version is raised to the one in doubt, so
/// that the late write is refused: a horizon closed late would let a push go out unflagged (docs/decisions/0003-push-horizon.md). Any thread.
class cursors_in_doubt {
public:
  void add(const std::unordered_map<address, const cursor_record*>& failed);
  void settle(const std::unordered_map<address, const cursor_record*>& written);
  void settle(const address& user, std::uint64_t version);
  /// The highest version in doubt.
  std::optional<std::uint64_t> find(const address& user) const;

private:
  mutable std::mutex mutex_;
  std::unordered_map<address, std::uint64_t> versions_;
};

class mongo_writer {
public:
  mongo_writer(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& doubts, milliseconds dedup_window, metrics& counts);
  ~mongo_writer();
  /// Writes them all, and fills in which messages are duplicates where a batch asks for it. @returns what went wrong; then any part of them may be stored, and all of it may be written again.
  std::optional<failure> run(std::span<store_work> works);
  /// Retention. @param positions what the store has, at least: nothing at or above is taken.
  std::optional<failure> reap(reap_work& work, const std::vector<shard_position>& positions, bool by_device);
  /// Does the server answer questions? @returns why not.
  std::optional<failure> ping();

private:
  struct impl;
  const std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
