// SPDX-License-Identifier: Apache-2.0
// What must hold of the pushes of outbox_simulation.cpp: flags (I5), order (I6), and what is not pushed any more.
#pragma once

#include "runtime/outbox.hpp"
#include "tests/runtime/hazards.hpp"
#include "tests/runtime/simulated_store.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace doorstep::test {

class push_oracle {
public:
  /// @param some_come_back not always the oldest give way, so that a crash may bring one back, flagged, after younger ones were pushed
  push_oracle(delivery_terms::ordering order, bool some_come_back) : order_(order), some_come_back_(some_come_back) {}

  /// From here on a flag may be of a push that nobody saw.
  void crashed() { crashed_ = true; }
  /// Pushes of one round are one push.
  void next_round() { ++round_; }

  void pushed(const outbox_effects::push& x, const simulated_store& store, unix_ms now) {
    const auto seq = x.what->seq.value;
    const bool strict = is_strict(*x.what);
    if (store.is_dead(seq)) throw violation("I3: pushed after it was buried: " + x.what->id);
    if (x.what->what && x.what->what->expires.value != 0 && x.what->what->expires <= now) throw violation("pushed after it expired: " + x.what->id);
    const auto [at, first] = pushed_in_.emplace(seq, round_);
    if (!x.redelivered && !first && at->second != round_) throw violation("I5: pushed again without the flag: " + x.what->id);
    // What waited for its strict group is below others that were pushed, so a later life cannot tell.
    if (x.redelivered && first && !crashed_ && !strict) throw violation("I5: flagged and never pushed, without any crash: " + x.what->id);
    // A strict group has an order of its own.
    auto& upto = first_pushes_upto_[strict ? "group " + key_of(*x.what) : std::string()];
    const bool came_back = crashed_ && x.redelivered && some_come_back_;
    if (first && seq < upto && !came_back) throw violation("I6: a first push out of order: " + x.what->id + " after " + std::to_string(upto));
    upto = std::max(upto, seq);
  }

  void check_groups(const std::vector<outbox::in_flight_view>& in_flight) const {
    std::set<std::string> groups;
    for (const auto& x : in_flight)
      if (is_strict(*x.what) && !groups.insert(key_of(*x.what)).second) throw violation("two of a strict group in flight: " + x.what->id);
  }

private:
  bool is_strict(const message& x) const { return order_of(x, order_) == delivery_terms::ordering::strict; }

  delivery_terms::ordering order_;
  bool some_come_back_;
  bool crashed_ = false;
  std::uint64_t round_ = 0;
  std::map<std::uint64_t, std::uint64_t> pushed_in_;  ///< seq -> the round of its first push
  std::map<std::string, std::uint64_t> first_pushes_upto_;
};

}  // namespace doorstep::test
