// SPDX-License-Identifier: Apache-2.0
// What the sessions of one server share, and what those on one loop share. Internal to net/.
#pragma once

#include "net/connect_hook.hpp"
#include "net/connection.hpp"
#include "net/deadlines.hpp"
#include "net/deny_list.hpp"
#include "net/jwks_fetcher.hpp"
#include "net/server.hpp"
#include "net/shares.hpp"
#include "net/surfaces.hpp"
#include "net/tickets.hpp"
#include "net/trust.hpp"
#include "runtime/config.hpp"
#include "runtime/metrics.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace doorstep {

class ws_session;

/// One loop's part. Its thread, but for `where.post`.
struct desk {
  explicit desk(loop& home) : where(home), timers(home.io()), random(std::random_device{}()) {}

  loop& where;
  deadlines timers;
  std::minstd_rand random;
  std::size_t sockets = 0;  ///< that sessions here still hold

  /// Sessions with something to write: one turn of the loop serves them all, so each writes once, whatever was sent to it in this turn.
  void flush_soon(std::shared_ptr<ws_session> who);
  /// Buffers of sessions that have nothing to write: an idle session keeps none.
  std::string take_buffer();
  void give_back(std::string&& buffer);

private:
  std::vector<std::shared_ptr<ws_session>> to_flush_, flushing_;
  std::vector<std::string> spare_;
};

/// The whole server's. Everything but the counters, and whom it trusts, is fixed once it listens.
struct site {
  site(const config& settings, std::vector<loop*> loops, front_door& door, intake& in, inspection& look, metrics& numbers, asset_finder assets);

  const config settings;
  front_door& door;
  intake& in;
  inspection& look;
  metrics& numbers;
  const asset_finder assets;
  std::vector<std::unique_ptr<desk>> desks;
  std::atomic<std::size_t> connections{0};  ///< of the public port
  std::atomic<bool> draining{false};        ///< no new client, no new event
  std::atomic<bool> stopped{false};         ///< nothing at all

  ticket_office tickets;
  deny_list denied;
  user_shares users;
  address_shares addresses;
  std::unique_ptr<jwks_fetcher> jwks;  ///< null without auth.jwks_url
  std::unique_ptr<connect_hook> hook;  ///< null without auth.hook_url

  desk& desk_of(const loop& home);
  bool is_full() const { return connections.load(std::memory_order_relaxed) > settings.http.connections_max; }
  /// What holds now; a reload may replace it at any time.
  std::shared_ptr<const trust> trusted() const;
  void use(std::shared_ptr<const trust> next);

private:
  mutable std::mutex mutex_;
  std::shared_ptr<const trust> trusted_;
};

/// One place of http.connections_max and of its address, given back when the last owner goes. Empty for the internal port.
class connection_slot {
public:
  connection_slot() = default;
  explicit connection_slot(std::shared_ptr<site> of, const std::string& ip = {});
  connection_slot(connection_slot&& other) noexcept = default;
  connection_slot& operator=(connection_slot&& other) noexcept;
  ~connection_slot() { give_back(); }
  void give_back();
  /// http.connections_per_address_max was reached before this one came.
  bool is_one_too_many() const { return address_ && *address_; }

private:
  std::shared_ptr<site> of_;
  std::shared_ptr<const bool> address_;
};

}  // namespace doorstep
