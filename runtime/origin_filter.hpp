// SPDX-License-Identifier: Apache-2.0
// Recognises what a router appends again after a crash, exactly: per origin partition a floor, and the set of (offset, address) above it. Pure.
#pragma once

#include "runtime/message.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace doorstep {

/// Where one origin partition stands: below `floor` everything is durable; `rows` is how far back above-floor entries can be found again.
struct origin_position {
  origin_partition from;
  std::int64_t floor = 0;
  std::uint64_t rescan = 0;  ///< the lowest log position that may hold an entry at or above the floor
};

class origin_filter {
public:
  /// Takes up where a former run stood.
  void restore(const origin_position& x);
  /// Notes an entry found in the log while reading it again from `rescan`.
  void note(const origin& x, const address& to, std::uint64_t position);

  /// True when the entry was appended before; then nothing changes. Otherwise it is remembered with its log position, and the floor it carries taken over.
  /// An entry without an origin partition is never a replay.
  bool is_replay(const origin& x, const address& to, std::uint64_t position);

  /// What changed since the last call, for the store: written in the same transaction as the entries.
  std::vector<origin_position> take_changes(std::uint64_t next_position);
  std::size_t size() const;  ///< entries remembered above the floors

private:
  struct standing {
    std::int64_t floor = 0;
    std::map<std::int64_t, std::vector<std::pair<std::string, std::uint64_t>>> above;
    bool changed = false;
  };
  void raise(standing& x, std::int64_t floor);
  std::map<origin_partition, standing> partitions_;
};

}  // namespace doorstep
