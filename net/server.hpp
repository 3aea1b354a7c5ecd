// SPDX-License-Identifier: Apache-2.0
// The two doors: the public one for clients (WebSocket, demo page) and the internal one for producers and operators.
// start, stop_accepting and stop are called by one thread that is not a loop's.
#pragma once

#include "net/connection.hpp"
#include "net/loop.hpp"
#include "net/surfaces.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "runtime/metrics.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// A file of the demo page, compiled in.
struct asset {
  std::string content_type;
  std::string body;
};
/// The file under a path such as "/" or "/demo.js", or null. Used only when demo.enabled.
using asset_finder = std::function<const asset*(std::string_view path)>;

class http_server {
public:
  /// Public connections go round the loops; both listeners and all of the internal port live on the first. Everything given must outlive stop().
  http_server(const config& settings, std::vector<loop*> loops, front_door& door, intake& in, inspection& look, metrics& numbers,
              asset_finder assets = {});
  ~http_server();  ///< stop()
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  /// @returns ec::unavailable that names the address which cannot be had, ec::bad_config for a secret or key file.
  result<void> start();
  /// Reads keys and certificates again, as `next` names them. @returns what puts them in force, or ec::bad_config: nothing has changed. Any thread.
  result<std::function<void()>> prepare_reload(const config& next);
  std::uint16_t public_port() const;
  std::uint16_t internal_port() const;
  /// No new client and no new event; health, metrics and open sessions go on.
  void stop_accepting();
  /// Drops every connection and returns when no socket is left. The loops must still run.
  void stop();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
