// SPDX-License-Identifier: Apache-2.0
#include "bench/client_pool.hpp"

#include "bench/process_stat.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

namespace bench {

namespace {

constexpr std::size_t users_per_address = 20000;  // below the kernel's default range of local ports
constexpr std::size_t read_bytes = 256 * 1024;
constexpr std::size_t opening_max = 500;

bool holds(std::string_view text, std::string_view part) { return ::memmem(text.data(), text.size(), part.data(), part.size()) != nullptr; }

sockaddr_in loopback(const std::string& host, std::uint16_t port) {
  sockaddr_in x{};
  x.sin_family = AF_INET;
  x.sin_port = htons(port);
  ::inet_pton(AF_INET, host.c_str(), &x.sin_addr);
  return x;
}

}  // namespace

std::uint64_t number_after(std::string_view text, std::string_view name) {
  const void* found = ::memmem(text.data(), text.size(), name.data(), name.size());
  if (found == nullptr) return 0;
  std::uint64_t x = 0;
  std::from_chars(static_cast<const char*>(found) + name.size(), text.data() + text.size(), x);
  return x;
}

client_pool::client_pool(client_options options, ledger& book, histogram& latency)
    : options_(std::move(options)),
      book_(book),
      latency_(latency),
      clients_(options_.users),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(read_bytes, '\0') {
  if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  expires_at_ = static_cast<std::int64_t>(std::time(nullptr)) + 24 * 3600;
}

client_pool::~client_pool() {
  for (client& x : clients_) {
    if (x.fd < 0) continue;
    const linger reset{1, 0};
    ::setsockopt(x.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::close(x.fd);
  }
  ::close(epoll_);
}

bool client_pool::connect_up_to(std::size_t last) {
  const std::int64_t begin = now_ns();
  const std::size_t first = opened_;
  std::int64_t progress_ns = begin;
  std::uint64_t live = counts_.live;
  while (counts_.live + counts_.closed < last) {
    const auto due =
        first + static_cast<std::size_t>(static_cast<double>(now_ns() - begin) / 1e9 * static_cast<double>(options_.connects_per_second));
    while (opened_ < std::min(due, last) && greeting_ < opening_max) open(opened_++);
    turn(1);
    if (counts_.live != live) {
      live = counts_.live;
      progress_ns = now_ns();
    }
    if (now_ns() - progress_ns > 60'000'000'000) return false;
  }
  return counts_.closed == 0;
}

void client_pool::serve(std::int64_t nanoseconds) {
  const std::int64_t end = now_ns() + nanoseconds;
  for (std::int64_t left = nanoseconds; left > 0; left = end - now_ns())
    turn(static_cast<int>(std::min<std::int64_t>((left + 999'999) / 1'000'000, 100)));
}

void client_pool::measure(std::int64_t from_ns, std::int64_t to_ns) {
  from_ns_ = from_ns;
  to_ns_ = to_ns;
}

void client_pool::turn(int timeout_ms) {
  std::array<epoll_event, 512> events;
  const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < ready; ++i) {
    const epoll_event& x = events[static_cast<std::size_t>(i)];
    const std::size_t index = x.data.u32;
    if ((x.events & EPOLLOUT) != 0 && clients_[index].fd >= 0) {
      outgoing_.clear();
      flush(index);
    }
    if ((x.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 && clients_[index].fd >= 0) readable(index);
  }
}

void client_pool::open(std::size_t index) {
  client& me = clients_[index];
  me.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (me.fd < 0) return close(index, std::string("socket: ") + std::strerror(errno));
  const int on = 1;
  ::setsockopt(me.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (index >= users_per_address) {
    ::setsockopt(me.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const sockaddr_in from = loopback("127.0.0." + std::to_string(1 + index / users_per_address), 0);
    ::bind(me.fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  }
  const sockaddr_in to = loopback(options_.host, options_.port);
  if (::connect(me.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
    return close(index, std::string("connect: ") + std::strerror(errno));
  ++greeting_;
  me.where = stage::upgrading;
  epoll_event interest{};
  interest.events = EPOLLIN | EPOLLOUT;
  interest.data.u32 = static_cast<std::uint32_t>(index);
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, me.fd, &interest);
  me.wants_write = true;

  std::string request =
      "GET /v1/ws HTTP/1.1\r\nHost: " + options_.host + ":" + std::to_string(options_.port) +
      "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Sec-WebSocket-Protocol: doorstep.v1\r\n";
  if (!options_.token_in_frame) request += "Authorization: Bearer " + token_of(index) + "\r\n";
  me.out = request + "\r\n";
}

void client_pool::readable(std::size_t index) {
  client& me = clients_[index];
  const ssize_t got = ::recv(me.fd, buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) return close(index, std::string("receive: ") + std::strerror(errno));
  if (got == 0) return close(index, "the server closed the connection");
  received_ns_ = now_ns();
  counts_.bytes += static_cast<std::uint64_t>(got);
  outgoing_.clear();
  char* bytes = buffer_.data();
  auto size = static_cast<std::size_t>(got);
  std::string whole;
  if (!me.in.empty()) {
    whole = std::move(me.in);
    whole.append(bytes, size);
    bytes = whole.data();
    size = whole.size();
  }
  const std::size_t used = consume(index, bytes, size);
  if (me.fd < 0) return;
  if (used < size) {
    me.in.assign(bytes + used, size - used);
  } else if (me.in.capacity() > 64) {
    me.in = {};
  }
  flush(index);
}

std::size_t client_pool::consume(std::size_t index, char* bytes, std::size_t size) {
  std::size_t used = 0;
  if (clients_[index].where == stage::upgrading) {
    used = upgraded(index, {bytes, size});
    if (used == 0) return 0;
  }
  while (clients_[index].fd >= 0) {
    const auto next = parse_frame(bytes + used, size - used);
    if (!next) break;
    used += next->size;
    framed(index, *next);
  }
  return used;
}

std::size_t client_pool::upgraded(std::size_t index, std::string_view bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  if (!bytes.starts_with("HTTP/1.1 101")) {
    close(index, std::string(bytes.substr(0, bytes.find('\r'))));
    return 0;
  }
  clients_[index].where = stage::greeting;
  std::string hello = "{\"id\":1,\"connect\":{";
  if (options_.token_in_frame) hello += "\"token\":\"" + token_of(index) + "\"";
  const std::string members = members_of_connect(index);
  if (!members.empty()) hello += (options_.token_in_frame ? "," : "") + members;
  say(opcode::text, hello + "}}");
  return end + 4;
}

void client_pool::framed(std::size_t index, const frame& x) {
  ++counts_.frames;
  client& me = clients_[index];
  switch (x.kind) {
    case opcode::ping: return say(opcode::pong, x.payload);
    case opcode::pong: return;
    case opcode::close: {
      const unsigned code = x.payload.size() < 2
                                ? 1005
                                : static_cast<unsigned>(static_cast<unsigned char>(x.payload[0])) << 8 | static_cast<unsigned char>(x.payload[1]);
      return close(index, "close code " + std::to_string(code));
    }
    default: break;
  }
  if (!x.last || !me.fragments.empty()) {
    me.fragments += x.payload;
    if (!x.last) return;
    const std::string whole = std::move(me.fragments);
    me.fragments = {};
    return text(index, whole);
  }
  text(index, x.payload);
}

void client_pool::text(std::size_t index, std::string_view lines) {
  bool any = false;
  while (!lines.empty()) {
    const auto end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (line.starts_with("{\"message\":")) {
      ++counts_.messages;
      any = true;
      message(index, line);
    } else if (line == "{}") {
      ++counts_.pings;
      say(opcode::text, "{}");
    } else if (holds(line, "\"connected\":")) {
      if (clients_[index].where == stage::greeting) {
        clients_[index].where = stage::live;
        ++counts_.live;
        --greeting_;
        greeted(index, line);
      }
    } else if (holds(line, "\"receipt\":")) {
      ++counts_.receipts;
      receipt(index, line);
    } else if (!line.empty()) {
      ++counts_.complaints[std::string(line.substr(0, 120))];
    }
  }
  if (!any) return;
  ++counts_.message_frames;
  const std::string ack = ack_of(index);
  if (!options_.acks || ack.empty()) return;
  say(opcode::text, ack);
  ++counts_.acks;
}

std::string client_pool::token_of(std::size_t index) const {
  return make_token(options_.secret, "b" + std::to_string(options_.first_user + index), expires_at_);
}

void client_pool::message(std::size_t index, std::string_view line) {
  highest_seq_ = std::max(highest_seq_, number_after(line, "\"seq\":"));
  if (number_after(line, "{\"run\":") != options_.run) {
    ++counts_.foreign;
    return;
  }
  const auto intended_ns = static_cast<std::int64_t>(number_after(line, ",\"t\":"));
  const auto number = static_cast<std::uint32_t>(number_after(line, ",\"n\":"));
  if (!book_.delivered(index, number, holds(line, "\"redelivered\":true"))) return;
  if (intended_ns >= from_ns_ && intended_ns < to_ns_) latency_.add((received_ns_ - intended_ns) / 1000);
}

std::string client_pool::ack_of(std::size_t index) {
  std::array<char, 128> ack;
  const int size = std::snprintf(ack.data(), ack.size(), "{\"ack\":{\"up_to\":{\"user:b%zu\":%llu}}}", options_.first_user + index,
                                 static_cast<unsigned long long>(std::exchange(highest_seq_, 0)));
  return {ack.data(), static_cast<std::size_t>(size)};
}

void client_pool::say(opcode kind, std::string_view payload) {
  mask_ = mask_ * 1664525 + 1013904223;
  append_client_frame(outgoing_, kind, payload, mask_);
}

int client_pool::leave(std::size_t index, farewell how) {
  client& me = clients_[index];
  if (me.fd < 0) return -1;
  if (how == farewell::close_frame) {
    outgoing_.clear();
    say(opcode::close, {"\x03\xe8", 2});
    flush(index);
    if (me.fd < 0) return -1;
  }
  const int fd = me.fd;
  if (me.where == stage::live) {
    --counts_.live;
  } else {
    --greeting_;
  }
  me = {};
  me.where = stage::closed;
  if (how == farewell::none) {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    return fd;
  }
  ::close(fd);
  return -1;
}

/// Sends what was left over and what this turn said; keeps what the socket does not take.
void client_pool::flush(std::size_t index) {
  client& me = clients_[index];
  if (!me.out.empty()) {
    me.out += outgoing_;
    outgoing_.swap(me.out);
    me.out.clear();
  }
  if (!outgoing_.empty()) {
    const ssize_t sent = ::send(me.fd, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return close(index, std::string("send: ") + std::strerror(errno));
    const std::size_t done = sent < 0 ? 0 : static_cast<std::size_t>(sent);
    if (done < outgoing_.size()) me.out.assign(outgoing_, done);
    outgoing_.clear();
  }
  if (me.wants_write == !me.out.empty()) return;
  me.wants_write = !me.out.empty();
  epoll_event interest{};
  interest.events = EPOLLIN | (me.wants_write ? EPOLLOUT : 0U);
  interest.data.u32 = static_cast<std::uint32_t>(index);
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, me.fd, &interest);
}

void client_pool::close(std::size_t index, const std::string& complaint) {
  client& me = clients_[index];
  if (me.where == stage::live) --counts_.live;
  if (me.where == stage::upgrading || me.where == stage::greeting) --greeting_;
  ++counts_.closed;
  ++counts_.complaints[complaint];
  me.where = stage::closed;
  if (me.fd >= 0) ::close(me.fd);
  me.fd = -1;
  me.wants_write = false;
  for (std::string* x : {&me.in, &me.out, &me.fragments}) x->clear();
  lost_connection(index);
}

}  // namespace bench
