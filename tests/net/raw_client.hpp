// SPDX-License-Identifier: Apache-2.0
// A client of plain blocking sockets that shares no code with the server: what it reads was on the wire. Every read ends after ten seconds.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace doorstep::testing_net {

struct http_response {
  int status = 0;
  std::string head, body;
  bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

class raw_client {
public:
  explicit raw_client(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("cannot connect");
  }
  ~raw_client() { ::close(fd_); }
  raw_client(const raw_client&) = delete;
  raw_client& operator=(const raw_client&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) throw std::runtime_error("the server does not read any more");
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  /// @returns false at the end of the stream; throws when nothing comes.
  bool fill() {
    char bytes[16384];
    const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n < 0) throw std::runtime_error(errno == ECONNRESET ? "reset" : "nothing came");
    have_.append(bytes, static_cast<std::size_t>(n));
    return n > 0;
  }
  std::string take(std::size_t count) {
    while (have_.size() < count)
      if (!fill()) throw std::runtime_error("the stream ended");
    auto taken = have_.substr(0, count);
    have_.erase(0, count);
    return taken;
  }
  /// Reads the end of the stream, and ends its own half.
  bool at_end() {
    if (!have_.empty() || fill()) return false;
    ::shutdown(fd_, SHUT_WR);
    return true;
  }
  http_response read_response(bool is_head = false) {
    while (have_.find("\r\n\r\n") == std::string::npos)
      if (!fill()) throw std::runtime_error("the stream ended");
    http_response x;
    x.head = take(have_.find("\r\n\r\n") + 4);
    x.status = std::atoi(x.head.c_str() + 9);
    const auto length = x.head.find("Content-Length: ");
    if (length != std::string::npos && !is_head) x.body = take(static_cast<std::size_t>(std::atoi(x.head.c_str() + length + 16)));
    return x;
  }

private:
  int fd_;
  std::string have_;
};

/// One frame of the server's (RFC 6455, never masked, never in pieces here).
struct frame {
  int opcode = 0;
  std::string text;
  int close_code() const { return text.size() < 2 ? 0 : static_cast<unsigned char>(text[0]) * 256 + static_cast<unsigned char>(text[1]); }
};

class ws_client : public raw_client {
public:
  explicit ws_client(std::uint16_t port, const std::string& headers = "", int receive_buffer = 0) : raw_client(port, receive_buffer) {
    write("GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
          "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + headers +
          "\r\n");
    answer = read_response();
  }
  void send_frame(int opcode, std::string_view payload) {
    std::string out(1, static_cast<char>(0x80 | opcode));
    if (payload.size() < 126) {
      out += static_cast<char>(0x80 | payload.size());
    } else {
      out += static_cast<char>(0x80 | (payload.size() < 65536 ? 126 : 127));
      for (int shift = payload.size() < 65536 ? 8 : 56; shift >= 0; shift -= 8) out += static_cast<char>((payload.size() >> shift) & 255);
    }
    const char mask[] = {1, 2, 3, 4};
    out.append(mask, 4);
    for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
    write(out);
  }
  void say(std::string_view text) { send_frame(1, text); }
  frame hear() {
    frame x;
    const auto head = take(2);
    x.opcode = head[0] & 15;
    std::size_t length = static_cast<unsigned char>(head[1]);
    if (length >= 126) {
      const auto longer = take(length == 126 ? 2 : 8);
      length = 0;
      for (const char c : longer) length = length * 256 + static_cast<unsigned char>(c);
    }
    x.text = take(length);
    return x;
  }
  /// Reads on to the close frame, answers it, and reads the end of the stream. @returns "code: last text frame".
  std::string hear_close() {
    std::string last;
    for (;;) {
      const auto x = hear();
      if (x.opcode == 1) last = x.text;
      if (x.opcode != 8) continue;
      send_frame(8, x.text.substr(0, 2));
      if (!at_end()) last += " AND MORE";
      return std::to_string(x.close_code()) + ": " + last;
    }
  }
  http_response answer;
};

}  // namespace doorstep::testing_net
