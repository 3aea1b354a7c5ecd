// SPDX-License-Identifier: Apache-2.0
// What one user may use by all of its connections together, and one IP address. Nothing is kept for whom no limit is configured. Any thread.
#pragma once

#include "runtime/config.hpp"
#include "runtime/ids.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace doorstep {

/// So many a second on average, and twice as many at once: when the bucket would be full again.
class rate_limit {
public:
  /// False when it is over. @param per_second 0 = no limit.
  bool take(std::size_t amount, std::size_t per_second, steady_time now);

private:
  std::atomic<std::int64_t> full_at_{0};
};

struct user_share {
  std::size_t connections = 0;  ///< guarded by the user_shares
  rate_limit frames, bytes;
};

/// A place among a user's connections, given back by its end.
class user_shares {
public:
  explicit user_shares(const ws_config& limits) : limits_(limits) {}

  bool is_used() const {
    return limits_.connections_per_user_max + limits_.frames_per_second_per_user_max + limits_.bytes_per_second_per_user_max > 0;
  }
  /// Null where ws.connections_per_user_max is reached. Must outlive what it returns.
  std::shared_ptr<user_share> join(const std::string& user);

private:
  void leave(const std::string& user);

  const ws_config& limits_;
  std::mutex mutex_;
  std::unordered_map<std::string, user_share> shares_;
};

/// Connections of each IP address.
class address_shares {
public:
  explicit address_shares(std::size_t connections_max) : connections_max_(connections_max) {}

  /// Null where there is no limit. What it points to says whether this connection is one too many; it counts until its end either way.
  std::shared_ptr<const bool> join(const std::string& ip);

private:
  const std::size_t connections_max_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> counts_;
};

}  // namespace doorstep
