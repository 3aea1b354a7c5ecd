// SPDX-License-Identifier: Apache-2.0
// What a CHANNEL does for the counts of its readers: questions to the store, and who is to be told. Made when the first session asks for counts, so that a channel
// whose readers ask for none carries none of it. The decisions are runtime/channel_counts. On the channel's lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/reader_inboxes.hpp"
#include "actors/services.hpp"
#include "runtime/audience.hpp"
#include "runtime/channel_counts.hpp"

#include <optional>
#include <vector>

namespace doorstep {

class count_desk {
public:
  static constexpr std::size_t page_max = 512;

  count_desk(const services& parts, const audience& readers, std::vector<sequence> poisoned, steady_time now);

  /// A session of this reader wants its numbers.
  void open(reader_id who, reader_inboxes& inboxes);
  void close(reader_id who) { counts_.close(who); }
  void live(const std::vector<message_ptr>& messages, steady_time now) { counts_.live(messages, wall(now)); }
  void looked(const std::vector<reader_inboxes::looked>& what);
  void older(const result<stored_history>& page, steady_time now);
  /// Asks the store what is to be asked by now.
  void ask(const address& of, const channel_actor& who, steady_time now);
  void tick(steady_time now) { counts_.tick(wall(now)); }
  std::optional<steady_time> next_due(steady_time now) const;
  std::vector<channel_counts::change> take_changes() { return counts_.take_changes(); }

private:
  unix_ms wall(steady_time now) const { return parts_.clock.time_at(now); }

  const services& parts_;
  const audience& readers_;
  channel_counts counts_;
  bool asking_ = false;
  bool caught_up_;            ///< the store has all that is read of it
  steady_time not_before_{};  ///< after a store that did not answer
};

}  // namespace doorstep
