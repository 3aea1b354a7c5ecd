// SPDX-License-Identifier: Apache-2.0
// Who is kept out although the token is good: auth.deny, and whom an operator denied for a while, which a restart forgets. Any thread.
#pragma once

#include "net/connection.hpp"
#include "runtime/error.hpp"

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace doorstep {

class deny_list {
public:
  static constexpr std::size_t entries_max = 10'000;

  /// @param who "user:x", "role:x" or "group:x". @returns ec::queue_full where entries_max are denied.
  result<void> add(const std::string& who, milliseconds duration, steady_time now);
  /// By what an operator said, and not over yet.
  bool has(const identity& who, steady_time now) const;

private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, steady_time> until_;
};

/// Whether one of the configured entries means this user.
bool is_denied(const std::vector<std::string>& entries, const identity& who);

}  // namespace doorstep
