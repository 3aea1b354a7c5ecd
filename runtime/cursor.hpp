// SPDX-License-Identifier: Apache-2.0
// Floor and holes: which of a user's messages are acked. A pure value; seqs of one address rise but are not dense.
#pragma once

#include "runtime/address.hpp"
#include "runtime/ids.hpp"

#include <cstdint>
#include <set>
#include <vector>

namespace doorstep {

/// All up to `floor` is acked, and so is each of `above`. The floor only rises.
class cursor {
public:
  cursor() = default;
  cursor(sequence floor, std::vector<sequence> above);

  sequence floor() const { return floor_; }
  const std::set<sequence>& above() const { return above_; }
  bool is_acked(sequence seq) const { return seq <= floor_ || above_.contains(seq); }

  /// Marks one message as acked. @returns false when it already was.
  bool ack(sequence seq);
  /// Says that nothing unacked is at or below `seq`: the floor rises to it and swallows what is acked below.
  void raise(sequence seq);

  bool operator==(const cursor&) const = default;

private:
  sequence floor_;
  std::set<sequence> above_;
};

/// How far a user's messages may have been pushed: at or below is flagged `redelivered` after a reload.
/// `open` = somebody was attached and everything the log held may have been pushed (docs/decisions/0003-push-horizon.md).
struct push_horizon {
  sequence upto;
  bool open = false;
  bool operator==(const push_horizon&) const = default;
};

/// One user's document in the store. Every field is monotone, so writing it again, or an older one late, is refused by `version`.
struct cursor_record {
  address user;
  cursor acked;
  push_horizon horizon;
  sequence read_upto;         ///< of records written before there was an inbox record: everything up to here was read; 0 since
  std::uint64_t version = 0;  ///< rises with each write of this document
};

}  // namespace doorstep
