// SPDX-License-Identifier: Apache-2.0
// How often the mailboxes and channels of one SHARD may fail before they are left out, and which message each failure is blamed on. A value of the SHARD, on its
// lane.
#pragma once

#include "runtime/address.hpp"
#include "runtime/config.hpp"
#include "runtime/ids.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace doorstep {

/// A mailbox that failed comes back under suspicion: one message in flight, and noted while it is carried out, so that the SHARD knows which one to blame
/// when it fails again. So does a channel, but for the one message in flight. Shared by SHARD and MAILBOX or CHANNEL, which run on one lane.
struct suspicion {
  sequence in_hand;                                     ///< 0: none
  std::vector<std::pair<sequence, std::size_t>> blame;  ///< how often each brought the mailbox down
};

class restart_budget {
public:
  static constexpr std::size_t poisoned_max = 256;
  /// It has failed. The message in hand is to blame; once one has failed often enough the next life gives it up, so the count begins anew.
  void note(const address& who, steady_time now, const delivery_config& limits);
  /// It fails again and again, and is not to be started for a while.
  bool is_spent(const address& who, steady_time now, const delivery_config& limits);
  /// It has failed, and that still counts.
  bool has(const address& who) const { return deaths_.contains(who); }
  /// Of one whose failures still count; else null.
  std::shared_ptr<suspicion> suspect(const address& who) const;
  /// Of a channel: messages that were given up, the newest poisoned_max. Its readers come to them one by one, long after the failures count no more; one that
  /// is not among them any more fails the channel again, until it is blamed again, and its dead letter is the same row.
  std::vector<sequence> poisoned(const address& channel) const;

private:
  std::unordered_map<address, std::deque<steady_time>> deaths_;  ///< recent ones
  std::unordered_map<address, std::shared_ptr<suspicion>> suspects_;
  std::unordered_map<address, std::vector<sequence>> poisoned_;
};

}  // namespace doorstep
