// SPDX-License-Identifier: Apache-2.0
// Lives on one loop. At most one read, one write and one close are under way; whichever ends last after drop() lets the socket go.
#include "net/ws_session.hpp"

#include "runtime/log.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace doorstep {
namespace {

using std::chrono::steady_clock;

constexpr milliseconds close_patience{2000};    ///< for the client's half of the closing handshake
constexpr milliseconds farewell_patience{250};  ///< for the end of the stream, once both halves are done
constexpr std::size_t more_bytes = 8 * 1024;    ///< read at once of a frame that did not fit the first chunk

}  // namespace

ws_session::ws_session(std::shared_ptr<site> of, desk& here, connection_slot slot, credentials shown)
    : site_(std::move(of)), desk_(here), slot_(std::move(slot)), entering_(std::make_unique<entering>()), heard_(steady_clock::now()) {
  entering_->shown = std::move(shown);
  ++desk_.sockets;
  deadline_ = heard_ + site_->settings.ws.connect_timeout;
}

ws_session::~ws_session() = default;

void ws_session::start(const http_request& upgrade) {
  if (site_->stopped) return drop();
  desk_.timers.set(*this, deadline_);
  ++operations_;
  accept(upgrade);
}

void ws_session::on_accepted(const boost::system::error_code& error) {
  --operations_;
  if (error || state_ == state::gone) return drop();
  if (state_ == state::accepting) state_ = state::waiting;
  if (!entering_->shown.refusal.empty()) {
    site_->numbers.tokens_refused.add();
    close(close_code::bad_token, entering_->shown.refusal, milliseconds{0});
  }
  read();
  flush();
}

void ws_session::on_control(bool is_close) {
  heard_ = steady_clock::now();
  if (is_close) return on_close_frame();
  if (state_ < state::closing && !take_rate(heard_, 0)) close(close_code::too_many_frames, "too many frames a second", milliseconds{0});
}

void ws_session::read() {
  if (state_ >= state::closing) return;  // closing reads for itself
  if (state_ == state::judging) {
    entering_->is_read_held = true;
    return;
  }
  ++operations_;
  if (inbox_.empty()) return read_into(chunk_.data(), chunk_.size());
  const auto have = inbox_.size();
  inbox_.resize(have + more_bytes);
  read_into(inbox_.data() + have, more_bytes);
}

