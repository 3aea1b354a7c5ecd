// SPDX-License-Identifier: Apache-2.0
// The line between sockets and actors: a connection is what a SESSION actor writes to, a connection_handler what the socket tells.
// Both live on one loop; every call is made on its thread.
#pragma once

#include "net/loop.hpp"
#include "net/protocol.hpp"
#include "net/shared_push.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

/// Who a verified token says this is, and what it may join.
struct identity {
  std::string user;
  std::optional<std::int64_t> expires_at{};    ///< seconds since 1970
  std::vector<std::string> roles{}, groups{};  ///< names without a kind ("admin"), sorted, each once
  std::vector<std::string> topics{};           ///< names or patterns of topics that it may subscribe to
  std::string info{};                          ///< a JSON value of the application's own; empty = none
};

/// One live client, whatever protocol it speaks.
class connection {
public:
  virtual ~connection() = default;
  /// Encodes into the frame that goes out next; what is sent within one turn of the loop or while a write is under way leaves together.
  /// Over ws.write_queue_bytes_max the connection closes itself with slow_client: nothing is lost, the messages stay owed.
  virtual void send(const std::vector<server::event>& events) = 0;
  /// Hot path: the same for pushes only.
  virtual void push(const std::vector<server::push>& messages) = 0;
  /// One that others get too: what is encoded of it is used again.
  virtual void push_shared(const shared_push& x) { push({x.what()}); }
  /// Sends a disconnect object and closes. `delay` is what the client is asked to wait before it comes back.
  virtual void close(close_code code, std::string reason, milliseconds delay) = 0;
  virtual std::string remote() const = 0;  ///< "127.0.0.1:50312"
};

/// The actor's side. The connection holds it until closed() was called, which is the last call.
class connection_handler {
public:
  virtual ~connection_handler() = default;
  /// The first frame, with a token that was verified (from the frame, or before the upgrade).
  virtual void connected(client::connect request, identity who) = 0;
  /// All commands of one received frame, after connected().
  virtual void commands(std::vector<client::command> what) = 0;
  /// The token of a refresh frame was verified and is the same user's.
  virtual void refreshed(request_id id, identity who) = 0;
  virtual void closed() = 0;
};

/// Where the net floor hands connections to. Called from any loop.
class front_door {
public:
  virtual ~front_door() = default;
  /// The loop on which this user's mailbox lives, when the user is known before the upgrade is accepted; null: any.
  virtual loop* home_of(const std::string& user) = 0;
  /// A connection that was accepted on `where`; called on its thread. Null when the server drains.
  virtual std::shared_ptr<connection_handler> open(std::shared_ptr<connection> who, loop& where) = 0;
};

}  // namespace doorstep
