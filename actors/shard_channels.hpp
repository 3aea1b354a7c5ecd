// SPDX-License-Identifier: Apache-2.0
// The channels of a SHARD that are in memory: made when a reader comes, handed what the log has for them, told to go. A value of the SHARD, on its lane.
#pragma once

#include "actors/channel.hpp"
#include "actors/interfaces.hpp"

#include <caf/typed_response_promise.hpp>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace doorstep {

class shard_channels {
public:
  struct entry {
    channel_actor who;
    std::uint64_t sent = 0;             ///< delivers and attaches
    std::vector<message_ptr> outgoing;  ///< of the batch in hand
  };

  bool empty() const { return all_.empty(); }
  std::size_t size() const { return all_.size(); }
  const std::unordered_map<address, entry>& all() const { return all_; }

  entry* find(const address& of);
  entry& add(const address& of, channel_actor who);
  /// For deliver(); nothing where the channel is not in memory: then nobody reads it.
  void pass(const message_ptr& x);
  template <class Self>
  void deliver_outgoing(Self* self) {
    for (auto* x : std::exchange(touched_, {})) {
      ++x->sent;
      self->send(x->who, deliver{std::exchange(x->outgoing, {})});
    }
  }
  /// @returns which one has ended.
  std::optional<address> ended(const caf::actor_addr& who);

  /// A reader's cursor may be further than what this life has been handed of the log that a former one wrote: a channel would take what follows for news. So the
  /// first readers wait until that log has been read.
  std::uint64_t log_read_at = 0;  ///< the offset that says it
  /// @returns when to ask still_wait().
  milliseconds make_wait(const attach_reader& x, steady_time now);
  /// @returns how long those who wait still have to. Not for ever: a log that has lost its end does not come to it.
  std::optional<milliseconds> still_wait(steady_time now);
  std::vector<attach_reader> take_waiting() { return waiting_.empty() ? std::vector<attach_reader>() : std::exchange(waiting_, {}); }
  void forget(const address& of);

private:
  std::unordered_map<address, entry> all_;
  std::unordered_map<caf::actor_addr, address> owners_;
  std::vector<entry*> touched_;
  std::vector<attach_reader> waiting_;
  steady_time wait_until_{};
};

}  // namespace doorstep
