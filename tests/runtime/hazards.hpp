// SPDX-License-Identifier: Apache-2.0
// What may go wrong in one run of a simulation, and how likely; drawn from its seed.
#pragma once

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
};

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
