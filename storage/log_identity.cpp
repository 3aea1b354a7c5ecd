// SPDX-License-Identifier: Apache-2.0
#include "storage/log_identity.hpp"

#include "runtime/digest.hpp"

namespace doorstep {

result<chosen_log> choose_log(const known_log& known, const log_identity& log, const std::string& store, const std::string& field) {
  const auto refused = [&](const std::string& what, const std::string& remedy) {
    return failure{ec::bad_config, store + " " + what + "; " + remedy, field};
  };
  const std::string another = "give each log a " + field + " of its own, or start with the log that this store was made with";
  const auto new_id = [&] { return log.id.empty() ? base64url(random_bytes(16)) : log.id; };
  if (known.id.empty()) return chosen_log{new_id(), log.generation, false};
  if (known.positions.size() != log.ends.size())
    return refused("has " + std::to_string(known.positions.size()) + " shards and the log " + std::to_string(log.ends.size()), another);
  if (log.generation > known.generation) return chosen_log{new_id(), log.generation, true};
  if (!log.id.empty() && log.id != known.id) return refused("belongs to another log", another);
  if (!log.id.empty() && log.generation < known.generation) return refused("belongs to another generation of the log", another);
  for (std::size_t i = 0; i < log.ends.size(); ++i) {
    if (known.positions[i] > log.ends[i])
      return refused(
          "is ahead of the log in shard " + std::to_string(i) + ": it has everything up to offset " + std::to_string(known.positions[i]) +
              " and the log ends at " + std::to_string(log.ends[i]),
          "start with the log that this store was made with, or, where its topic was deleted or truncated, begin anew with doorstep serve --set "
          "log.generation=" +
              std::to_string(known.generation + 1));
  }
  return chosen_log{known.id, known.generation, false};
}

}  // namespace doorstep
