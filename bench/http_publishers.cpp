// SPDX-License-Identifier: Apache-2.0
#include "bench/http_publishers.hpp"

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
#include <string_view>
#include <system_error>

namespace bench {

namespace {

constexpr std::string_view end_of_head = "\r\n\r\n";

/// The body's length that a head names; 0 where it names none.
std::size_t content_length(std::string_view head) {
  constexpr std::string_view name = "\r\ncontent-length:";
  const auto found =
      std::search(head.begin(), head.end(), name.begin(), name.end(), [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
  if (found == head.end()) return 0;
  auto at = head.data() + (found - head.begin()) + name.size();
  while (at != head.data() + head.size() && *at == ' ') ++at;
  std::size_t x = 0;
  std::from_chars(at, head.data() + head.size(), x);
  return x;
}

}  // namespace

http_publishers::http_publishers(http_options options, histogram& latency)
    : options_(std::move(options)),
      latency_(latency),
      publishers_(options_.publishers),
      sent_(options_.users),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(options_.port);
  ::inet_pton(AF_INET, options_.host.c_str(), &to.sin_addr);
  for (std::size_t i = 0; i < publishers_.size(); ++i) {
    auto& x = publishers_[i];
    x.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(x.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) throw std::system_error(errno, std::generic_category(), "connect");
    const int on = 1;
    ::setsockopt(x.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.u32 = static_cast<std::uint32_t>(i);
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, x.fd, &interest);
    ++open_;
  }
  for (std::size_t i = 0; i < publishers_.size(); ++i) request(i);
}

http_publishers::~http_publishers() {
  for (auto& x : publishers_)
    if (x.fd >= 0) ::close(x.fd);
  ::close(epoll_);
}

void http_publishers::serve(std::int64_t nanoseconds) {
  for (const auto end = now_ns() + nanoseconds; !done() && now_ns() < end;)
    turn(static_cast<int>(std::clamp<std::int64_t>((end - now_ns()) / 1'000'000, 1, 100)));
}

void http_publishers::finish() {
  ending_ = true;
  serve(10'000'000'000);
}

void http_publishers::measure(std::int64_t from_ns, std::int64_t to_ns) {
  from_ns_ = from_ns;
  to_ns_ = to_ns;
}

void http_publishers::turn(int timeout_ms) {
  std::array<epoll_event, 128> events;
  const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < ready; ++i) readable(events[static_cast<std::size_t>(i)].data.u32);
}

std::size_t http_publishers::next_user(std::size_t index) {
  const auto publishers = publishers_.size(), mine = (options_.users - index + publishers - 1) / publishers;
  if (options_.in_turn) return index + publishers * (publishers_[index].next_user++ % mine);
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return index + publishers * (random_ % mine);
}

void http_publishers::append_event(std::size_t index, std::int64_t now) {
  const auto user = next_user(index);
  body_ += R"({"specversion":"1.0","id":")" + std::to_string(options_.run) + "-" + std::to_string(counts_.sent) +
           R"(","source":"/bench","type":"bench.tick","touser":"b)" + std::to_string(options_.first_user + user) +
           R"(","datacontenttype":"application/json","data":)";
  const auto data = body_.size();
  body_ += R"({"run":)" + std::to_string(options_.run) + ",\"t\":" + std::to_string(now) + ",\"n\":" + std::to_string(++sent_[user]) + ",\"pad\":\"";
  const auto length = body_.size() - data + 2;
  body_.append(options_.payload_bytes > length ? options_.payload_bytes - length : 0, 'x');
  body_ += "\"}}";
  ++counts_.sent;
}

void http_publishers::request(std::size_t index) {
  auto& x = publishers_[index];
  if (x.fd < 0 || ending_ || (options_.events != 0 && counts_.sent >= options_.events)) return;
  x.in_request = options_.events == 0 ? options_.batch : std::min<std::uint64_t>(options_.batch, options_.events - counts_.sent);
  x.sent_ns = now_ns();
  body_.clear();
  if (options_.batch > 1) body_ += '[';
  for (std::size_t i = 0; i < x.in_request; ++i) {
    if (i != 0) body_ += ',';
    append_event(index, x.sent_ns);
  }
  if (options_.batch > 1) body_ += ']';
  x.out = "POST /v1/events HTTP/1.1\r\nHost: " + options_.host + "\r\nAuthorization: Bearer " + options_.api_key +
          "\r\nContent-Type: application/cloudevents" + (options_.batch > 1 ? "-batch" : "") +
          "+json\r\nContent-Length: " + std::to_string(body_.size()) + "\r\n\r\n" + body_;
  ++under_way_;
  flush(x);
}

/// Requests are small beside a socket's buffer, so the rare rest is waited for.
void http_publishers::flush(publisher& x) {
  for (std::size_t done = 0; done < x.out.size();) {
    const ssize_t sent = ::send(x.fd, x.out.data() + done, x.out.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return close(x, std::string("send: ") + std::strerror(errno));
    done += static_cast<std::size_t>(sent);
  }
}

void http_publishers::readable(std::size_t index) {
  auto& x = publishers_[index];
  if (x.fd < 0) return;
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv(x.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close(x, got == 0 ? "the server closed the connection" : std::string("receive: ") + std::strerror(errno));
  x.in.append(buffer.data(), static_cast<std::size_t>(got));
  const auto head = x.in.find(end_of_head);
  if (head == std::string::npos || x.in.size() < head + end_of_head.size() + content_length(std::string_view(x.in).substr(0, head))) return;
  --under_way_;
  ++counts_.answers;
  if (x.in.starts_with("HTTP/1.1 202")) {
    counts_.accepted += x.in_request;
    if (x.sent_ns >= from_ns_ && x.sent_ns < to_ns_) latency_.add((now_ns() - x.sent_ns) / 1000);
  } else {
    ++counts_.complaints[x.in.substr(0, x.in.find('\r'))];
  }
  x.in.clear();
  request(index);
}

void http_publishers::close(publisher& x, const std::string& complaint) {
  ++counts_.complaints[complaint];
  --open_;
  --under_way_;
  ::close(x.fd);
  x.fd = -1;
}

}  // namespace bench
