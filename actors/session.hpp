// SPDX-License-Identifier: Apache-2.0
// SESSION: one live connection of one user's device, between the socket and the user's mailbox. Runs on the lane whose loop has the socket.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/memberships.hpp"
#include "actors/outlet.hpp"
#include "actors/services.hpp"
#include "net/connection.hpp"

#include <caf/stateful_actor.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

struct session_state {
  explicit session_state(on_lane<session_actor::base>*) {}
  static inline const char* name = "session";

  const services* parts = nullptr;
  std::shared_ptr<outlet> out;
  const std::vector<shard_actor>* shards = nullptr;
  address user;
  identity who;
  client::connect request;
  mailbox_actor box;    ///< null until attached
  mailbox_actor inbox;  ///< where devices have mailboxes of their own: the user's; else null
  memberships channels;
  steady_time greet_by = steady_time::max();  ///< then it is greeted without the channels that have not answered
  sequence floor;
  bool greeted = false, rings = false, gone = false;
  std::vector<client::command> early;  ///< said before the mailbox was there; at most early_max, then refused
};
using session_self = caf::stateful_actor<session_state, on_lane<session_actor::base>>;

session_actor::behavior_type session(session_self* self, const services* parts, std::shared_ptr<outlet> out, const std::vector<shard_actor>* shards);

/// A session and what its socket talks to, which turns calls into messages.
struct opened_session {
  session_actor actor;
  std::shared_ptr<connection_handler> handler;
};
/// @param where the lane of the socket's loop; null in deterministic tests.
/// @param shards one actor a shard of the log, outliving every session.
opened_session open_session(caf::actor_system& system, lane* where, const services* parts, std::shared_ptr<connection> socket,
                            const std::vector<shard_actor>* shards);

}  // namespace doorstep
