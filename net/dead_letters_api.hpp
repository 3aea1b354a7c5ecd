// SPDX-License-Identifier: Apache-2.0
// Dead letters over HTTP, on the internal port: what a query or a body asks for, and what is wrong with it. Internal to net/. Any thread.
#pragma once

#include "net/http_api.hpp"

namespace doorstep {

void list_dead_letters(site& at, const http_request& request, http_reply done);     ///< GET /v1/dead-letters
void show_dead_letter(site& at, const http_request& request, http_reply done);      ///< GET /v1/dead-letters/<id>
void requeue_dead_letters(site& at, const http_request& request, http_reply done);  ///< POST /v1/dead-letters/requeue
void purge_dead_letters(site& at, const http_request& request, http_reply done);    ///< POST /v1/dead-letters/purge

}  // namespace doorstep
