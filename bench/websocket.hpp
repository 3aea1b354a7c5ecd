// SPDX-License-Identifier: Apache-2.0
// RFC 6455 as far as the bench needs it, for both ends: frames without extensions, the handshake's headers, and a token to come in with.
// Pure, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct frame {
  opcode kind;
  bool last;                 ///< FIN
  std::string_view payload;  ///< unmasked, inside the bytes that were parsed
  std::size_t size;          ///< bytes of the whole frame
};

/// The first frame of these bytes, unmasked in place; nothing while it is not complete.
std::optional<frame> parse_frame(char* bytes, std::size_t size);

inline constexpr std::size_t server_header_bytes_max = 10;
/// Writes the header of an unmasked frame so that it ends at `end`. @returns where it begins.
char* write_server_header(char* end, opcode kind, std::size_t payload_bytes);

/// Appends a masked frame.
void append_client_frame(std::string& out, opcode kind, std::string_view payload, std::uint32_t mask);

/// What follows `name:` in a request or response head, trimmed; `name` in lower case. Empty where it is missing.
std::string_view header_value(std::string_view head, std::string_view name);

/// Sec-WebSocket-Accept of a Sec-WebSocket-Key.
std::string accept_key(std::string_view key);

/// A JWT signed with HS256 whose `sub` is the user. @param more claims, each behind a comma.
std::string make_token(std::string_view secret, std::string_view user, std::int64_t expires_at, std::string_view more = {});
/// The `sub` of a JWT, not verified.
std::string user_of_token(std::string_view token);

}  // namespace bench
