// SPDX-License-Identifier: Apache-2.0
// Floor and holes: which of a user's messages are settled. A pure value; seqs of one address rise but are not dense.
#pragma once

#include "runtime/address.hpp"
#include "runtime/ids.hpp"

#include <cstdint>
#include <vector>

namespace doorstep {

/// All up to `floor` is acked, and so is what lies in `above`: ranges that rise and do not touch. A range also covers places of other users' messages; that
/// means nothing. The floor only rises.
class cursor {
public:
  cursor() = default;
  cursor(sequence floor, const std::vector<sequence>& above);
  static cursor with_ranges(sequence floor, const std::vector<sequence_range>& above);

  sequence floor() const { return floor_; }
  const std::vector<sequence_range>& above() const { return above_; }
  bool is_acked(sequence seq) const;

  /// Marks one message as acked. @returns false when it already was.
  bool ack(sequence seq) { return cover({seq.value - 1}, seq); }
  /// The same for everything of this user above `after` up to `upto`. @returns false when that was acked already.
  bool cover(sequence after, sequence upto);
  /// Says that nothing unacked is at or below `seq`: the floor rises to it and swallows what is acked below.
  void raise(sequence seq);
  /// Says that up to `known` these (rising) are all that is not acked: ranges with none of them between become one.
  void close_gaps(const std::vector<sequence>& unacked, sequence known);

  bool operator==(const cursor&) const = default;

private:
  sequence floor_;
  std::vector<sequence_range> above_;
};

/// What both say is acked.
cursor common_part(const cursor& a, const cursor& b);

/// Where a cursor says nothing: above its floor and outside its holes. The last range has no end.
std::vector<sequence_range> unacked_ranges(const cursor& x);

/// How far a user's messages may have been pushed: at or below is flagged `redelivered` after a reload.
/// `open` = somebody was attached and everything the log held may have been pushed (docs/decisions/0003-push-horizon.md).
struct push_horizon {
  sequence upto;
  bool open = false;
  bool operator==(const push_horizon&) const = default;
};

/// One mailbox's document in the store: a user's or, where devices have cursors of their own, a device's (runtime/devices). Every field is monotone, so writing it again, or an older one late, is refused by `version`.
struct cursor_record {
  address user;  ///< or device_box()
  cursor acked;
  push_horizon horizon;
  /// Of records written before there was an inbox record: everything up to here was read; 0 since. Of a channel's reader: where it began.
  sequence read_upto;
  std::uint64_t version = 0;  ///< rises with each write of this document
  // of a device
  unix_ms seen{};    ///< when it was last connected, about; 0: there is no such device
  sequence since{};  ///< nothing up to here was ever owed to it
};

}  // namespace doorstep
