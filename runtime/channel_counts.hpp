// SPDX-License-Identifier: Apache-2.0
// What is unread and unseen in one channel, of the readers that somebody asked for: which messages there are, kept once, and of each such reader the ranges that are
// not marked. Nothing of it is stored. Pure: no thread, no clock, no I/O. The rules are in docs/decisions/0012-channels.md.
#pragma once

#include "runtime/audience.hpp"
#include "runtime/inbox.hpp"
#include "runtime/message.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace doorstep {

class channel_counts {
public:
  static constexpr std::size_t counted_max = 16'384;  ///< the newest messages; older ones are not counted
  static constexpr std::size_t spare = 1'024;         ///< so many above that are let come before the oldest go at once
  static constexpr milliseconds look_interval{200};   ///< no oftener are messages looked for that have gone

  struct numbers {
    std::uint64_t unread = 0, unseen = 0;
    bool operator==(const numbers&) const = default;
  };
  struct change {
    reader_id who;
    numbers what;
  };

  /// @param ttl of messages that say nothing themselves; 0: none @param retention 0: for ever @param poisoned do not count
  channel_counts(milliseconds ttl, milliseconds retention, std::vector<sequence> poisoned = {})
      : ttl_(ttl), retention_(retention), poisoned_(std::move(poisoned)) {}

  /// Every message above `after`, as far as is known; then live() has to be told what comes.
  void begin(const std::deque<message_ptr>& recent, sequence after, unix_ms now);
  bool has_begun() const { return begun_; }
  /// The newest messages below this are to be read and given to older(); nothing: all are known.
  std::optional<sequence> wants_older() const { return begun_ && !complete_ ? std::optional(below_) : std::nullopt; }
  /// @param more there are others below them
  void older(const std::vector<message_ptr>& page, bool more, unix_ms now);
  void live(const std::vector<message_ptr>& messages, unix_ms now);

  /// Its numbers are wanted from now on, or by one more. @param began nothing up to there counts
  void open(reader_id who, sequence began);
  bool is_open(reader_id who) const { return readers_.contains(who); }
  /// What the person has marked.
  void marks(reader_id who, const inbox_record& x);
  void close(reader_id who) { readers_.erase(who); }

  /// Messages past their time, or past retention, go.
  void tick(unix_ms now);
  std::optional<unix_ms> next_due() const;
  /// Numbers that are known and have changed, or that one more wants. Taken once.
  std::vector<change> take_changes();

private:
  struct entry {
    sequence seq;
    unix_ms appended, expires;  ///< expires 0: never
  };
  struct reader {
    sequence began;
    std::vector<sequence_range> unread, unseen;
    numbers what;
    bool marked = false, due = false;
  };
  bool add(const message& x, unix_ms now, bool front);
  void count(reader& r) const;
  std::uint64_t count_in(const std::vector<sequence_range>& ranges, sequence above) const;
  void count_all();
  void note(reader_id who, reader& r);

  milliseconds ttl_, retention_;
  std::vector<sequence> poisoned_;
  bool begun_ = false, complete_ = false;
  sequence below_, top_;
  std::deque<entry> index_;
  unix_ms first_expiry_{INT64_MAX}, looked_{};
  std::unordered_map<reader_id, reader> readers_;
  std::vector<reader_id> due_;
};

}  // namespace doorstep
