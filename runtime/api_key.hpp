// SPDX-License-Identifier: Apache-2.0
// A key of the internal port as it is configured: what it allows, whose it is, and its hash; the key itself is nowhere. Pure, any thread.
#pragma once

#include "runtime/digest.hpp"
#include "runtime/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// What a key allows. Admin allows everything.
enum class key_scope : std::uint8_t { publish = 1, read = 2, admin = 4 };

struct key_scopes {
  std::uint8_t bits = 0;
  bool allow(key_scope what) const { return (bits & (static_cast<unsigned>(what) | static_cast<unsigned>(key_scope::admin))) != 0; }
};

struct api_key {
  std::string name;  ///< for the audit; where none is given, the hash's beginning
  key_scopes scopes;
  sha256_digest hash{};
};

/// "publish+read"; none where a word is no scope.
std::optional<key_scopes> parse_key_scopes(std::string_view text);

/// `[scopes] key [name]`, where the key is `sha256:` and 64 hexadecimal digits, or itself, which allows everything unless scopes are said.
/// @returns ec::malformed with what is wrong, as the end of a sentence that does not repeat the key.
result<api_key> parse_api_key(std::string_view line);

/// "sha256:..." of a key.
std::string api_key_hash_text(std::string_view key);

}  // namespace doorstep
