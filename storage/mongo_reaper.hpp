// SPDX-License-Identifier: Apache-2.0
// Retention in MongoDB: old messages that nobody is owed go, a bounded number a step. No TTL index: it knows nothing of cursors. Writing thread.
#pragma once

#include "runtime/stored.hpp"
#include "storage/message_store.hpp"
#include "storage/mongo_client.hpp"

#include <vector>

namespace doorstep {

/// @param positions what the store has, at least: nothing at or above is taken, or a shard that reads it again would bring it back.
/// @returns reaped::removed and the rest, by step.what.
result<reaped> reap_stored(mongo_connection& at, const reap_step& step, const std::vector<shard_position>& positions, bool by_device);

}  // namespace doorstep
