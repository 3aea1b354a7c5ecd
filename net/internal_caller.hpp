// SPDX-License-Identifier: Apache-2.0
// Who asks at the internal port, by certificate or API key. Internal to net/. Pure but for reading what is trusted.
#pragma once

#include "net/http_api.hpp"
#include "runtime/api_key.hpp"

#include <optional>
#include <string>

namespace doorstep {

/// What the connection says; the request's key comes on top.
struct connection_facts {
  std::string common_name;  ///< of a certificate that the handshake verified; empty = none
  std::string remote;
};

/// The certificate's place where it has one, else the key's. Nothing where neither is ours.
std::optional<api_key> caller_of(const site& at, const http_request& head, const connection_facts& facts);

/// Has `done` write the line of the audit: who did what, and what came of it.
http_reply audited(const char* action, const api_key& who, const connection_facts& facts, const std::string& about, http_reply done);

}  // namespace doorstep
