// SPDX-License-Identifier: Apache-2.0
// What an operator does to a running server, on the internal port. Internal to net/. Any thread.
#pragma once

#include "net/http_api.hpp"

namespace doorstep {

void reload(site& at, const http_request& request, http_reply done);              ///< POST /v1/admin/reload
void disconnect_clients(site& at, const http_request& request, http_reply done);  ///< POST /v1/admin/disconnect

}  // namespace doorstep
