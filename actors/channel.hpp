// SPDX-License-Identifier: Apache-2.0
// CHANNEL: an address with many readers. Thin: the decisions are runtime/audience, this actor carries them out. Runs on its shard's lane; sessions of other lanes get what
// it pushes by one post a lane and turn.
#pragma once

#include "actors/count_desk.hpp"
#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/outlet.hpp"
#include "actors/reader_inboxes.hpp"
#include "actors/restart_budget.hpp"
#include "actors/services.hpp"
#include "runtime/audience.hpp"

#include <caf/stateful_actor.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace doorstep {

/// What a channel is born with.
struct channel_birth {
  address of;
  sequence known;              ///< all above comes by deliver
  sequence open_horizon;       ///< where the log stood when an earlier life of this channel may still have pushed
  bool replaces_dead = false;  ///< writes of the one before may still be under way
  shard_actor shard;
  writer_actor writer;
  std::shared_ptr<suspicion> suspect{};  ///< where it has failed lately
  std::vector<sequence> poisoned{};      ///< that were given up
};

struct channel_state {
  explicit channel_state(on_lane<channel_actor::base>*) {}
  ~channel_state();
  static inline const char* name = "channel";

  struct session {
    caf::strong_actor_ptr who;
    std::shared_ptr<outlet> out;
    lane* where;
    std::uint32_t number;
    bool counts;        ///< wants to know what is unread
    bool waits = true;  ///< for its reader's first cursor
  };
  struct place {
    reader_id reader;
    std::uint32_t number;
  };

  const services* parts = nullptr;
  channel_birth birth;
  std::optional<audience> readers;
  std::optional<reader_inboxes> inboxes;
  std::optional<count_desk> counts;            ///< none before somebody wants them
  std::vector<std::vector<session>> sessions;  ///< by reader
  std::unordered_map<caf::actor_addr, place> places;
  bool settling = false;  ///< writes of the life before are still under way: nothing is loaded
  std::uint32_t next_number = 1;
  std::uint64_t seen = 0;  ///< delivers and attaches, for the passivation handshake
  steady_time rings_at = steady_time::max(), idle_since{}, save_not_before{};
  std::optional<steady_time> lingers_until;
  bool draining = false, loading = false, saving = false;
  std::vector<reader_id> to_load;
  actor_age age;
};
using channel_self = caf::stateful_actor<channel_state, on_lane<channel_actor::base>>;

channel_actor::behavior_type channel(channel_self* self, const services* parts, channel_birth birth);

}  // namespace doorstep
