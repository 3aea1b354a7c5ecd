// SPDX-License-Identifier: Apache-2.0
// MAILBOX: everything owed to one user, or to one of a user's devices. Thin: the decisions are runtime/outbox, this actor carries them out. Runs on its shard's lane.
#pragma once

#include "actors/device_desk.hpp"
#include "actors/expiry_desk.hpp"
#include "actors/inbox_desk.hpp"
#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/outlet.hpp"
#include "actors/restart_budget.hpp"
#include "actors/services.hpp"

#include <boost/container/small_vector.hpp>
#include <caf/stateful_actor.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace doorstep {

/// What a mailbox is born with.
struct mailbox_birth {
  address user;
  address box;                 ///< the user, or device_box()
  sequence open_horizon;       ///< where the log stood when an earlier life of this mailbox may still have pushed
  bool replaces_dead = false;  ///< writes of the one before may still be under way
  shard_actor shard;
  writer_actor writer;
  std::shared_ptr<suspicion> suspect{};  ///< null but after a failure
};

struct mailbox_state {
  explicit mailbox_state(on_lane<mailbox_actor::base>*) {}
  static inline const char* name = "mailbox";

  struct session {
    caf::strong_actor_ptr who;
    std::shared_ptr<outlet> out;  ///< null when the session is on another lane
    unsigned slot;
    bool counts;
  };

  const services* parts = nullptr;
  mailbox_birth birth;
  std::optional<outbox> owed;
  boost::container::small_vector<session, 1> sessions;
  std::uint64_t seen = 0;  ///< delivers and attaches, for the passivation handshake
  steady_time rings_at = steady_time::max();
  steady_time idle_since{}, save_not_before{};
  std::optional<steady_time> lingers_until;  ///< acks nobody waits for wait for more of them
  std::unique_ptr<inbox_desk> desk;          ///< null until the inbox is needed
  std::unique_ptr<device_desk> device;       ///< of the mailbox of one device
  std::unique_ptr<expiry_desk> overdue;      ///< null while nobody says that something is past its time
  steady_time note_floor_at{};               ///< when the inbox writes down again what is delivered
  bool draining = false;
  // where devices have cursors
  bool keeps_inbox_only = false;           ///< the user's own mailbox
  bool has_devices = false;                ///< its record says nothing then, and stays as it is
  bool dormant = false;                    ///< a device the store does not have, and no session wants it: not loaded
  unsigned next_slot = outbox::slots_max;  ///< of sessions that are not the outbox's
  std::vector<note_in_inbox> early_notes;  ///< before it was loaded
  steady_time suspect_until{};
  std::array<std::uint32_t, dead_reasons_max> given_up{};  ///< in this life, by reason
  std::uint64_t superseded = 0;                            ///< in this life
  std::uint64_t load_failures = 0;
  actor_age age;
};
using mailbox_self = caf::stateful_actor<mailbox_state, on_lane<mailbox_actor::base>>;

mailbox_actor::behavior_type mailbox(mailbox_self* self, const services* parts, mailbox_birth birth);

}  // namespace doorstep
