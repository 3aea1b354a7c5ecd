// SPDX-License-Identifier: Apache-2.0
// read_head -> read_body -> on_request -> (answered) -> respond -> read_head, with one deadline that each step moves.
#include "net/http_session.hpp"

#include "net/travelling_socket.hpp"
#include "net/upgrade.hpp"
#include "net/ws_stream.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include <ctime>
#include <utility>

namespace doorstep {
namespace {

namespace http = boost::beast::http;
using std::chrono::steady_clock;

constexpr std::size_t public_body_max = 4 * 1024, linger_bytes_max = 8 * 1024 * 1024;
constexpr milliseconds linger_time{2000};

std::string date_text() {
  const auto now = static_cast<std::time_t>(wall_now().value / 1000);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

std::string response_text(const http_answer& what, bool keep, bool with_body) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(what.status));
  std::string out = "HTTP/1.1 " + std::to_string(what.status) + ' ';
  out.append(reason.data(), reason.size());
  out += "\r\nDate: " + date_text() + "\r\nContent-Type: " + what.content_type + "\r\nContent-Length: " + std::to_string(what.body.size());
  out += "\r\nX-Content-Type-Options: nosniff\r\n";
  for (const auto& x : what.headers) out += x.name + ": " + x.value + "\r\n";
  out += keep ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  if (with_body) out += what.body;
  return out;
}

}  // namespace

template <class Socket>
http_session<Socket>::http_session(std::shared_ptr<site> of, desk& here, Socket socket, connection_slot slot, bool is_public)
    : site_(std::move(of)),
      desk_(here),
      socket_(std::move(socket)),
      slot_(std::move(slot)),
      buffer_(site_->settings.http.header_bytes_max + 64 * 1024),
      is_public_(is_public) {
  ++desk_.sockets;
}

template <class Socket>
http_session<Socket>::~http_session() {
  --desk_.sockets;
}

template <class Socket>
void http_session<Socket>::start() {
  if (site_->stopped) return drop();
  boost::system::error_code ignored;  // the client may be gone already; the first read says so
  boost::beast::get_lowest_layer(socket_).set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  if constexpr (is_tls) {
    wait_until(steady_clock::now() + site_->settings.http.request_timeout);
    socket_.async_handshake(boost::asio::ssl::stream_base::server, [me = this->shared_from_this()](const boost::system::error_code& error) {
      if (error || me->state_ == state::gone) return me->drop();
      if (!me->is_public_) me->common_name_ = common_name_of(me->socket_);
      me->read_head();
    });
  } else {
    read_head();
  }
}

template <class Socket>
void http_session<Socket>::wait_until(steady_time when) {
  deadline_ = when;
  desk_.timers.set(*this, when);
}

template <class Socket>
void http_session<Socket>::read_head() {
  state_ = state::reading;
  wait_until(steady_clock::now() + site_->settings.http.request_timeout);
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(site_->settings.http.header_bytes_max));
  parser_->body_limit(is_public_ ? public_body_max : site_->settings.internal.body_bytes_max);
  http::async_read_header(socket_, buffer_, *parser_,
                          [me = this->shared_from_this()](const boost::system::error_code& error, std::size_t) { me->on_head(error); });
}

/// Answers what HTTP itself refuses. @returns true when there is nothing more to do with the request.
template <class Socket>
bool http_session<Socket>::is_over(const boost::system::error_code& error) {
  if (state_ == state::gone) return true;
  if (!error) return false;
  keep_ = false;
  if (error == http::error::body_limit) {
    respond(problem_answer({ec::too_large, "the body is too large", {}}));
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    respond(problem_answer(431, {ec::too_large, "the header is over http.header_bytes_max", {}}));
  } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
             error.category() == make_error_code(http::error::bad_method).category()) {
    respond(problem_answer({ec::malformed, "not HTTP/1.1: " + error.message(), {}}));
  } else {
    drop();
  }
  return true;
}

