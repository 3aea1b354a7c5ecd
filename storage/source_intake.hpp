// SPDX-License-Identifier: Apache-2.0
// One partition between fetching and handing over: its credit, what was fetched beyond it, and when fetching pauses. Pure, so that the rules are tested without
// a broker. Pausing makes librdkafka drop what it prefetched, so it is done late (a buffer is full) and undone late (half the credit is back).
#pragma once

#include "runtime/ids.hpp"
#include "storage/record_source.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace doorstep {

class source_intake {
public:
  static constexpr std::size_t held_bytes_max = std::size_t{4} << 20;
  static constexpr milliseconds trickle_wait{5};

  /// @param in_flight_max the most that is ever granted; half of it may be held beyond the credit.
  explicit source_intake(std::size_t in_flight_max) : held_max_(std::clamp<std::size_t>(in_flight_max / 2, 16, 2048)) {}

  void grant(std::size_t records, steady_time now) {
    if (credit_ == 0) credit_since_ = now;
    credit_ += records;
    credit_peak_ = std::max(credit_peak_, credit_);
  }

  void take(source_record record) {
    held_bytes_ += bytes_of(record);
    held_.push_back(std::move(record));
  }

  /// What the credit allows, in order.
  std::vector<source_record> hand_over() {
    std::vector<source_record> out;
    if (credit_ >= held_.size()) {
      out.swap(held_);
      held_bytes_ = 0;
    } else if (credit_ > 0) {
      const auto end = held_.begin() + static_cast<std::ptrdiff_t>(credit_);
      out.assign(std::make_move_iterator(held_.begin()), std::make_move_iterator(end));
      held_.erase(held_.begin(), end);
      for (const auto& x : out) held_bytes_ -= bytes_of(x);
    }
    credit_ -= out.size();
    return out;
  }

  bool has_held() const { return !held_.empty(); }
  bool has_credit() const { return credit_ > 0; }
  std::size_t credit() const { return credit_; }
  bool should_pause() const { return held_.size() >= held_max_ || held_bytes_ >= held_bytes_max; }
  /// Half of the credit is back, or less of it has waited long enough (somebody may grant one at a time).
  bool should_resume(steady_time now) const {
    return held_.empty() && credit_ > 0 && (credit_ * 2 >= credit_peak_ || now - credit_since_ >= trickle_wait);
  }
  /// Forgets what was fetched, not the credit: the partition is read again from elsewhere.
  void drop_held() {
    held_.clear();
    held_bytes_ = 0;
  }

private:
  static std::size_t bytes_of(const source_record& x) { return 64 + (x.value ? x.value->size() : 0) + (x.key ? x.key->size() : 0); }

  std::size_t held_max_;
  std::size_t held_bytes_ = 0;
  std::size_t credit_ = 0, credit_peak_ = 0;
  steady_time credit_since_{};
  std::vector<source_record> held_;
};

}  // namespace doorstep
