// SPDX-License-Identifier: Apache-2.0
// Lives on one loop. At most one read, one write and one close are under way; whichever ends last after drop() lets the socket go.
#include "net/ws_session.hpp"

#include "runtime/log.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/websocket/option.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {
namespace {

namespace websocket = boost::beast::websocket;
namespace http = boost::beast::http;
using std::chrono::steady_clock;

constexpr milliseconds close_patience{2000};    ///< for the client's half of the closing handshake
constexpr milliseconds farewell_patience{250};  ///< for the end of the stream, once both halves are done
constexpr std::size_t more_bytes = 8 * 1024;    ///< read at once of a frame that did not fit the first chunk

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

}  // namespace

ws_session::ws_session(std::shared_ptr<site> of, desk& here, tcp_socket socket, connection_slot slot, upgrade_credentials credentials)
    : site_(std::move(of)), desk_(here), slot_(std::move(slot)), credentials_(std::move(credentials)), heard_(steady_clock::now()) {
  boost::system::error_code ignored;  // the client may be gone already; the first read says so
  const auto peer = socket.remote_endpoint(ignored);
  if (!ignored) remote_ = text_of(peer);
  socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  ws_.emplace(std::move(socket));
  ++desk_.sockets;
  deadline_ = heard_ + site_->settings.ws.connect_timeout;
}

ws_session::~ws_session() = default;

void ws_session::start(const http_request& upgrade) {
  if (site_->stopped) return drop();
  desk_.timers.set(*this, deadline_);
  ws_->auto_fragment(false);
  ws_->text(true);
  // The limit is ours to watch (on_read): Beast's own would send 1009 without the disconnect object. Its stays as a far stop.
  ws_->read_message_max(0);
  ws_->control_callback([this](websocket::frame_type kind, boost::beast::string_view) {
    heard_ = steady_clock::now();
    if (kind == websocket::frame_type::close) return on_close_frame();
    if (state_ < state::closing && !take_rate(heard_)) close(close_code::too_many_frames, "too many frames a second", milliseconds{0});
  });
  if (site_->settings.ws.compression) {
    websocket::permessage_deflate deflate;
    deflate.server_enable = true;
    ws_->set_option(deflate);
  }
  if (upgrade.count(http::field::sec_websocket_protocol) != 0)
    ws_->set_option(
        websocket::stream_base::decorator([](websocket::response_type& answer) { answer.set(http::field::sec_websocket_protocol, "doorstep.v1"); }));
  ++operations_;
  ws_->async_accept(upgrade, [me = shared_from_this()](const boost::system::error_code& error) {
    --me->operations_;
    if (error || me->state_ == state::gone) return me->drop();
    if (me->state_ == state::accepting) me->state_ = state::waiting;
    if (!me->credentials_.refusal.empty()) {
      me->site_->numbers.tokens_refused.add();
      me->close(close_code::bad_token, me->credentials_.refusal, milliseconds{0});
    }
    me->read();
    me->flush();
  });
}

void ws_session::read() {
  if (state_ >= state::closing) return;  // closing reads for itself
  ++operations_;
  const auto done = [me = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
    --me->operations_;
    me->on_read(error, bytes);
  };
  if (inbox_.empty()) return ws_->async_read_some(boost::asio::buffer(chunk_), done);
  const auto have = inbox_.size();
  inbox_.resize(have + more_bytes);
  ws_->async_read_some(boost::asio::buffer(inbox_.data() + have, more_bytes), done);
}

void ws_session::on_read(const boost::system::error_code& error, std::size_t bytes) {
  if (state_ == state::gone) return finish_operation();
  if (error) return state_ == state::closing && close_sent_ ? finish_operation() : drop();
  if (state_ >= state::closing) return;
  const bool first = inbox_.empty();
  if (!first) inbox_.resize(inbox_.size() - more_bytes + bytes);
  const auto whole = first ? std::string_view(chunk_.data(), bytes) : std::string_view(inbox_);
  if (whole.size() > site_->settings.ws.frame_bytes_max) {
    site_->numbers.frames_refused.add();
    close(close_code::too_large, "a frame is over " + std::to_string(site_->settings.ws.frame_bytes_max) + " bytes", milliseconds{0});
  } else if (ws_->is_message_done()) {
    heard_ = steady_clock::now();
    on_frame(whole);
    std::string().swap(inbox_);
  } else if (first) {
    inbox_.assign(whole);
  }
  read();
}

/// The client goes, or agrees that we go. Beast answers; it would then wait for the end of the stream for as long as the client likes.
void ws_session::on_close_frame() {
  if (state_ == state::gone) return;
  state_ = state::leaving;
  deadline_ = heard_ + farewell_patience;
  desk_.timers.set(*this, deadline_);
  part();
}

