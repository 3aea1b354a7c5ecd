// SPDX-License-Identifier: Apache-2.0
#include "actors/shard_channels.hpp"

#include <utility>

namespace doorstep {

shard_channels::entry* shard_channels::find(const address& of) {
  const auto found = all_.find(of);
  return found == all_.end() ? nullptr : &found->second;
}

shard_channels::entry& shard_channels::add(const address& of, channel_actor who) {
  owners_.emplace(who->address(), of);
  return all_.emplace(of, entry{std::move(who), 0, {}}).first->second;
}

void shard_channels::pass(const message_ptr& x) {
  const auto found = all_.find(x->to);
  if (found == all_.end()) return;
  if (found->second.outgoing.empty()) touched_.push_back(&found->second);
  found->second.outgoing.push_back(x);
}

std::optional<address> shard_channels::ended(const caf::actor_addr& who) {
  const auto found = owners_.find(who);
  if (found == owners_.end()) return std::nullopt;
  auto of = found->second;
  forget(of);
  return of;
}

void shard_channels::forget(const address& of) {
  const auto found = all_.find(of);
  if (found == all_.end()) return;
  owners_.erase(found->second.who->address());
  all_.erase(found);
}

}  // namespace doorstep
