// SPDX-License-Identifier: Apache-2.0
// Who is there: JSON Web Tokens (RFC 7519) at the public door, API keys at the internal one. Immutable once opened, any thread.
// A token or a key never appears in a failure's text.
#pragma once

#include "net/connection.hpp"
#include "net/token_key.hpp"
#include "runtime/api_key.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

class token_verifier {
public:
  static constexpr std::size_t token_bytes_max = 8 * 1024;

  /// load_config() has put the contents of auth.hs256_secret_file into hs256_secret, those of auth.key_files into keys.
  /// @returns ec::bad_config for a key that cannot be used.
  static result<token_verifier> open(const auth_config& settings);

  /// @param fetched keys that were published beside those configured, or null.
  /// @returns ec::unauthorized with the reason, or ec::unavailable: it is signed by a public key that is not among the known ones.
  result<identity> verify(std::string_view token, unix_ms now, const key_set* fetched = nullptr) const;
  /// A token for tests and `gen-token`: the user claim, iat and exp, and `more` members of claims ("\"roles\":[\"admin\"]").
  std::string make_token(std::string_view user, std::chrono::seconds ttl, unix_ms now, std::string_view more = {}) const;
  /// The last moment at which verify() takes a token that expires then.
  unix_ms end_of(std::int64_t expires_at) const { return {expires_at * 1000 + settings_.leeway.count()}; }
  bool has_secret() const { return !settings_.hs256_secret.empty(); }

private:
  result<token_algorithm> algorithm_of(std::string_view head, std::string& key_id) const;

  auth_config settings_;
  key_set keys_;
  std::vector<token_algorithm> allowed_;
};

/// The keys of the internal port.
class key_ring {
public:
  /// load_config() has put the lines of internal.api_keys_file into api_keys and checked all. Others are left out.
  static key_ring open(const internal_config& settings);
  /// Whose key it is, or null. Takes the same time for every key that is not there.
  const api_key* find(std::string_view key) const;
  /// Whom a client certificate with this common name stands for, or null.
  const api_key* find_certificate(std::string_view common_name) const;
  bool empty() const { return keys_.empty() && certificates_.empty(); }

private:
  std::vector<api_key> keys_, certificates_;
};

/// The credentials of `Authorization: Bearer <them>`; empty for any other scheme.
std::string_view bearer_of(std::string_view authorization);

}  // namespace doorstep
