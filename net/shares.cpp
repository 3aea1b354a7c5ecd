// SPDX-License-Identifier: Apache-2.0
#include "net/shares.hpp"

#include <algorithm>

namespace doorstep {

bool rate_limit::take(std::size_t amount, std::size_t per_second, steady_time now) {
  if (per_second == 0) return true;
  const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  const auto cost = static_cast<std::int64_t>(static_cast<double>(amount) * 1e9 / static_cast<double>(per_second));
  auto before = full_at_.load(std::memory_order_relaxed);
  std::int64_t after = 0;
  do after = std::max(before, time) + cost;
  while (!full_at_.compare_exchange_weak(before, after, std::memory_order_relaxed));
  return after - time <= 2'000'000'000;
}

std::shared_ptr<user_share> user_shares::join(const std::string& user) {
  const std::lock_guard lock(mutex_);
  auto& share = shares_[user];
  if (limits_.connections_per_user_max > 0 && share.connections >= limits_.connections_per_user_max) return nullptr;
  ++share.connections;
  return {&share, [this, user](user_share*) { leave(user); }};
}

void user_shares::leave(const std::string& user) {
  const std::lock_guard lock(mutex_);
  const auto found = shares_.find(user);
  if (found != shares_.end() && --found->second.connections == 0) shares_.erase(found);
}

std::shared_ptr<const bool> address_shares::join(const std::string& ip) {
  if (connections_max_ == 0) return nullptr;
  std::size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    count = ++counts_[ip];
  }
  return {new bool(count > connections_max_), [this, ip](const bool* x) {
            delete x;
            const std::lock_guard lock(mutex_);
            const auto found = counts_.find(ip);
            if (found != counts_.end() && --found->second == 0) counts_.erase(found);
          }};
}

}  // namespace doorstep
