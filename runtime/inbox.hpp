// SPDX-License-Identifier: Apache-2.0
// The inbox of one user: what the person did with each message, apart from acks. Marks are ranges of seqs with a time, so a mailbox with a large history costs
// a few of them. A pure value: takes what was asked and what the store answered, says what to ask and whom to tell. Why so: docs/decisions/0008-inbox-states.md.
#pragma once

#include "runtime/address.hpp"
#include "runtime/ids.hpp"
#include "runtime/message.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace doorstep {

/// What may be true of a message. `delivered`: acked. `expired` and `dead`: it left unacked as a dead letter, past its time or for another reason. `superseded`:
/// a newer one of its key took its place, unacked.
enum class inbox_mark : std::uint8_t { delivered, seen, read, archived, expired, dead, superseded };
constexpr std::size_t inbox_marks_max = 7;
/// As it stands in stored documents and in the protocol.
std::string_view name(inbox_mark x);

/// The seqs that carry one mark, and since when: ranges in rising order that do not overlap. Seqs of one user are not dense, so a range also covers places of
/// other users' messages; that means nothing.
class mark_ranges {
public:
  struct range {
    sequence after, upto;
    unix_ms at;
    bool operator==(const range&) const = default;
  };
  mark_ranges() = default;
  explicit mark_ranges(std::vector<range> ranges) : ranges_(std::move(ranges)) {}

  /// What is covered already keeps its time. @returns whether anything is covered that was not.
  bool cover(sequence after, sequence upto, unix_ms at);
  bool uncover(sequence after, sequence upto);
  /// Since when the mark is there.
  std::optional<unix_ms> at(sequence seq) const;
  const std::vector<range>& ranges() const { return ranges_; }
  /// Ranges that touch become one, the lowest first, until there are at most so many; the later time stays. @returns false where too many do not touch.
  bool coarsen(std::size_t ranges_max);

  bool operator==(const mark_ranges&) const = default;

private:
  std::vector<range> ranges_;
};

/// One user's inbox in the store. Written with the cursor's version: an older one late is refused.
struct inbox_record {
  address user;
  std::uint64_t version = 0;  ///< 0: nobody has written one yet
  std::array<mark_ranges, inbox_marks_max> marks{};

  mark_ranges& operator[](inbox_mark x) { return marks[static_cast<std::size_t>(x)]; }
  const mark_ranges& operator[](inbox_mark x) const { return marks[static_cast<std::size_t>(x)]; }
  bool operator==(const inbox_record&) const = default;
};

/// Where messages count as unread: not read, archived, expired, dead or superseded. The last range has no end.
std::vector<sequence_range> unread_ranges(const inbox_record& x);
/// Where they count as unseen: read is seen.
std::vector<sequence_range> unseen_ranges(const inbox_record& x);
/// No mark that is counted by is above this.
sequence highest_counted_mark(const inbox_record& x);
/// How many of `seqs` (rising) are in `ranges` and at most `upto`.
std::uint64_t count_in(const std::vector<sequence_range>& ranges, const std::vector<sequence>& seqs, sequence upto);

/// A stored message, and the one of the same user before it (0: none is stored).
struct message_neighbour {
  sequence seq, before;
};
/// The store's answer to which of some seqs are messages of the user.
struct stored_places {
  std::vector<message_neighbour> found;  ///< rising
  sequence complete_to;                  ///< everything of the user up to here was stored when this was read
};

/// One thing asked for. Either everything up to `up_to`, or single messages.
struct inbox_change {
  unsigned slot = 0;          ///< who asked; of the mailbox's sessions
  std::uint64_t request = 0;  ///< 0: wants no reply
  inbox_mark mark = inbox_mark::read;
  bool on = true;
  sequence up_to;
  std::vector<sequence> seqs{};
};

class inbox {
public:
  static constexpr std::size_t waiting_max = 256;      ///< changes that wait for the store; the next one is refused
  static constexpr std::size_t ranges_kept = 128;      ///< of one mark; beyond it those that touch become one and share the later time
  static constexpr std::size_t ranges_max = 1024;      ///< of one mark that do not touch; what would make more of them is refused
  static constexpr unsigned locate_tries_max = 50;     ///< how often a message that the store does not have yet is asked for
  static constexpr std::size_t locate_seqs_max = 100;  ///< single messages of a change

  /// @param unsaved the store does not have the record as it is here
  explicit inbox(inbox_record start, bool unsaved = false) : record_(std::move(start)), dirty_(unsaved) {}

  /// A change whose reply is due: durable, or refused for good.
  struct reply {
    unsigned slot;
    std::uint64_t request;
    bool refused;
  };

  /// Changes are carried out in the order they come. @returns false when too many wait; then nothing was taken.
  bool change(inbox_change x, unix_ms now);
  /// Seqs to ask the store about; asked once, until places() or places_failed().
  std::vector<sequence> wants_places();
  /// @returns false when some are not stored yet: wants_places() names them again, later is soon enough.
  bool places(const stored_places& x, unix_ms now);
  void places_failed() { asked_ = false; }
  /// A session has left: nobody is told.
  void forget(unsigned slot);

  /// Everything up to here is acked; kept with the time where that says something new.
  void delivered(sequence floor, unix_ms now);
  /// The same of a part: one of the devices acked what is in it.
  void delivered(sequence after, sequence upto, unix_ms now);
  /// It leaves unacked with the record that is about to be saved. Its neighbours are asked for later, so that such marks become one. Beyond ranges_max of them the
  /// lowest one goes.
  void left(sequence seq, inbox_mark as, unix_ms now);
  static inbox_mark mark_of(dead_reason x) { return x == dead_reason::expired ? inbox_mark::expired : inbox_mark::dead; }

  const inbox_record& record() const { return record_; }
  bool is_dirty() const { return dirty_; }
  /// Nothing is under way.
  bool is_idle() const { return !dirty_ && !under_way_ && waiting_.empty(); }
  /// wants_places() has something to ask.
  bool has_questions() const { return !asked_ && !waiting_.empty(); }
  /// @param version the cursor's that it is written with
  inbox_record begin_save(std::uint64_t version);
  /// @returns whether what is counted by changed with what is durable now.
  bool saved(std::vector<reply>& out);
  void save_failed();

  /// Replies that wait for no save: to what was refused, and to what was so already. Taken once.
  std::vector<reply> take_replies() { return std::exchange(replies_, {}); }

private:
  void carry_out(unix_ms now);
  void apply(const inbox_change& x, const std::vector<sequence_range>& where, unix_ms now);

  inbox_record record_;
  std::deque<inbox_change> waiting_;
  std::vector<reply> applied_, saving_, replies_;
  bool dirty_ = false, under_way_ = false, recount_ = false, saving_recount_ = false, asked_ = false;
  unsigned tries_ = 0;
};

}  // namespace doorstep
