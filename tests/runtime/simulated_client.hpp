// SPDX-License-Identifier: Apache-2.0
// The state of the model clients of outbox_simulation.cpp; what they do is there.
#pragma once

#include "runtime/ids.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace doorstep::test {

/// One connection of a client, as both ends see it.
struct simulated_connection {
  std::size_t client = 0;
  unsigned slot = 0;
  bool served = true, up = true;  ///< the server's end, the client's end
  steady_time to_client{}, to_server{};
  std::map<std::uint64_t, bool> received;  ///< seq -> handled
  std::set<std::uint64_t> nacked, ids_to_ack;
  std::map<std::uint64_t, std::vector<std::uint64_t>> asked;  ///< request -> what its receipt stands for
  bool ack_planned = false;
};

/// What one device remembers over its connections.
struct simulated_client {
  bool acks_by_id = false, resumes = false;
  std::uint64_t connected = 0, seen = 0, request = 0;
  steady_time stalls_until{};
  std::set<std::uint64_t> unreceipted;
};

}  // namespace doorstep::test
