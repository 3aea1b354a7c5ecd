// SPDX-License-Identifier: Apache-2.0
#include "net/deny_list.hpp"

#include <algorithm>

namespace doorstep {
namespace {

/// Calls `f` with each name by which this user could be denied, until it says true.
template <class F>
bool any_name(const identity& who, F f) {
  if (f("user:" + who.user)) return true;
  const auto one = [&](const std::string& kind) { return [&f, kind](const std::string& x) { return f(kind + x); }; };
  return std::any_of(who.roles.begin(), who.roles.end(), one("role:")) || std::any_of(who.groups.begin(), who.groups.end(), one("group:"));
}

}  // namespace

result<void> deny_list::add(const std::string& who, milliseconds duration, steady_time now) {
  const std::lock_guard lock(mutex_);
  if (until_.size() >= entries_max) std::erase_if(until_, [now](const auto& x) { return x.second <= now; });
  if (until_.size() >= entries_max && !until_.contains(who))
    return failure{ec::queue_full, std::to_string(entries_max) + " are denied already", "deny_for"};
  until_[who] = now + duration;
  return {};
}

bool deny_list::has(const identity& who, steady_time now) const {
  const std::lock_guard lock(mutex_);
  if (until_.empty()) return false;
  return any_name(who, [&](const std::string& name) {
    const auto found = until_.find(name);
    return found != until_.end() && found->second > now;
  });
}

bool is_denied(const std::vector<std::string>& entries, const identity& who) {
  if (entries.empty()) return false;
  return any_name(who, [&](const std::string& name) { return std::find(entries.begin(), entries.end(), name) != entries.end(); });
}

}  // namespace doorstep
