// SPDX-License-Identifier: Apache-2.0
// Listening, and the order in which everything stops. Acceptors live on the first loop.
#include "net/server.hpp"

#include "net/http_session.hpp"
#include "net/site.hpp"
#include "net/travelling_socket.hpp"
#include "runtime/log.hpp"
#include "runtime/number_text.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <sys/resource.h>

#include <future>
#include <utility>

namespace doorstep {
namespace {

using tcp = boost::asio::ip::tcp;
using acceptor = boost::asio::basic_socket_acceptor<tcp, boost::asio::io_context::executor_type>;
using timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                                boost::asio::io_context::executor_type>;

/// "127.0.0.1:8000", "[::1]:8000", "localhost:8000", ":8000" (every address).
result<tcp::endpoint> endpoint_of(const std::string& text, const char* option) {
  const failure wrong{ec::bad_config, text + " is not an address such as 127.0.0.1:8000 or [::1]:8000", option};
  const auto colon = text.rfind(':');
  if (colon == text.npos) return wrong;
  const auto port = number_in<std::uint16_t>(std::string_view(text).substr(colon + 1));
  if (!port) return wrong;
  auto host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  if (host.empty() || host == "*") host = "0.0.0.0";
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  if (error) return wrong;
  return tcp::endpoint(address, *port);
}

/// As many descriptors as we may have; a shell's soft limit is often 1024.
void raise_descriptor_limit(std::size_t connections_max) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < connections_max + 256)
    log_line(log_level::warn, "server", "few-descriptors")
        .with("limit", std::uint64_t{limit.rlim_max})
        .with("connections_max", std::uint64_t{connections_max})
        .with("do", "raise the limit (ulimit -Hn, LimitNOFILE) or lower http.connections_max");
}

/// Runs `work` on the loop and waits for it, or for the loop to be found stopped.
template <class F>
void run_there(loop& where, F work) {
  auto done = std::make_shared<std::promise<void>>();
  auto future = done->get_future();
  where.post([done, work = std::move(work)]() mutable {
    work();
    done->set_value();
  });
  while (future.wait_for(milliseconds{50}) != std::future_status::ready)
    if (where.io().stopped()) return;
}

std::string address_of(const tcp_socket& socket) {
  boost::system::error_code gone;
  const auto peer = socket.remote_endpoint(gone);
  return gone ? std::string() : peer.address().to_string();
}

}  // namespace

struct http_server::impl {
  impl(const config& settings, std::vector<loop*> loops, front_door& door, intake& in, inspection& look, metrics& numbers, asset_finder assets)
      : at(std::make_shared<site>(settings, loops, door, in, look, numbers, std::move(assets))),
        home(*loops.front()),
        public_door(home.io()),
        internal_door(home.io()),
        pause(home.io()) {}

  result<void> listen_at_both();
  result<void> listen(acceptor& door, const std::string& text, const char* option);
  void accept_public();
  void accept_internal();
  bool retry_later(const boost::system::error_code& error, void (impl::*again)());
  bool wait_for_sockets(desk& one);

  std::shared_ptr<site> at;
  loop& home;
  acceptor public_door, internal_door;
  timer pause;
  std::size_t next_desk = 0;
  std::uint16_t public_port = 0, internal_port = 0;
  bool started = false, is_stopped = false;
};

result<void> http_server::impl::listen(acceptor& door, const std::string& text, const char* option) {
  auto where = endpoint_of(text, option);
  if (!where) return where.error();
  boost::system::error_code error;
  door.open(where->protocol(), error);
  if (!error) door.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) door.bind(*where, error);
  if (!error) door.listen(4096, error);
  if (!error) return {};
  boost::system::error_code ignored;
  door.close(ignored);
  const bool in_use = error == boost::asio::error::address_in_use;
  return failure{ec::unavailable, in_use ? text + " is in use (" + option + ")" : "cannot listen on " + text + ": " + error.message(), option};
}

/// The loop's thread, like all that follows: its reactor has no locks.
result<void> http_server::impl::listen_at_both() {
  if (auto ok = listen(public_door, at->settings.http.listen, "http.listen"); !ok) return ok;
  auto ok = listen(internal_door, at->settings.internal.listen, "internal.listen");
  boost::system::error_code ignored;  // what was said first is the reason
  if (!ok) public_door.close(ignored);
  return ok;
}

/// Out of descriptors or memory: the waiting clients stay in the kernel's queue for a moment.
bool http_server::impl::retry_later(const boost::system::error_code& error, void (impl::*again)()) {
  if (!error || error == boost::asio::error::connection_aborted) return false;
  if (error == boost::asio::error::operation_aborted || at->stopped) return true;
  log_line(log_level::warn, "server", "accept-failed").with("error", error.message());
  pause.expires_after(milliseconds{100});
  pause.async_wait([this, again](const boost::system::error_code& cancelled) {
    if (!cancelled) (this->*again)();
  });
  return true;
}

/// The stream that this port speaks, on a socket that was accepted.
void begin_session(const std::shared_ptr<site>& at, desk& there, tcp_socket socket, connection_slot slot, bool is_public) {
  const auto believed = at->trusted();
  const auto& tls = is_public ? believed->public_tls : believed->internal_tls;
  if (tls)
    std::make_shared<http_session<tls_socket>>(at, there, tls_socket(std::move(socket), *tls), std::move(slot), is_public)->start();
  else
    std::make_shared<http_session<tcp_socket>>(at, there, std::move(socket), std::move(slot), is_public)->start();
}

