// SPDX-License-Identifier: Apache-2.0
// What may go wrong in one run of a simulation, and how likely; drawn from its seed.
#pragma once

#include "runtime/outbox.hpp"

#include <memory>
#include <stdexcept>
#include <string>

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
  bool gives_up = false;  ///< a message may leave unacked: options.max_attempts, ttl, limits, order latest, expirytimes or terms
  double expires = 0;     ///< how many messages name an expiry
  double terms = 0;       ///< how many say how they are delivered
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
  if (chance(0.2)) x.order = chance(0.5) ? delivery_terms::ordering::strict : delivery_terms::ordering::latest;
  if (chance(0.5)) return x;
  if (chance(0.5)) x.max_attempts = 1 + static_cast<std::uint32_t>(pick(4));
  if (chance(0.5)) x.ttl = milliseconds{500 + static_cast<int>(pick(20'000))};
  if (chance(0.5)) x.messages_max = 1 + pick(60);
  if (chance(0.3)) x.bytes_max = 100 + pick(6'000);
  if (chance(0.5)) x.overflow = outbox_options::victim::newest;
  return x;
}

inline bool gives_up(const outbox_options& x) {
  return x.max_attempts != 0 || x.ttl.count() != 0 || x.messages_max != 0 || x.bytes_max != 0 || x.order == delivery_terms::ordering::latest;
}

/// Few groups, so that they meet.
template <class Pick, class Chance>
std::shared_ptr<const delivery_terms> drawn_terms(Pick pick, Chance chance) {
  auto x = std::make_shared<delivery_terms>();
  x->order = static_cast<delivery_terms::ordering>(pick(4));
  if (chance(0.8)) x->key = std::string(1, static_cast<char>('a' + pick(3)));
  if (chance(0.1)) x->ttl = milliseconds{500 + static_cast<int>(pick(10'000))};
  if (chance(0.1)) x->max_attempts = static_cast<std::uint32_t>(pick(4));
  if (chance(0.3)) x->priority = static_cast<std::uint8_t>(pick(10));
  return x;
}

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
