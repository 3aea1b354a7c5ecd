// SPDX-License-Identifier: Apache-2.0
// One-time tickets: what stands in a URL in place of a token. Good once and for a moment; only their hashes are kept. Any thread.
#pragma once

#include "net/connection.hpp"
#include "runtime/error.hpp"

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace doorstep {

class ticket_office {
public:
  static constexpr std::size_t of_a_user_max = 16;

  explicit ticket_office(std::size_t tickets_max) : tickets_max_(tickets_max) {}

  /// @returns the ticket, or ec::queue_full: there are auth.tickets_max unused ones, or this user has its share.
  result<std::string> issue(identity who, milliseconds ttl, steady_time now);
  /// Whoever shows it first is taken at its word; none for one that is used, too old, or was never made.
  std::optional<identity> take(std::string_view ticket, steady_time now);
  std::size_t size() const;

private:
  struct entry {
    identity who;
    steady_time until;
  };
  void forget_old(steady_time now);
  void drop_share(const std::string& user);

  const std::size_t tickets_max_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, entry> entries_;         ///< by hash
  std::unordered_map<std::string, std::size_t> of_users_;  ///< how many each has
  std::deque<std::pair<steady_time, std::string>> in_order_;
};

}  // namespace doorstep