template <class Socket>
void http_session<Socket>::on_head(const boost::system::error_code& error) {
  if (is_over(error)) return;
  if (parser_->is_done()) return on_request();
  if (!is_public_) {
    if (auto refused = refuse_internal_early(*site_, parser_->get(), facts())) {
      keep_ = false;  // its body stays unread
      return respond(std::move(*refused));
    }
  }
  if (!boost::beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read_body();
  out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  boost::asio::async_write(socket_, boost::asio::buffer(out_), [me = this->shared_from_this()](const boost::system::error_code& failed, std::size_t) {
    if (failed || me->state_ == state::gone) return me->drop();
    me->read_body();
  });
}

template <class Socket>
void http_session<Socket>::read_body() {
  http::async_read(socket_, buffer_, *parser_, [me = this->shared_from_this()](const boost::system::error_code& error, std::size_t) {
    if (!me->is_over(error)) me->on_request();
  });
}

template <class Socket>
void http_session<Socket>::on_request() {
  const auto& request = parser_->get();
  site_->numbers.http_requests.add();
  keep_ = request.keep_alive();
  if (is_public_) {
    const auto target = std::string_view(request.target().data(), request.target().size());
    if (target.substr(0, target.find('?')) == "/v1/ws" && boost::beast::websocket::is_upgrade(request)) return upgrade();
    return respond(answer_public(*site_, request));
  }
  state_ = state::answering;
  const auto exchange = ++exchange_;
  wait_until(steady_clock::now() + site_->settings.internal.append_timeout);
  held_ = this->shared_from_this();
  // The answer may come on any thread, and this object must not die there: it is looked up again at home.
  answer_internal(*site_, request, facts(), [me = this->weak_from_this(), &home = desk_.where, exchange](http_answer what) {
    home.post([me, exchange, what = std::move(what)]() mutable {
      if (auto here = me.lock()) here->answered(exchange, std::move(what));
    });
  });
}

template <class Socket>
void http_session<Socket>::upgrade() {
  if (auto refused = refuse_upgrade(*site_, parser_->get(), buffer_.size() != 0, slot_.is_one_too_many())) {
    site_->numbers.sessions_refused.add();
    keep_ = false;
    return respond(std::move(*refused));
  }
  auto shown = credentials_of(*site_, parser_->get());
  loop* home = shown.who && !is_tls ? site_->door.home_of(shown.who->user) : nullptr;
  auto& there = home ? site_->desk_of(*home) : desk_;
  state_ = state::gone;
  desk_.timers.remove(*this);
  if (&there == &desk_) {
    make_ws_session(site_, desk_, std::move(socket_), std::move(slot_), std::move(shown))->start(parser_->get());
    return;
  }
  if constexpr (!is_tls) {
    there.where.post([at = site_, &there, socket = travelling_socket(socket_), slot = std::move(slot_), shown = std::move(shown),
                      request = parser_->release()]() mutable {
      tcp_socket arrived(there.where.io());
      if (!socket.arrive(arrived)) return;
      make_ws_session(at, there, std::move(arrived), std::move(slot), std::move(shown))->start(request);
    });
  }
}

template <class Socket>
connection_facts http_session<Socket>::facts() const {
  boost::system::error_code gone;
  const auto peer = boost::beast::get_lowest_layer(socket_).remote_endpoint(gone);
  return {common_name_, gone ? std::string() : peer.address().to_string()};
}

template <class Socket>
void http_session<Socket>::answered(std::uint32_t exchange, http_answer what) {
  if (state_ == state::answering && exchange == exchange_) respond(std::move(what));
}

template <class Socket>
void http_session<Socket>::respond(http_answer what) {
  if (what.status >= 400) site_->numbers.http_refused.add();
  if (site_->draining) keep_ = keep_ && !is_public_;
  state_ = state::writing;
  held_.reset();  // the write holds it now, or whoever called
  wait_until(steady_clock::now() + site_->settings.http.request_timeout);
  out_ = response_text(what, keep_, parser_->get().method() != http::verb::head);
  boost::asio::async_write(socket_, boost::asio::buffer(out_), [me = this->shared_from_this()](const boost::system::error_code& error, std::size_t) {
    if (error || me->state_ == state::gone) return me->drop();
    std::string().swap(me->out_);
    if (!me->keep_) return me->linger();
    if (me->buffer_.size() == 0) me->buffer_.shrink_to_fit();
    me->read_head();
  });
}

/// Closing with unread bytes in the socket would reset it, and the client could lose the answer: they are read for a while.
template <class Socket>
void http_session<Socket>::linger() {
  if (state_ != state::lingering) {
    state_ = state::lingering;
    wait_until(steady_clock::now() + linger_time);
    if constexpr (is_tls) {  // says so, and waits for the client to say the same
      socket_.async_shutdown([me = this->shared_from_this()](const boost::system::error_code&) { me->drop(); });
      return;
    }
    boost::system::error_code ignored;  // already closed by the client
    boost::beast::get_lowest_layer(socket_).shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
    out_.resize(16 * 1024);
  }
  socket_.async_read_some(boost::asio::buffer(out_), [me = this->shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
    me->discarded_ += bytes;
    if (error || me->state_ == state::gone || me->discarded_ > linger_bytes_max) return me->drop();
    me->linger();
  });
}

template <class Socket>
steady_time http_session<Socket>::due(steady_time now) {
  if (now < deadline_) return deadline_;
  if (state_ != state::answering) return drop(), now;
  ++exchange_;
  respond(problem_answer({ec::unavailable, "no answer within internal.append_timeout", {}}));
  return deadline_;
}

template <class Socket>
void http_session<Socket>::drop() {
  if (state_ == state::gone) return;
  state_ = state::gone;
  desk_.timers.remove(*this);
  slot_.give_back();
  held_.reset();
  boost::system::error_code ignored;  // closing what the other side closed already
  boost::beast::get_lowest_layer(socket_).close(ignored);
}

template class http_session<tcp_socket>;
template class http_session<tls_socket>;

}  // namespace doorstep
