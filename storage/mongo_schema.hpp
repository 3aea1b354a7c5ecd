// SPDX-License-Identifier: Apache-2.0
// What is seen to before the store is used: the document that says whose store this is, the indexes by name, the positions. On the opening thread.
#pragma once

#include "runtime/error.hpp"
#include "storage/log_identity.hpp"
#include "storage/message_store.hpp"
#include "storage/mongo_client.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace doorstep {

struct mongo_identity {
  store_identity who;
  std::vector<shard_position> positions;
  std::uint64_t dead_letters = 0;
};

/// Makes what is missing. @returns ec::bad_config, saying what to do, where the store belongs to another log, shard count or generation, or is ahead of the
/// log; ec::unsupported for a newer format; ec::unavailable for the world.
result<mongo_identity> prepare_mongo(mongo_connection& at, const log_identity& log, bool by_device);

}  // namespace doorstep
