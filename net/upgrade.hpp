// SPDX-License-Identifier: Apache-2.0
// What an HTTP request must be to become a doorstep.v1 connection, and who its token says is there. Pure but for the site's counters.
#pragma once

#include "net/connection.hpp"
#include "net/http_api.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

struct site;

/// What was known of the client when its upgrade request came.
struct upgrade_credentials {
  bool given = false;           ///< a token came with the request
  std::optional<identity> who;  ///< and it is good
  std::string refusal;          ///< or why it is not
};

/// The answer in place of the upgrade: drained or full (503), a foreign Origin (403), another subprotocol, or bytes before the upgrade was accepted (400).
std::optional<http_answer> refuse_upgrade(const site& at, const http_request& request, bool has_extra_bytes);

/// The first of the Authorization header and the subprotocol `doorstep.token.<jwt>`.
upgrade_credentials credentials_of(const site& at, const http_request& request);

/// @param allowed http.origins; none at all means "same-host".
bool is_origin_allowed(const std::vector<std::string>& allowed, std::string_view origin, std::string_view host);

}  // namespace doorstep
