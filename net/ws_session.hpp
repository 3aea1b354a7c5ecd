// SPDX-License-Identifier: Apache-2.0
// One WebSocket client that speaks doorstep.v1: frames in, commands to the actor; events from the actor, frames out. Lives on one loop; what carries its frames,
// plain or by TLS, is net/ws_stream.
// What ends it is in one place each: close() for what the client did wrong or what we want, drop() for a socket that is gone.
#pragma once

#include "net/admission.hpp"
#include "net/connection.hpp"
#include "net/deadlines.hpp"
#include "net/native_codec.hpp"
#include "net/site.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

class ws_session : public connection, public timed, public std::enable_shared_from_this<ws_session> {
public:
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

  // What the stream tells.
  void on_accepted(const boost::system::error_code& error);
  void on_read(const boost::system::error_code& error, std::size_t bytes);
  void on_written(const boost::system::error_code& error, std::size_t bytes);
  void on_closed();
  void on_control(bool is_close);

protected:
  ws_session(std::shared_ptr<site> of, desk& here, connection_slot slot, credentials shown);
  const site& at() const { return *site_; }
  void set_remote(std::string x) { remote_ = std::move(x); }

private:
  // What the stream is asked for: each operation ends in the call above that is named like it.
  virtual void accept(const http_request& upgrade) = 0;
  virtual void read_into(char* to, std::size_t bytes_max) = 0;
  virtual void write_out(const std::string& frame) = 0;
  virtual void say_goodbye(close_code code, std::string_view reason) = 0;
  virtual void close_socket() = 0;
  virtual void let_go() = 0;  ///< of the stream, when none of its operations is under way
  virtual bool has_stream() const = 0;
  virtual bool is_whole() const = 0;  ///< what was read last ends its message
  virtual bool is_text() const = 0;

  enum class state : std::uint8_t { accepting, waiting, judging, connected, closing, leaving, gone };
  /// The first frame, until it is known who that is. Nothing is read meanwhile.
  struct entering {
    credentials shown;
    client::connect request;
    std::vector<client::command> rest;
    bool is_read_held = false;
  };

  void read();
  void on_frame(std::string_view text);
  void on_close_frame();
  void part();
  void on_first(client::connect request);
  void on_judged(admitted what);
  void on_refresh(client::refresh request);
  void on_refresh_judged(request_id id, admitted what);
  void handle(std::vector<client::command> commands);
  bool take_rate(steady_time now, std::size_t bytes);
  std::string& out();
  void sent();
  void finish_operation();
  void expires(const identity& who);

  std::shared_ptr<site> site_;
  desk& desk_;
  connection_slot slot_;
  std::shared_ptr<connection_handler> handler_;
  std::unique_ptr<entering> entering_;
  std::shared_ptr<user_share> share_;  ///< null without limits a user
  std::shared_ptr<ws_session> held_;   ///< by itself, while nothing is read and a judgement is awaited
  std::string filling_, in_flight_;    ///< the frame being made, and the one being written
  std::string inbox_;                  ///< a frame of which more is to come
  std::string remote_, user_, device_, reason_;
  steady_time heard_, pinged_{}, rate_{}, deadline_, expiry_ = steady_time::max();
  std::uint16_t operations_ = 0;  ///< of the stream, not yet called back
  close_code code_ = close_code::going_away;
  state state_ = state::accepting;
  bool flush_asked_ = false, writing_ = false, close_sent_ = false, refreshing_ = false;
  std::array<char, 512> chunk_;
};

}  // namespace doorstep
