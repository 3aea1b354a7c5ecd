// SPDX-License-Identifier: Apache-2.0
// Recognises what a router appends again after a crash, exactly: per origin partition a floor, and the set of (offset, address) above it.
// Judged inside a transaction of the log: commit() or rollback() ends it, so that a failed write leaves nothing half remembered. Pure; one thread.
#pragma once

#include "runtime/message.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace doorstep {

/// Where one origin partition stands: below `floor` everything is durable; `rescan` is how far back above-floor entries can be found again.
struct origin_position {
  origin_partition from;
  std::int64_t floor = 0;
  std::uint64_t rescan = 0;  ///< the lowest log position that may hold an entry at or above the floor, but for those in `above`
  std::vector<std::pair<std::int64_t, std::string>> above{};  ///< (offset, address) of entries that lie too far back to be read again
};

class origin_filter {
public:
  /// Takes up where a former run stood.
  void restore(const origin_position& x);
  /// Notes an entry found in the log while reading it again from `rescan`.
  void note(const origin& x, const address& to, std::uint64_t position);

  /// True when the entry was appended before; then nothing is remembered anew. Otherwise it is remembered with its log position. The floor it carries
  /// is taken over either way, since the router that made it knew. An entry without an origin partition is never a replay.
  bool is_replay(const origin& x, const address& to, std::uint64_t position);

  /// What the open transaction changed, for the store: written in the same transaction as the entries. `next_position` is the end of the log after it.
  /// Entries that lie more than `reach` positions before that are named one by one; a partition that is quiet gets there without a change of its own.
  std::vector<origin_position> changes(std::uint64_t next_position, std::uint64_t reach = UINT64_MAX) const;
  /// The transaction is durable: floors rise, and what is below them is forgotten.
  void commit();
  /// The transaction never happened.
  void rollback();

  std::size_t size() const { return size_; }  ///< entries remembered above the floors

private:
  /// A record's addresses. Nearly all have one, so that it costs no memory of its own.
  struct remembered {
    std::int64_t offset = 0;
    std::uint64_t lowest_position = 0;
    std::string first;
    std::unique_ptr<std::unordered_set<std::string>> more{};  ///< the others

    bool insert(std::string_view address);
    void erase(const std::string& address);
    void name_all(std::vector<std::pair<std::int64_t, std::string>>& into) const;
    bool empty() const { return first.empty() && !more; }
    std::size_t size() const { return (first.empty() ? 0 : 1) + (more ? more->size() : 0); }
  };
  struct standing {
    std::int64_t floor = 0;
    std::int64_t next_floor = 0;    ///< the open transaction's
    std::vector<remembered> above;  ///< by offset; records come in order, so it grows at its end
    bool changed = false;
    mutable bool named = false;  ///< the store has the entries one by one
  };
  struct undo {
    standing* at;
    std::int64_t offset;
    std::string address;
  };

  standing& at(const std::shared_ptr<const origin_partition>& from);
  bool remember(standing& at, std::int64_t offset, std::string_view to, std::uint64_t position);

  std::map<origin_partition, standing> partitions_;
  std::vector<undo> undo_;
  std::size_t size_ = 0;
  std::shared_ptr<const origin_partition> last_from_;  ///< records of one partition come in runs
  standing* last_ = nullptr;
};

}  // namespace doorstep
