// SPDX-License-Identifier: Apache-2.0
// SHA-256, HMAC and base64url, so that OpenSSL is met in one file. Pure, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

using sha256_digest = std::array<std::uint8_t, 32>;
sha256_digest sha256(std::string_view bytes);
sha256_digest hmac_sha256(std::string_view key, std::string_view bytes);
/// RFC 4648 section 5, no padding.
std::string base64url(std::string_view bytes);
std::optional<std::string> base64url_decode(std::string_view text);
std::string base64(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);
/// Takes the same time wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);
std::string random_bytes(std::size_t count);

}  // namespace doorstep
