// SPDX-License-Identifier: Apache-2.0
// A socket on its way from one loop to another. A loop's reactor has no locks (net/loop.hpp), so a socket is registered with it, and taken from it, on its thread only.
#pragma once

#include "net/http_api.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <unistd.h>

#include <utility>

namespace doorstep {

/// Closed if it never arrives.
class travelling_socket {
public:
  /// On the thread of the loop that it leaves.
  explicit travelling_socket(tcp_socket& from) {
    boost::system::error_code ignored;  // an unconnected socket is found out by the first read
    const auto here = from.local_endpoint(ignored);
    protocol_ = here.protocol();
    handle_ = from.release(ignored);
  }
  travelling_socket(travelling_socket&& other) noexcept : protocol_(other.protocol_), handle_(std::exchange(other.handle_, -1)) {}
  travelling_socket& operator=(travelling_socket&&) = delete;
  ~travelling_socket() {
    if (handle_ >= 0) ::close(handle_);
  }

  /// On the thread of the loop that it comes to. @returns false when that loop cannot have it; then it is still this one's.
  bool arrive(tcp_socket& to) {
    boost::system::error_code error;
    to.assign(protocol_, handle_, error);
    if (error) return false;
    handle_ = -1;
    return true;
  }

private:
  boost::asio::ip::tcp protocol_ = boost::asio::ip::tcp::v4();
  int handle_ = -1;
};

}  // namespace doorstep
