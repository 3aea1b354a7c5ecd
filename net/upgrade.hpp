// SPDX-License-Identifier: Apache-2.0
// What an HTTP request must be to become a doorstep.v1 connection, and who its token says is there. Pure but for the site's counters.
#pragma once

#include "net/admission.hpp"
#include "net/http_api.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

struct site;

/// The answer in place of the upgrade: drained or full (503), too many of one address (429), a foreign Origin (403), another subprotocol, or bytes before the upgrade was accepted (400).
std::optional<http_answer> refuse_upgrade(const site& at, const http_request& request, bool has_extra_bytes, bool is_one_too_many);

/// The first of: a ticket in the query, the Authorization header, the subprotocol `doorstep.token.<jwt>`, the cookie. A token is judged where nobody has to be
/// waited for, so that the user's lane is known. A ticket is used up.
credentials credentials_of(site& at, const http_request& request);

/// @param allowed http.origins; none at all means "same-host".
bool is_origin_allowed(const std::vector<std::string>& allowed, std::string_view origin, std::string_view host);

}  // namespace doorstep
