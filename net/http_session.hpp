// SPDX-License-Identifier: Apache-2.0
// One HTTP/1.1 connection on one loop, plain or by TLS: a request is read whole, answered, and only then the next is read, so that pipelined requests get their
// answers in order. A WebSocket upgrade hands the socket on; a plain one to another loop where the user's mailbox lives there.
#pragma once

#include "net/deadlines.hpp"
#include "net/http_api.hpp"
#include "net/internal_caller.hpp"
#include "net/site.hpp"
#include "net/tls.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>

#include <memory>
#include <optional>
#include <string>

namespace doorstep {

/// @tparam Socket tcp_socket or tls_socket.
template <class Socket>
class http_session final : public timed, public std::enable_shared_from_this<http_session<Socket>> {
public:
  /// @param slot empty on the internal port.
  http_session(std::shared_ptr<site> of, desk& here, Socket socket, connection_slot slot, bool is_public);
  ~http_session() override;
  void start();

  steady_time due(steady_time now) override;
  void drop() override;
  std::shared_ptr<timed> self() override { return this->shared_from_this(); }

private:
  static constexpr bool is_tls = std::is_same_v<Socket, tls_socket>;
  enum class state : std::uint8_t { reading, answering, writing, lingering, gone };

  void read_head();
  void on_head(const boost::system::error_code& error);
  void read_body();
  void on_request();
  void upgrade();
  connection_facts facts() const;
  void answered(std::uint32_t exchange, http_answer what);
  void respond(http_answer what);
  void linger();
  bool is_over(const boost::system::error_code& error);
  void wait_until(steady_time when);

  std::shared_ptr<site> site_;
  desk& desk_;
  Socket socket_;
  connection_slot slot_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::string out_;
  std::string common_name_;             ///< of the client's certificate
  std::shared_ptr<http_session> held_;  ///< by itself, while nothing is read or written and the answer is awaited
  steady_time deadline_{};
  std::size_t discarded_ = 0;
  std::uint32_t exchange_ = 0;  ///< counts the requests, so that an answer which came too late is not taken for the next one's
  state state_ = state::reading;
  const bool is_public_;
  bool keep_ = true;
};

extern template class http_session<tcp_socket>;
extern template class http_session<tls_socket>;

}  // namespace doorstep
