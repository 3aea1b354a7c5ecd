// SPDX-License-Identifier: Apache-2.0
// What actors are built with: the parts that main.cpp chose. Outlives every actor; nothing of it travels in a message.
#pragma once

#include "runtime/config.hpp"
#include "runtime/live_routes.hpp"
#include "runtime/metrics.hpp"
#include "runtime/store_backlog.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"
#include "storage/record_sink.hpp"

#include <functional>
#include <memory>

namespace doorstep {

struct services {
  const config& options;
  metrics& counts;
  message_log& log;
  message_store& store;
  std::shared_ptr<store_backlog> backlog = std::make_shared<store_backlog>(options.store, counts);
  wall_anchor clock = wall_anchor_now();         ///< at the process's start: expiry is judged by it
  std::function<result<config>()> read_again{};  ///< the configuration as it is now, from where it came at the start; may block
  /// Reads keys and certificates of a configuration; what it returns puts them in force. May block.
  std::function<result<std::function<void()>>(const config&)> prepare_identity{};
  std::shared_ptr<live_routes> routes = std::make_shared<live_routes>(options.routes);
  record_sink* mirror = nullptr;  ///< of the dead letters, where there is one
};

/// Messages of a user in flight at a time, as a client is told.
inline std::size_t window_of(const delivery_config& x) { return x.order == "strict" ? 1 : x.window; }

/// How long an actor has lived, for GET /v1/actors.
struct actor_age {
  steady_time born = std::chrono::steady_clock::now();
  milliseconds now() const { return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - born); }
};

}  // namespace doorstep