/// In a turn of its own: this can be reached from a call that the handler made.
void ws_session::part() {
  if (handler_) desk_.where.post([handler = std::exchange(handler_, nullptr)] { handler->closed(); });
}

bool ws_session::take_rate(steady_time now) {
  const auto per_second = static_cast<std::int64_t>(std::max<std::size_t>(site_->settings.ws.frames_per_second_max, 1));
  const auto one = std::chrono::nanoseconds(1'000'000'000 / per_second);
  rate_ = std::max(rate_, now) + one;  // when the bucket would be full again; two seconds' worth fit
  return rate_ - now <= 2 * per_second * one;
}

void ws_session::on_frame(std::string_view text) {
  site_->numbers.frames_in.add();
  if (!take_rate(heard_)) {
    site_->numbers.frames_refused.add();
    return close(close_code::too_many_frames, "over " + std::to_string(site_->settings.ws.frames_per_second_max) + " frames a second",
                 milliseconds{0});
  }
  if (!ws_->got_text()) {
    site_->numbers.frames_refused.add();
    return close(close_code::protocol_error, "frames must be text", milliseconds{0});
  }
  auto frame = decode_frame(text);
  if (!frame) {
    site_->numbers.frames_refused.add();
    return close(close_code::protocol_error, frame.error().detail, milliseconds{0});
  }
  for (auto& x : frame->refused) {
    site_->numbers.frames_refused.add();
    append_event(out(), std::move(x));
  }
  if (!frame->refused.empty()) sent();
  handle(std::move(frame->commands));
}

void ws_session::handle(std::vector<client::command> commands) {
  std::size_t kept = 0;
  for (auto& x : commands) {
    if (state_ >= state::closing) return;
    if (auto* first = std::get_if<client::connect>(&x)) {
      on_first(std::move(*first));
    } else if (std::holds_alternative<client::pong>(x)) {
      // that the client lives is noted already
    } else if (state_ != state::connected) {
      site_->numbers.frames_refused.add();
      return close(close_code::protocol_error, "the first object must be connect", milliseconds{0});
    } else if (auto* asked = std::get_if<client::ping>(&x)) {
      append_event(out(), server::pong{asked->id});
      sent();
    } else if (auto* other = std::get_if<client::unsupported>(&x)) {
      append_event(out(), server::error{other->id, {ec::unsupported, "this server does not offer " + other->what, {}}});
      sent();
    } else if (auto* newer = std::get_if<client::refresh>(&x)) {
      on_refresh(std::move(*newer));
    } else {
      if (&commands[kept] != &x) commands[kept] = std::move(x);
      ++kept;
    }
  }
  if (kept == 0 || state_ != state::connected) return;
  commands.resize(kept);
  handler_->commands(std::move(commands));
}

void ws_session::on_first(client::connect request) {
  if (state_ == state::connected) return close(close_code::protocol_error, "connect was sent twice", milliseconds{0});
  if (!credentials_.given) {
    auto who = request.token.empty() ? result<identity>(failure{ec::unauthorized, "no token was given", {}})
                                     : site_->tokens.verify(request.token, wall_now());
    if (!who) {
      site_->numbers.tokens_refused.add();
      return close(close_code::bad_token, who.error().detail, milliseconds{0});
    }
    credentials_.who = std::move(*who);
  }
  request.token.clear();
  handler_ = site_->door.open(shared_from_this(), desk_.where);
  if (!handler_) {
    site_->numbers.sessions_refused.add();
    const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(site_->settings.runtime.reconnect_spread.count(), 0));
    return close(close_code::going_away, "the server restarts", milliseconds(desk_.random() % (spread + 1)));
  }
  state_ = state::connected;
  auto who = std::exchange(credentials_, {}).who.value();
  user_ = who.user;
  expires(who);
  handler_->connected(std::move(request), std::move(who));
}

void ws_session::on_refresh(client::refresh request) {
  auto who = site_->tokens.verify(request.token, wall_now());
  if (!who) {
    site_->numbers.tokens_refused.add();
    append_event(out(), server::error{request.id, who.error()});
    return sent();
  }
  if (who->user != user_) {
    append_event(out(), server::error{request.id, {ec::forbidden, "the token is another user's", {}}});
    return sent();
  }
  expires(*who);
  handler_->refreshed(request.id, std::move(*who));
}

void ws_session::expires(const identity& who) {
  expiry_ = steady_time::max();
  if (who.expires_at) {
    const auto left = site_->tokens.end_of(*who.expires_at).value - wall_now().value;
    if (left < std::int64_t{10} * 365 * 24 * 3600 * 1000) expiry_ = steady_clock::now() + milliseconds(left);
  }
  desk_.timers.set(*this, std::min(expiry_, heard_ + site_->settings.ws.ping_interval));
}

