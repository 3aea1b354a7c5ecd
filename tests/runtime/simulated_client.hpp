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

struct acks_of_a_frame {
  std::uint64_t up_to = 0;
  std::vector<std::uint64_t> ids, covers;  ///< covers: what it is all about
};

/// @param gives_up messages may leave unacked: what was passed over may never come again, so what is above it is acked by id
inline acks_of_a_frame acks_due(simulated_connection& c, const simulated_client& me, bool gives_up) {
  acks_of_a_frame out;
  out.ids = out.covers = {c.ids_to_ack.begin(), c.ids_to_ack.end()};
  c.ids_to_ack.clear();
  if (me.acks_by_id) return out;
  bool gap = false;
  for (const auto& [seq, handled] : c.received) {
    const bool nacked = c.nacked.contains(seq);
    gap = gap || (!handled && !nacked);
    if (gap && !gives_up) break;
    if (!gap) out.up_to = seq;
    if (nacked || !handled) continue;
    out.covers.push_back(seq);
    if (gap && !me.unreceipted.contains(seq)) out.ids.push_back(seq);
  }
  return out;
}

}  // namespace doorstep::test
