// SPDX-License-Identifier: Apache-2.0
// Keys as text: PEM, a JWK, or a JWK set (RFC 7517). Pure, any thread.
#pragma once

#include "net/token_key.hpp"

#include <string>

namespace doorstep {

inline constexpr std::size_t keys_max = 64;  ///< of one text

/// What an operator configured: each key must be usable. @returns ec::bad_config with the reason, which never quotes the text.
result<key_set> read_configured_keys(const std::string& text);

/// What a server published: keys of other kinds or for other uses are passed over, secrets too, since what everybody can fetch is none.
/// @returns ec::malformed where it is no JWK set, or none of its keys is usable.
result<key_set> read_published_keys(const std::string& text);

}  // namespace doorstep
