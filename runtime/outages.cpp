// SPDX-License-Identifier: Apache-2.0
#include "runtime/outages.hpp"

#include "runtime/event_rules.hpp"
#include "runtime/log.hpp"

#include <utility>

namespace doorstep {

void outages::begin(const std::string& part, const std::string& why, const std::string& effect, effect_on whom) {
  {
    const std::lock_guard lock(mutex_);
    if (!away_.try_emplace(part, outage{why, effect, wall_now(), std::chrono::steady_clock::now(), whom}).second) return;
    show_(part, true);
  }
  log_line(log_level::warn, "outage", "began").with("part", part).with("why", why).with("effect", effect);
}

void outages::end(const std::string& part) {
  steady_time began;
  {
    const std::lock_guard lock(mutex_);
    const auto found = away_.find(part);
    if (found == away_.end()) return;
    began = found->second.began;
    away_.erase(found);
    show_(part, false);
  }
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
  log_line(log_level::warn, "outage", "ended").with("part", part).with("ms", static_cast<std::int64_t>(took.count()));
}

bool outages::has(const std::string& part) const {
  const std::lock_guard lock(mutex_);
  return away_.contains(part);
}

std::vector<std::string> outages::reasons() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  out.reserve(away_.size());
  for (const auto& [part, x] : away_)
    if (x.whom == effect_on::readiness) out.push_back(part + " is away since " + rfc3339_of(x.since) + ": " + x.why + "; " + x.effect);
  return out;
}

}  // namespace doorstep
