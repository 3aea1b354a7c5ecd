// SPDX-License-Identifier: Apache-2.0
// Where a server listens, as the tools are told it.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

struct endpoint {
  std::string host;
  std::uint16_t port;
};

/// @param text host:port @throws std::invalid_argument where the port is no number
inline endpoint endpoint_of(const std::string& text) {
  const auto colon = text.rfind(':');
  return {text.substr(0, colon), static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
}

}  // namespace bench
