// SPDX-License-Identifier: Apache-2.0
// A key that tokens are checked with (RFC 7518), and the one place where OpenSSL checks a signature. A key belongs to one kind of algorithm for good: what the
// token's header says never turns a public key into a secret. Immutable, any thread.
#pragma once

#include "runtime/error.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

enum class token_algorithm : std::uint8_t { hs256, hs384, hs512, rs256, es256, eddsa };
/// By its JOSE name; none for "none" and whatever else is not offered.
std::optional<token_algorithm> algorithm_named(std::string_view name);

enum class key_kind : std::uint8_t { secret, rsa, p256, ed25519 };
key_kind kind_of(token_algorithm x);

class token_key {
public:
  std::string id;                       ///< `kid`; empty = it has none
  std::optional<token_algorithm> only;  ///< `alg` of a JWK

  key_kind kind() const { return kind_; }
  /// False for an algorithm of another kind, and for a secret that is shorter than the hash (RFC 7518, 3.2).
  bool verifies(token_algorithm by, std::string_view text, std::string_view signature) const;

  static token_key secret(std::string bytes);
  /// Big-endian numbers. @returns ec::bad_config for a modulus of less than 2048 or more than 8192 bits, or an exponent that is even or 1.
  static result<token_key> rsa(std::string_view modulus, std::string_view exponent);
  static result<token_key> p256(std::string_view x, std::string_view y);
  static result<token_key> ed25519(std::string_view x);
  /// Every public key and certificate of a PEM text. @returns ec::bad_config for anything else in it, a private key above all.
  static result<std::vector<token_key>> from_pem(const std::string& text);

private:
  key_kind kind_ = key_kind::secret;
  std::string secret_;
  std::shared_ptr<void> public_;  ///< an EVP_PKEY
};

using key_set = std::vector<token_key>;

}  // namespace doorstep
