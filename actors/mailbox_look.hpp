// SPDX-License-Identifier: Apache-2.0
// GET /v1/mailboxes/<user>: asks the mailbox where it is in memory, else the store; each device of the user, where devices have cursors; and the
// channels that are in memory. Any thread.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <caf/actor_system.hpp>

#include <functional>
#include <string>
#include <vector>

namespace doorstep {

/// @param done called once, on any thread
void look_at_user(caf::actor_system& system, const services& parts, const std::vector<shard_actor>& shards, const address& user,
                  std::function<void(result<std::string>)> done);

}  // namespace doorstep
