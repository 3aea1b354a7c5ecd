// SPDX-License-Identifier: Apache-2.0
// Which log a store stands beside. A store that was filled from another one refuses to start: positions would not mean the same records.
#pragma once

#include "storage/message_log.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

/// The log that a store stands beside. Seqs come from it: a store of another log would take new messages for old ones.
struct log_identity {
  std::string id;  ///< random, made with the log; empty where the log does not know: then the store says whose it is
  std::uint32_t generation = 0;
  std::vector<std::uint64_t> ends;  ///< a shard's next offset; as many as there are shards
};

inline log_identity identity_of(const message_log& log, std::string id) {
  log_identity out{std::move(id), log.generation(), {}};
  for (std::uint32_t i = 0; i < log.shard_count(); ++i) out.ends.push_back(log.end_offset(shard_id{i}));
  return out;
}

/// What a store remembers of the log that it was filled from.
struct known_log {
  std::string id;  ///< empty: of none yet
  std::uint32_t generation = 0;
  std::vector<std::uint64_t> positions;
};
struct chosen_log {
  std::string id;
  std::uint32_t generation = 0;
  bool anew = false;  ///< positions and origins of the former generation no longer count
};

/// @param store how messages call it. @returns what the two agree on, or ec::bad_config with `field` that says what to do.
result<chosen_log> choose_log(const known_log& known, const log_identity& log, const std::string& store, const std::string& field);

}  // namespace doorstep