void ws_session::on_read(const boost::system::error_code& error, std::size_t bytes) {
  --operations_;
  if (state_ == state::gone) return finish_operation();
  if (error) return state_ == state::closing && close_sent_ ? finish_operation() : drop();
  if (state_ >= state::closing) return;
  const bool first = inbox_.empty();
  if (!first) inbox_.resize(inbox_.size() - more_bytes + bytes);
  const auto whole = first ? std::string_view(chunk_.data(), bytes) : std::string_view(inbox_);
  if (whole.size() > site_->settings.ws.frame_bytes_max) {
    site_->numbers.frames_refused.add();
    close(close_code::too_large, "a frame is over " + std::to_string(site_->settings.ws.frame_bytes_max) + " bytes", milliseconds{0});
  } else if (is_whole()) {
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

bool ws_session::take_rate(steady_time now, std::size_t bytes) {
  const auto& limits = site_->settings.ws;
  if (share_ &&
      (!share_->frames.take(1, limits.frames_per_second_per_user_max, now) || !share_->bytes.take(bytes, limits.bytes_per_second_per_user_max, now)))
    return false;
  const auto per_second = static_cast<std::int64_t>(std::max<std::size_t>(limits.frames_per_second_max, 1));
  const auto one = std::chrono::nanoseconds(1'000'000'000 / per_second);
  rate_ = std::max(rate_, now) + one;  // when the bucket would be full again; two seconds' worth fit
  return rate_ - now <= 2 * per_second * one;
}

void ws_session::on_frame(std::string_view text) {
  site_->numbers.frames_in.add();
  if (!take_rate(heard_, text.size())) {
    site_->numbers.frames_refused.add();
    return close(close_code::too_many_frames, "more frames or bytes a second than this server takes", milliseconds{0});
  }
  if (!is_text()) {
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
      if (state_ != state::judging) continue;
      entering_->rest.assign(std::make_move_iterator(&x + 1), std::make_move_iterator(commands.data() + commands.size()));
      return;
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
  auto shown = std::move(entering_->shown);
  if (!shown.shows_something()) shown.token = std::move(request.token);
  request.token.clear();
  device_ = request.device;
  entering_->request = std::move(request);
  state_ = state::judging;
  held_ = shared_from_this();
  admit(*site_, std::move(shown), device_, remote_, [me = weak_from_this(), &home = desk_.where](admitted what) {
    if (home.is_here()) {
      if (const auto here = me.lock()) here->on_judged(std::move(what));
      return;
    }
    // It must not die on another thread: it is looked up again at home.
    home.post([me, what = std::move(what)]() mutable {
      if (const auto here = me.lock()) here->on_judged(std::move(what));
    });
  });
}

void ws_session::on_judged(admitted what) {
  if (state_ != state::judging) return;  // closed meanwhile
  held_.reset();                         // whoever called holds it
  state_ = state::waiting;
  const auto entered = std::move(entering_);
  const auto refuse = [&](close_code code, std::string why, milliseconds delay) {
    close(code, std::move(why), delay);
    if (entered->is_read_held) read();
  };
  if (!what.who) return refuse(what.code, std::move(what.why), milliseconds{0});
  if (site_->users.is_used() && !(share_ = site_->users.join(what.who->user))) {
    site_->numbers.sessions_denied.add();
    return refuse(close_code::too_many_connections, "ws.connections_per_user_max is reached", milliseconds{0});
  }
  handler_ = site_->door.open(shared_from_this(), desk_.where);
  if (!handler_) {
    site_->numbers.sessions_refused.add();
    const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(site_->settings.runtime.reconnect_spread.count(), 0));
    return refuse(close_code::going_away, "the server restarts", milliseconds(desk_.random() % (spread + 1)));
  }
  state_ = state::connected;
  user_ = what.who->user;
  expires(*what.who);
  const auto who = *what.who;
  handler_->connected(std::move(entered->request), std::move(*what.who));
  // Whom an operator denied since it was judged: the sessions that were to be ended may have been told before this one was among them.
  if (site_->denied.has(who, steady_clock::now())) return refuse(close_code::forbidden, "this user is denied", milliseconds{0});
  if (!entered->rest.empty()) handle(std::move(entered->rest));
  if (entered->is_read_held) read();
}

void ws_session::on_refresh(client::refresh request) {
  if (std::exchange(refreshing_, true)) {
    append_event(out(), server::error{request.id, {ec::queue_full, "a refresh is under way", {}}});
    return sent();
  }
  credentials shown;
  shown.token = std::move(request.token);
  if (shown.token.empty()) shown.refusal = "no token was given";
  admit(*site_, std::move(shown), device_, remote_, [me = weak_from_this(), id = request.id, &home = desk_.where](admitted what) {
    home.post([me, id, what = std::move(what)]() mutable {
      if (const auto here = me.lock()) here->on_refresh_judged(id, std::move(what));
    });
  });
}

void ws_session::on_refresh_judged(request_id id, admitted what) {
  refreshing_ = false;
  if (state_ != state::connected) return;
  if (what.who && what.who->user == user_) {
    expires(*what.who);
    const auto who = *what.who;
    handler_->refreshed(id, std::move(*what.who));
    // As in on_judged(): the sessions that were to be ended may have been told before this one was among them.
    if (site_->denied.has(who, steady_clock::now())) close(close_code::forbidden, "this user is denied", milliseconds{0});
    return;
  }
  if (what.who) {
    append_event(out(), server::error{id, {ec::forbidden, "the token is another user's", {}}});
  } else if (what.code == close_code::try_later) {
    append_event(out(), server::error{id, {ec::unavailable, std::move(what.why), {}}});
  } else {
    append_event(out(), server::error{id, {what.code == close_code::forbidden ? ec::forbidden : ec::unauthorized, std::move(what.why), {}}});
  }
  sent();
}

void ws_session::expires(const identity& who) {
  expiry_ = steady_time::max();
  if (who.expires_at) {
    const auto left = site_->trusted()->tokens.end_of(*who.expires_at).value - wall_now().value;
    if (left < std::int64_t{10} * 365 * 24 * 3600 * 1000) expiry_ = steady_clock::now() + milliseconds(left);
  }
  desk_.timers.set(*this, std::min(expiry_, heard_ + site_->settings.ws.ping_interval));
}

steady_time ws_session::due(steady_time now) {
  const auto& limits = site_->settings.ws;
  switch (state_) {
    case state::accepting:
    case state::waiting:
    case state::judging:
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
  if (filling_.empty() && filling_.capacity() < 64) filling_ = desk_.take_buffer();
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
  const auto alive = std::exchange(held_, nullptr);
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
    write_out(in_flight_);
    return;
  }
  if (state_ != state::closing || close_sent_) return;
  close_sent_ = true;
  ++operations_;
  say_goodbye(code_, reason_);
}

void ws_session::on_written(const boost::system::error_code& error, std::size_t bytes) {
  --operations_;
  writing_ = false;
  desk_.give_back(std::move(in_flight_));
  in_flight_ = std::string();
  if (error || state_ == state::gone) return drop();
  site_->numbers.frames_out.add();
  site_->numbers.bytes_out.add(static_cast<double>(bytes));
  flush();
}

void ws_session::on_closed() {
  --operations_;
  drop();
}

void ws_session::drop() {
  const auto alive = std::exchange(held_, nullptr);
  if (state_ != state::gone) {
    state_ = state::gone;
    desk_.timers.remove(*this);
    close_socket();
    slot_.give_back();
    share_.reset();
    part();
  }
  finish_operation();
}

void ws_session::finish_operation() {
  if (state_ != state::gone || operations_ != 0 || !has_stream()) return;
  let_go();
  --desk_.sockets;
  std::string().swap(filling_);
  std::string().swap(inbox_);
}

}  // namespace doorstep
