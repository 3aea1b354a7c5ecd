// SPDX-License-Identifier: Apache-2.0
// doorstep.v1 as bytes (docs/protocol.md): text frames of JSON objects, one a line. Pure functions, any thread.
// Decoding builds a small document on the stack; encoding only appends to a string, since it runs once a message.
#pragma once

#include "net/protocol.hpp"
#include "runtime/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// What one text frame asked for. A request with a bad member does not cost the session: it is in `refused` and is answered with an error.
struct decoded_frame {
  std::vector<client::command> commands;
  std::vector<server::error> refused;
};

namespace native_limits {
inline constexpr std::size_t objects_max = 1000;  ///< of a frame
inline constexpr std::size_t entries_max = 1000;  ///< ids or addresses of a request
inline constexpr std::size_t depth_max = 16;
inline constexpr std::size_t device_bytes_max = 128, message_id_bytes_max = 128, reason_bytes_max = 1024;
inline constexpr std::size_t seqs_max = 100;  ///< single messages of one inbox request: each is looked up in the store
inline constexpr std::uint64_t retry_in_ms_max = 24 * 3600 * 1000;
}  // namespace native_limits

/// @returns ec::malformed or ec::too_large when the frame as a whole is not of the protocol: that ends the connection.
result<decoded_frame> decode_frame(std::string_view text);

/// Each appends one object, after a line break where `out` holds something already.
void append_event(std::string& out, const server::event& what);
void append_push(std::string& out, const server::push& what);
void append_disconnect(std::string& out, close_code code, std::string_view reason, milliseconds delay);

/// A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD: one bad byte would make the client drop the frame, for ever.
void append_quoted(std::string& out, std::string_view text);

}  // namespace doorstep
