// SPDX-License-Identifier: Apache-2.0
#include "actors/restart_budget.hpp"

#include "runtime/devices.hpp"
#include "runtime/log.hpp"

#include <algorithm>

namespace doorstep {

void restart_budget::note(const address& who, steady_time now, const delivery_config& limits) {
  auto& times = deaths_[who];
  times.push_back(now);
  auto& suspect = suspects_[who];
  if (!suspect) suspect = std::make_shared<suspicion>();
  const auto seq = std::exchange(suspect->in_hand, {});
  if (!seq) return;
  auto found = std::find_if(suspect->blame.begin(), suspect->blame.end(), [&](const auto& x) { return x.first == seq; });
  if (found == suspect->blame.end()) found = suspect->blame.insert(found, {seq, 0});
  if (++found->second != limits.poison_attempts) return;
  if (who.is_channel()) {
    auto& given_up = poisoned_[who];
    if (given_up.size() >= poisoned_max) {
      std::erase_if(suspect->blame, [&](const auto& x) { return x.first == given_up.front(); });
      given_up.erase(given_up.begin());
    }
    given_up.push_back(seq);
  }
  times.clear();
  times.push_back(now);
  log_line(log_level::error, "shard", "poison-message").with("of", readable(who)).with("seq", seq.value).with("action", "dead-lettered");
}

bool restart_budget::is_spent(const address& who, steady_time now, const delivery_config& limits) {
  const auto found = deaths_.find(who);
  if (found == deaths_.end()) return false;
  auto& times = found->second;
  const auto from = now - limits.mailbox_restart_window;
  while (!times.empty() && times.front() < from) times.pop_front();
  if (times.empty()) {
    deaths_.erase(found);
    suspects_.erase(who);
    return false;
  }
  return times.size() >= limits.mailbox_restarts_max;
}

std::shared_ptr<suspicion> restart_budget::suspect(const address& who) const {
  const auto found = suspects_.find(who);
  return found == suspects_.end() ? nullptr : found->second;
}

std::vector<sequence> restart_budget::poisoned(const address& channel) const {
  const auto found = poisoned_.find(channel);
  return found == poisoned_.end() ? std::vector<sequence>() : found->second;
}

}  // namespace doorstep
