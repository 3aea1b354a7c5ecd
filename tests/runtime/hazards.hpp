// SPDX-License-Identifier: Apache-2.0
// What may go wrong in one run of a simulation, and how likely; drawn from its seed.
#pragma once

#include "runtime/outbox.hpp"

#include <stdexcept>

namespace doorstep::test {

/// An invariant that does not hold.
struct violation : std::logic_error {
  using std::logic_error::logic_error;
};

struct hazards {
  bool lagging_store = false;  ///< the store follows the log, and shows some messages before those below them
  bool crashes = false;
  double store_fails = 0, nacks = 0, ignores = 0, drops = 0;
  int slow_store_ms = 1;
  bool gives_up = false;  ///< options.max_attempts, ttl, messages_max or expirytimes
  double expires = 0;     ///< how many messages name an expiry
};

/// @param pick a number below the one it is given.
template <class Pick, class Chance>
outbox_options drawn_options(Pick pick, Chance chance) {
  outbox_options x;
  x.window = 1 + pick(8);
  x.backlog_max = x.window + pick(20);
  x.holes_max = 1 + pick(12);
  x.ack_timeout = milliseconds{200 + static_cast<int>(pick(2'000))};
  x.retry = {milliseconds{pick(200)}, milliseconds{2'000}};
  if (chance(0.5)) return x;
  if (chance(0.5)) x.max_attempts = 1 + static_cast<std::uint32_t>(pick(4));
  if (chance(0.5)) x.ttl = milliseconds{500 + static_cast<int>(pick(20'000))};
  if (chance(0.5)) x.messages_max = 1 + pick(60);
  return x;
}

inline bool gives_up(const outbox_options& x) { return x.max_attempts != 0 || x.ttl.count() != 0 || x.messages_max != 0; }

/// @param chance true with the probability that it is given.
template <class Chance>
hazards drawn_hazards(Chance chance) {
  hazards x;
  x.lagging_store = chance(0.4);
  x.crashes = chance(0.7);
  x.store_fails = chance(0.6) ? 0.2 : 0;
  x.nacks = chance(0.5) ? 0.1 : 0;
  x.ignores = chance(0.5) ? 0.1 : 0;
  x.drops = chance(0.8) ? 0.3 : 0.02;
  x.slow_store_ms = chance(0.3) ? 800 : 20;
  return x;
}

}  // namespace doorstep::test