steady_time ws_session::due(steady_time now) {
  const auto& limits = site_->settings.ws;
  switch (state_) {
    case state::accepting:
    case state::waiting:
      if (now < deadline_) return deadline_;
      if (state_ == state::accepting) return drop(), now;
      site_->numbers.sessions_refused.add();
      close(close_code::connect_timeout, "no connect object came in time", milliseconds{0});
      return deadline_;
    case state::closing:
    case state::leaving:
      if (now >= deadline_) drop();
      return deadline_;
    case state::gone: return now;
    case state::connected: break;
  }
  if (now >= expiry_) {
    close(close_code::token_expired, "the token has expired", milliseconds{0});
    return deadline_;
  }
  if (pinged_ > heard_) {
    if (now >= pinged_ + limits.pong_timeout) {
      close(close_code::ping_timeout, "no answer to a ping", milliseconds{0});
      return deadline_;
    }
    return std::min(expiry_, pinged_ + limits.pong_timeout);
  }
  if (now >= heard_ + limits.ping_interval) {
    if (!out().empty()) out() += '\n';
    out() += "{}";
    sent();
    pinged_ = now;
    return std::min(expiry_, pinged_ + limits.pong_timeout);
  }
  return std::min(expiry_, heard_ + limits.ping_interval);
}

std::string& ws_session::out() {
  if (filling_.capacity() < 64) filling_ = desk_.take_buffer();
  return filling_;
}

void ws_session::send(const std::vector<server::event>& events) {
  if (state_ >= state::closing || events.empty()) return;
  for (const auto& x : events) append_event(out(), x);
  sent();
}

void ws_session::push(const std::vector<server::push>& messages) {
  if (state_ >= state::closing || messages.empty()) return;
  for (const auto& x : messages) append_push(out(), x);
  sent();
}

void ws_session::push_shared(const shared_push& x) {
  if (state_ >= state::closing) return;
  if (!out().empty()) out() += '\n';
  out() += x.native();
  sent();
}

void ws_session::sent() {
  if (filling_.size() + in_flight_.size() > site_->settings.ws.write_queue_bytes_max)
    return close(close_code::slow_client, "more than ws.write_queue_bytes_max was not read", milliseconds{0});
  if (flush_asked_ || writing_) return;
  flush_asked_ = true;
  desk_.flush_soon(shared_from_this());
}

void ws_session::close(close_code code, std::string reason, milliseconds delay) {
  if (state_ >= state::closing) return;
  log_line(log_level::debug, "session", "closing").with("remote", remote_).with("code", static_cast<int>(code)).with("reason", name(code));
  const bool accepted = state_ != state::accepting;
  state_ = state::closing;
  code_ = code;
  reason_ = std::move(reason);
  deadline_ = steady_clock::now() + close_patience;
  desk_.timers.set(*this, deadline_);
  if (code == close_code::slow_client) filling_.clear();  // it would not be read; the messages stay owed
  append_disconnect(out(), code, reason_, delay);
  if (!accepted || flush_asked_ || writing_) return;
  flush_asked_ = true;
  desk_.flush_soon(shared_from_this());
}

void ws_session::flush() {
  flush_asked_ = false;
  if (writing_ || state_ >= state::leaving || state_ == state::accepting) return;
  if (!filling_.empty()) {
    writing_ = true;
    in_flight_ = std::move(filling_);
    filling_ = std::string();
    ++operations_;
    ws_->async_write(boost::asio::buffer(in_flight_), [me = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
      --me->operations_;
      me->writing_ = false;
      me->desk_.give_back(std::move(me->in_flight_));
      me->in_flight_ = std::string();
      if (error || me->state_ == state::gone) return me->drop();
      me->site_->numbers.frames_out.add();
      me->site_->numbers.bytes_out.add(static_cast<double>(bytes));
      me->flush();
    });
    return;
  }
  if (state_ != state::closing || close_sent_) return;
  close_sent_ = true;
  ++operations_;
  const auto reason = close_reason(reason_);
  const websocket::close_reason farewell(static_cast<websocket::close_code>(code_), boost::beast::string_view(reason.data(), reason.size()));
  ws_->async_close(farewell, [me = shared_from_this()](const boost::system::error_code&) {
    --me->operations_;
    me->drop();
  });
}

void ws_session::drop() {
  if (state_ != state::gone) {
    state_ = state::gone;
    desk_.timers.remove(*this);
    if (ws_) {
      boost::system::error_code ignored;  // closing what the other side closed already
      ws_->next_layer().close(ignored);
    }
    slot_.give_back();
    part();
  }
  finish_operation();
}

void ws_session::finish_operation() {
  if (state_ != state::gone || operations_ != 0 || !ws_) return;
  ws_.reset();
  --desk_.sockets;
  std::string().swap(filling_);
  std::string().swap(inbox_);
}

}  // namespace doorstep
