// SPDX-License-Identifier: Apache-2.0
#include "net/tickets.hpp"

#include "runtime/digest.hpp"

#include <algorithm>

namespace doorstep {
namespace {

std::string hash_of(std::string_view ticket) {
  const auto hash = sha256(ticket);
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

}  // namespace

result<std::string> ticket_office::issue(identity who, milliseconds ttl, steady_time now) {
  auto ticket = base64url(random_bytes(32));
  const std::lock_guard lock(mutex_);
  forget_old(now);
  if (entries_.size() >= tickets_max_) return failure{ec::queue_full, "auth.tickets_max unused tickets are out", {}};
  auto& share = of_users_[who.user];
  if (share >= of_a_user_max) return failure{ec::queue_full, "this user has " + std::to_string(share) + " unused tickets", {}};
  ++share;
  auto hash = hash_of(ticket);
  in_order_.emplace_back(now + ttl, hash);
  entries_.emplace(std::move(hash), entry{std::move(who), now + ttl});
  return ticket;
}

std::optional<identity> ticket_office::take(std::string_view ticket, steady_time now) {
  const auto hash = hash_of(ticket);
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(hash);
  if (found == entries_.end()) return {};
  auto x = std::move(found->second);
  entries_.erase(found);
  drop_share(x.who.user);
  if (now >= x.until) return {};
  return std::move(x.who);
}

std::size_t ticket_office::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

/// Those used in between are only names in the line by now. A ttl that a reload has changed may hold others up for as long as the former one.
void ticket_office::forget_old(steady_time now) {
  while (!in_order_.empty() && in_order_.front().first <= now) {
    if (const auto found = entries_.find(in_order_.front().second); found != entries_.end()) {
      drop_share(found->second.who.user);
      entries_.erase(found);
    }
    in_order_.pop_front();
  }
  // Used ones leave their place in the line, which must not outgrow the tickets.
  if (in_order_.size() > 2 * tickets_max_ + 64) std::erase_if(in_order_, [this](const auto& x) { return !entries_.contains(x.second); });
}

void ticket_office::drop_share(const std::string& user) {
  const auto share = of_users_.find(user);
  if (share != of_users_.end() && --share->second == 0) of_users_.erase(share);
}

}  // namespace doorstep
