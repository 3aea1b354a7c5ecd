// SPDX-License-Identifier: Apache-2.0
// The contiguous low watermark of a source partition: what may be committed. Pure; offsets rise but are not dense (compaction, control records).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace doorstep {

/// Tracks ranges of records from hand-over to durability. Ranges are opened in offset order and finish in any order.
class offsets {
public:
  /// @param next the offset from which reading goes on; everything below it is committed.
  explicit offsets(std::int64_t next = 0) : watermark_(next), end_(next) {}

  /// Records [first, last] are on their way. Precondition: first is not below anything opened before.
  void open(std::int64_t first, std::int64_t last, std::size_t records);
  /// Everything made from the range that starts with `first` is durable. An unknown range is ignored. @returns the records it held.
  std::size_t finish(std::int64_t first);
  /// The same where answers from before a rewind() may still come: ignored unless the range ends with `last`.
  std::size_t finish(std::int64_t first, std::int64_t last);
  /// Forgets what is under way: reading goes on at the watermark.
  void rewind();

  /// Everything below is durable downstream: the offset to commit.
  std::int64_t watermark() const { return watermark_; }
  /// One past the last record handed over.
  std::int64_t end() const { return end_; }
  std::size_t in_flight() const { return in_flight_; }

private:
  struct range {
    std::int64_t first, last;
    std::size_t records;
    bool durable;
  };
  std::deque<range> ranges_;
  std::int64_t watermark_, end_;
  std::size_t in_flight_ = 0;
};

}  // namespace doorstep
