// SPDX-License-Identifier: Apache-2.0
#include "runtime/offsets.hpp"

#include <algorithm>
#include <stdexcept>

namespace doorstep {

void offsets::open(std::int64_t first, std::int64_t last, std::size_t records) {
  if (first < end_ || last < first) throw std::logic_error("offsets: a range was opened out of order");
  ranges_.push_back({first, last, records, false});
  end_ = last + 1;
  in_flight_ += records;
}

std::size_t offsets::finish(std::int64_t first) {
  auto found = std::lower_bound(ranges_.begin(), ranges_.end(), first, [](const range& x, std::int64_t wanted) { return x.first < wanted; });
  if (found == ranges_.end() || found->first != first || found->durable) return 0;
  found->durable = true;
  const auto records = found->records;
  in_flight_ -= records;
  while (!ranges_.empty() && ranges_.front().durable) {
    watermark_ = ranges_.front().last + 1;
    ranges_.pop_front();
  }
  return records;
}

std::size_t offsets::finish(std::int64_t first, std::int64_t last) {
  const auto found = std::lower_bound(ranges_.begin(), ranges_.end(), first, [](const range& x, std::int64_t wanted) { return x.first < wanted; });
  return found != ranges_.end() && found->last == last ? finish(first) : 0;
}

void offsets::rewind() {
  ranges_.clear();
  in_flight_ = 0;
  end_ = watermark_;
}

}  // namespace doorstep
