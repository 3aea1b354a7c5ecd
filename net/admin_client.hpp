// SPDX-License-Identifier: Apache-2.0
// The command line's way to a running server: one request to its internal port. Blocks; not for the server itself.
#pragma once

#include "runtime/error.hpp"

#include <string>

namespace doorstep {

/// Where it is and what is shown to it.
struct server_address {
  std::string url;  ///< "http://host:port" or "https://host:port"
  std::string api_key;
  std::string ca_file;                       ///< empty = the system's
  std::string certificate, certificate_key;  ///< ours, PEM files
};

struct admin_answer {
  unsigned status = 0;
  std::string body;
};

/// A body makes it a POST. @returns ec::unavailable where nobody answers within ten seconds.
result<admin_answer> ask_server(const server_address& where, const std::string& target, const std::string& body = {});

/// Percent-encodes one segment of a path or one value of a query.
std::string url_encoded(const std::string& text);

}  // namespace doorstep
