// SPDX-License-Identifier: Apache-2.0
#include "net/ws_stream.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/websocket/option.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <optional>
#include <utility>

namespace doorstep {
namespace {

namespace websocket = boost::beast::websocket;
namespace http = boost::beast::http;
using error_code = boost::system::error_code;

std::string text_of(const boost::asio::ip::tcp::endpoint& x) {
  const auto host = x.address().to_string();
  return (x.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(x.port());
}

/// A close frame's reason holds at most 123 bytes, cut between characters.
std::string_view close_reason(std::string_view text) {
  if (text.size() <= 123) return text;
  std::size_t end = 123;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

template <class Socket>
class ws_stream final : public ws_session {
public:
  ws_stream(std::shared_ptr<site> of, desk& here, Socket socket, connection_slot slot, credentials shown)
      : ws_session(std::move(of), here, std::move(slot), std::move(shown)) {
    auto& lowest = boost::beast::get_lowest_layer(socket);
    error_code ignored;  // the client may be gone already; the first read says so
    const auto peer = lowest.remote_endpoint(ignored);
    if (!ignored) set_remote(text_of(peer));
    lowest.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    ws_.emplace(std::move(socket));
  }

private:
  void accept(const http_request& upgrade) override {
    ws_->auto_fragment(false);
    ws_->text(true);
    // The limit is the session's to watch: Beast's own would send 1009 without the disconnect object.
    ws_->read_message_max(0);
    ws_->control_callback([this](websocket::frame_type kind, boost::beast::string_view) { on_control(kind == websocket::frame_type::close); });
    if (at().settings.ws.compression) {
      websocket::permessage_deflate deflate;
      deflate.server_enable = true;
      ws_->set_option(deflate);
    }
    if (upgrade.count(http::field::sec_websocket_protocol) != 0)
      ws_->set_option(websocket::stream_base::decorator(
          [](websocket::response_type& answer) { answer.set(http::field::sec_websocket_protocol, "doorstep.v1"); }));
    ws_->async_accept(upgrade, [me = shared_from_this()](const error_code& error) { me->on_accepted(error); });
  }
  void read_into(char* to, std::size_t bytes_max) override {
    ws_->async_read_some(boost::asio::buffer(to, bytes_max),
                         [me = shared_from_this()](const error_code& error, std::size_t bytes) { me->on_read(error, bytes); });
  }
  void write_out(const std::string& frame) override {
    ws_->async_write(boost::asio::buffer(frame),
                     [me = shared_from_this()](const error_code& error, std::size_t bytes) { me->on_written(error, bytes); });
  }
  void say_goodbye(close_code code, std::string_view reason) override {
    const auto cut = close_reason(reason);
    const websocket::close_reason farewell(static_cast<websocket::close_code>(code), boost::beast::string_view(cut.data(), cut.size()));
    ws_->async_close(farewell, [me = shared_from_this()](const error_code&) { me->on_closed(); });
  }
  void close_socket() override {
    error_code ignored;  // closing what the other side closed already
    if (ws_) boost::beast::get_lowest_layer(*ws_).close(ignored);
  }
  void let_go() override { ws_.reset(); }
  bool has_stream() const override { return ws_.has_value(); }
  bool is_whole() const override { return ws_->is_message_done(); }
  bool is_text() const override { return ws_->got_text(); }

  std::optional<websocket::stream<Socket, true>> ws_;
};

}  // namespace

std::shared_ptr<ws_session> make_ws_session(std::shared_ptr<site> of, desk& here, tcp_socket socket, connection_slot slot, credentials shown) {
  return std::make_shared<ws_stream<tcp_socket>>(std::move(of), here, std::move(socket), std::move(slot), std::move(shown));
}

std::shared_ptr<ws_session> make_ws_session(std::shared_ptr<site> of, desk& here, tls_socket socket, connection_slot slot, credentials shown) {
  return std::make_shared<ws_stream<tls_socket>>(std::move(of), here, std::move(socket), std::move(slot), std::move(shown));
}

}  // namespace doorstep
