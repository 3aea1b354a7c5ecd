// SPDX-License-Identifier: Apache-2.0
// SHARD: reads one shard of the mailbox log, hands each message to its user's mailbox, and owns and supervises those mailboxes. Runs on a lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/lane.hpp"
#include "actors/mailbox.hpp"
#include "actors/restart_budget.hpp"
#include "actors/services.hpp"
#include "actors/shard_channels.hpp"
#include "runtime/origin_filter.hpp"

#include <caf/stateful_actor.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <deque>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace doorstep {

struct shard_birth {
  shard_id id{};
  std::uint64_t from_offset = 0;  ///< the position the store holds
  writer_actor writer;
  std::vector<origin_position> origins{};  ///< stored with the position
};

struct shard_state {
  explicit shard_state(on_lane<shard_actor::base>*) {}
  static inline const char* name = "shard";

  struct entry {
    mailbox_actor box;                  ///< null only where it failed, or is gone, before those of devices
    std::uint64_t sent = 0;             ///< delivers and attaches
    std::vector<message_ptr> outgoing;  ///< of the batch in hand
    /// Of a user whose devices have mailboxes of their own: names of those that are here. Null in other entries. The entry stays as long as there are any, since
    /// messages find them here.
    std::unique_ptr<std::vector<address>> devices{};
  };

  shard_birth birth;
  boost::unordered_flat_map<address, entry, std::hash<address>> boxes;  ///< a lookup costs two cache misses; entries move when it grows
  std::unordered_map<caf::actor_addr, address> owners;
  shard_channels channels;
  restart_budget failures;
  std::vector<entry*> touched;
  origin_filter origins;
  sequence takeover;  ///< the log's end when this shard was opened, or a mailbox died: what may have been pushed before
  std::uint64_t next_offset = 0, saved_offset = 0, records = 0, restarts = 0;
  std::vector<origin_position> owed_origins;  ///< of a save that failed
  /// To be stored before the position goes past them, in the log's order.
  std::deque<dead_letter> dead;
  /// The same, for a store that does not share the log's table; where the store is the judge of duplicates nobody has been sent them.
  std::deque<message_ptr> unsaved;
  std::size_t dead_in_saving = 0, unsaved_in_saving = 0;  ///< the first ones, which the WRITER has
  std::size_t withheld = 0;                               ///< records taken and not granted again, because too many wait for the store
  bool saving = false, rings = false, draining = false;
  caf::strong_actor_ptr drain_asked_by;
  actor_age age;
};
using shard_self = caf::stateful_actor<shard_state, on_lane<shard_actor::base>>;

/// The report of a SHARD with those of its channels below it.
caf::result<actor_report> report_of(shard_self* self, const services& parts);
/// How a user stands in those of them that are in memory.
caf::result<reader_reports> readers_of(shard_self* self, const look_at_reader& x);

shard_actor::behavior_type shard(shard_self* self, const services* parts, shard_birth birth);

}  // namespace doorstep
