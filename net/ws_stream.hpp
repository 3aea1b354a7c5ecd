// SPDX-License-Identifier: Apache-2.0
// A ws_session's frames over Beast: on a plain socket, or on one that speaks TLS. Two types, so that a plain connection pays for no TLS.
#pragma once

#include "net/tls.hpp"
#include "net/ws_session.hpp"

#include <memory>

namespace doorstep {

std::shared_ptr<ws_session> make_ws_session(std::shared_ptr<site> of, desk& here, tcp_socket socket, connection_slot slot, credentials shown);
std::shared_ptr<ws_session> make_ws_session(std::shared_ptr<site> of, desk& here, tls_socket socket, connection_slot slot, credentials shown);

}  // namespace doorstep
