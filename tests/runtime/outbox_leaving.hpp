// SPDX-License-Identifier: Apache-2.0
// What the tests of messages that leave unacked share.
#pragma once

#include "tests/runtime/outbox_fixture.hpp"

#include <memory>
#include <string>
#include <utility>

namespace doorstep::test {

inline outbox_options impatient_options() {
  outbox_options x{.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100};
  x.max_attempts = 2;
  return x;
}

class outbox_giving_up : public outbox_test {
protected:
  explicit outbox_giving_up(outbox_options options = impatient_options()) : outbox_test(std::move(options)) {}

  /// "seq:reason:attempts" of what the save that began last buries.
  std::string to_bury() const {
    std::string all;
    for (const auto& x : out.to_bury)
      all += (all.empty() ? "" : " ") + std::to_string(x.what->seq.value) + ":" + std::string(name(x.reason)) + ":" + std::to_string(x.attempts);
    return all;
  }
  /// Two failed rounds of what is in flight.
  void fail_twice() {
    pass(30s);
    pass(1s);
    pass(30s);
  }
  static message_ptr expiring(std::uint64_t seq, milliseconds at) {
    auto what = std::make_shared<event>();
    what->expires = {at.count()};
    auto x = std::make_shared<message>(*message_at(seq));
    x->what = std::move(what);
    return x;
  }
};

}  // namespace doorstep::test