void http_server::impl::accept_public() {
  public_door.async_accept(home.io(), [this](const boost::system::error_code& error, tcp_socket socket) {
    if (retry_later(error, &impl::accept_public)) return;
    // Over connections_max there is room for as many again as can be told so; beyond that a socket is closed at once.
    const auto limit = at->settings.http.connections_max;
    if (!error && at->connections.load(std::memory_order_relaxed) < limit + limit / 8 + 16) {
      connection_slot slot(at, at->settings.http.connections_per_address_max == 0 ? std::string() : address_of(socket));
      auto& there = *at->desks[next_desk++ % at->desks.size()];
      if (there.where.is_here())
        begin_session(at, there, std::move(socket), std::move(slot), true);
      else
        there.where.post([at = at, &there, socket = travelling_socket(socket), slot = std::move(slot)]() mutable {
          tcp_socket arrived(there.where.io());
          if (socket.arrive(arrived)) begin_session(at, there, std::move(arrived), std::move(slot), true);
        });
    } else if (!error) {
      at->numbers.sessions_refused.add();
    }
    if (public_door.is_open()) accept_public();
  });
}

void http_server::impl::accept_internal() {
  internal_door.async_accept(home.io(), [this](const boost::system::error_code& error, tcp_socket socket) {
    if (retry_later(error, &impl::accept_internal)) return;
    if (!error) begin_session(at, *at->desks.front(), std::move(socket), connection_slot(), false);
    if (internal_door.is_open()) accept_internal();
  });
}

http_server::http_server(const config& settings, std::vector<loop*> loops, front_door& door, intake& in, inspection& look, metrics& numbers,
                         asset_finder assets)
    : impl_(std::make_unique<impl>(settings, std::move(loops), door, in, look, numbers, std::move(assets))) {}

http_server::~http_server() { stop(); }

result<void> http_server::start() {
  auto& x = *impl_;
  auto& here = *x.at;
  auto believed = trust::open(here.settings);
  if (!believed) return believed.error();
  if (!here.settings.auth.knows_anybody())
    log_line(log_level::warn, "server", "no-token-keys").with("effect", "every client is refused until [auth] names a secret, keys, or a hook");
  if ((*believed)->keys.empty())
    log_line(log_level::warn, "server", "no-api-keys").with("effect", "nobody can publish over HTTP until internal.api_keys is set");
  here.use(std::move(*believed));
  if (!here.settings.auth.jwks_url.empty()) here.jwks = std::make_unique<jwks_fetcher>(here.settings.auth, here.numbers);
  if (!here.settings.auth.hook_url.empty()) here.hook = std::make_unique<connect_hook>(here.settings.auth, here.numbers);
  result<void> listens;
  run_there(x.home, [&] { listens = x.listen_at_both(); });
  if (!listens) return listens;
  raise_descriptor_limit(here.settings.http.connections_max);
  x.public_port = x.public_door.local_endpoint().port();
  x.internal_port = x.internal_door.local_endpoint().port();
  here.numbers.connections_max.set(static_cast<double>(here.settings.http.connections_max));
  x.started = true;
  x.home.post([&x] {
    x.accept_public();
    x.accept_internal();
  });
  log_line(log_level::info, "server", "listening")
      .with("public", x.public_door.local_endpoint().port())
      .with("internal", x.internal_door.local_endpoint().port());
  return {};
}

result<std::function<void()>> http_server::prepare_reload(const config& next) {
  auto believed = trust::open(next);
  if (!believed) return believed.error();
  const auto now = impl_->at->trusted();
  if (now && (!(*believed)->public_tls != !now->public_tls || !(*believed)->internal_tls != !now->internal_tls)) {
    // Whether a port speaks TLS is settled at the start; what a reload names instead counts from the next one on.
    auto kept = std::make_shared<trust>(**believed);
    if (!kept->public_tls != !now->public_tls) kept->public_tls = now->public_tls;
    if (!kept->internal_tls != !now->internal_tls) kept->internal_tls = now->internal_tls;
    *believed = std::move(kept);
  }
  return std::function<void()>([at = impl_->at, next = std::move(*believed)] { at->use(next); });
}

std::uint16_t http_server::public_port() const { return impl_->public_port; }
std::uint16_t http_server::internal_port() const { return impl_->internal_port; }

void http_server::stop_accepting() {
  auto& x = *impl_;
  x.at->draining = true;
  if (!x.started || x.is_stopped) return;
  run_there(x.home, [&x] {
    boost::system::error_code ignored;  // it may be closed already
    x.public_door.close(ignored);
  });
}

/// True when no session here holds a socket any more; what was cancelled has called back by then.
bool http_server::impl::wait_for_sockets(desk& one) {
  const auto give_up = std::chrono::steady_clock::now() + milliseconds{5000};
  bool is_empty = false;
  while (!is_empty && std::chrono::steady_clock::now() < give_up && !one.where.io().stopped())
    run_there(one.where, [&] { is_empty = one.sockets == 0; });
  return is_empty;
}

void http_server::stop() {
  auto& x = *impl_;
  if (x.is_stopped) return;
  x.is_stopped = true;
  x.at->draining = true;
  x.at->stopped = true;
  if (x.at->jwks) x.at->jwks->stop();
  if (x.at->hook) x.at->hook->stop();
  if (!x.started) return;
  run_there(x.home, [&x] {
    boost::system::error_code ignored;  // they may be closed already
    x.public_door.close(ignored);
    x.internal_door.close(ignored);
    x.pause.cancel();
  });
  for (auto& one : x.at->desks) {
    run_there(one->where, [&one] {
      for (const auto& who : one->timers.all()) who->drop();
      one->timers.stop();
    });
  }
  for (auto& one : x.at->desks)
    if (!x.wait_for_sockets(*one)) log_line(log_level::warn, "server", "sockets-left").with("sockets", static_cast<std::uint64_t>(one->sockets));
}

}  // namespace doorstep
