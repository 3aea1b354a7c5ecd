// SPDX-License-Identifier: Apache-2.0
// Certificates as contexts for both ports, and the stream on top of a socket. Plain connections have none of it. Internal to net/.
#pragma once

#include "net/http_api.hpp"
#include "runtime/error.hpp"

#include <boost/asio/ssl/context.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <memory>
#include <string>

namespace doorstep {

using tls_context = boost::asio::ssl::context;
using tls_socket = boost::beast::ssl_stream<tcp_socket>;

/// TLS 1.2 and 1.3, with the cipher suites that OpenSSL has on by default at its security level.
/// @param client_ca empty, or a PEM file: whoever has no certificate of one of these is not let in.
/// @returns ec::bad_config that names the file.
result<std::shared_ptr<tls_context>> open_tls(const std::string& certificate, const std::string& key, const std::string& client_ca);

/// The common name of the client's certificate, which the handshake has verified; empty where there is none.
std::string common_name_of(tls_socket& stream);

}  // namespace doorstep
