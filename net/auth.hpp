// SPDX-License-Identifier: Apache-2.0
// Who is there: JSON Web Tokens (RFC 7519) signed with HS256 at the public door, API keys at the internal one. Immutable once opened, any thread.
// A token or a key never appears in a failure's text.
#pragma once

#include "net/connection.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

class token_verifier {
public:
  static constexpr std::size_t token_bytes_max = 8 * 1024;

  /// load_config() has put the contents of auth.hs256_secret_file into hs256_secret.
  static token_verifier open(const auth_config& settings);

  /// @returns ec::unauthorized with the reason. Without a configured secret every token is refused.
  result<identity> verify(std::string_view token, unix_ms now) const;
  /// A token for tests and `gen-token`: the user claim, iat and exp.
  std::string make_token(std::string_view user, std::chrono::seconds ttl, unix_ms now) const;
  /// The last moment at which verify() takes a token that expires then.
  unix_ms end_of(std::int64_t expires_at) const { return {expires_at * 1000 + settings_.leeway.count()}; }
  bool has_secret() const { return !settings_.hs256_secret.empty(); }

private:
  auth_config settings_;
};

class key_ring {
public:
  /// load_config() has put the lines of internal.api_keys_file into api_keys.
  static key_ring open(const internal_config& settings);
  /// Takes the same time for every key that is not there.
  bool contains(std::string_view key) const;
  bool empty() const { return keys_.empty(); }

private:
  std::vector<std::string> keys_;
};

/// The credentials of `Authorization: Bearer <them>`; empty for any other scheme.
std::string_view bearer_of(std::string_view authorization);

}  // namespace doorstep
