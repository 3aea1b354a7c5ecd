// SPDX-License-Identifier: Apache-2.0
// A clock that jumps from one event to the next. Events of one moment run in the order they were planned in.
#pragma once

#include "runtime/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

namespace doorstep::test {

class virtual_time {
public:
  steady_time now() const { return now_; }
  void at(steady_time when, std::function<void()> what) { events_.push({std::max(when, now_), ++order_, std::move(what)}); }
  /// Runs the next event. Precondition: there is one.
  void step() {
    const auto next = events_.top();
    events_.pop();
    now_ = next.at;
    next.what();
  }

private:
  struct event {
    steady_time at;
    std::uint64_t order;
    std::function<void()> what;
  };
  struct later {
    bool operator()(const event& a, const event& b) const { return std::tie(a.at, a.order) > std::tie(b.at, b.order); }
  };
  std::priority_queue<event, std::vector<event>, later> events_;
  steady_time now_{std::chrono::hours{1}};
  std::uint64_t order_ = 0;
};

}  // namespace doorstep::test
