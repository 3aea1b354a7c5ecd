// SPDX-License-Identifier: Apache-2.0
// One WebSocket client that speaks doorstep.v1: frames in, commands to the actor; events from the actor, frames out. Lives on one loop.
// What ends it is in one place each: refuse() for what the client did wrong, close() for what we want, drop() for a socket that is gone.
#pragma once

#include "net/connection.hpp"
#include "net/deadlines.hpp"
#include "net/native_codec.hpp"
#include "net/site.hpp"
#include "net/upgrade.hpp"

#include <boost/beast/websocket/stream.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>

namespace doorstep {

class ws_session final : public connection, public timed, public std::enable_shared_from_this<ws_session> {
public:
  ws_session(std::shared_ptr<site> of, desk& here, tcp_socket socket, connection_slot slot, upgrade_credentials credentials);
  ~ws_session() override;

  /// Answers the upgrade and starts to read. The loop's thread, like everything here.
  void start(const http_request& upgrade);
  /// Writes what was sent in this turn, if no write is under way. Called by the desk.
  void flush();

  void send(const std::vector<server::event>& events) override;
  void push(const std::vector<server::push>& messages) override;
  void push_shared(const shared_push& x) override;
  void close(close_code code, std::string reason, milliseconds delay) override;
  std::string remote() const override { return remote_; }

  steady_time due(steady_time now) override;
  void drop() override;
  std::shared_ptr<timed> self() override { return shared_from_this(); }

private:
  using stream = boost::beast::websocket::stream<tcp_socket, true>;
  enum class state : std::uint8_t { accepting, waiting, connected, closing, leaving, gone };

  void read();
  void on_read(const boost::system::error_code& error, std::size_t bytes);
  void on_frame(std::string_view text);
  void on_close_frame();
  void part();
  void on_first(client::connect request);
  void on_refresh(client::refresh request);
  void handle(std::vector<client::command> commands);
  bool take_rate(steady_time now);
  std::string& out();
  void sent();
  void finish_operation();
  void expires(const identity& who);

  std::shared_ptr<site> site_;
  desk& desk_;
  std::optional<stream> ws_;
  connection_slot slot_;
  std::shared_ptr<connection_handler> handler_;
  upgrade_credentials credentials_;
  std::string filling_, in_flight_;  ///< the frame being made, and the one being written
  std::string inbox_;                ///< a frame of which more is to come
  std::string remote_, user_, reason_;
  steady_time heard_, pinged_{}, rate_{}, deadline_, expiry_ = steady_time::max();
  std::uint16_t operations_ = 0;  ///< of the stream, not yet called back
  close_code code_ = close_code::going_away;
  state state_ = state::accepting;
  bool flush_asked_ = false, writing_ = false, close_sent_ = false;
  std::array<char, 512> chunk_;
};

}  // namespace doorstep
