// SPDX-License-Identifier: Apache-2.0
// POST /v1/tickets on both ports: a ticket for whom a key says, or for whom the token says. Internal to net/. Any thread.
#pragma once

#include "net/http_api.hpp"

#include <string>

namespace doorstep {

/// On the internal port. @param[out] user for whom, as far as the body could be read; for the audit.
http_answer make_ticket_for(site& at, const http_request& request, std::string& user);
/// On the public port, for whoever the bearer token says; answers the preflight of a web page too.
http_answer make_own_ticket(site& at, const http_request& request);

}  // namespace doorstep
