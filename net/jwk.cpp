// SPDX-License-Identifier: Apache-2.0
#include "net/jwk.hpp"

#include "runtime/digest.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace doorstep {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& jwk, std::string_view name) {
  const auto* found = jwk.if_contains({name.data(), name.size()});
  const auto* text = found != nullptr ? found->if_string() : nullptr;
  return text != nullptr ? std::string(text->data(), text->size()) : std::string();
}

std::string bytes_of(const json::object& jwk, std::string_view name) { return base64url_decode(text_of(jwk, name)).value_or(""); }

result<token_key> material_of(const json::object& jwk, bool may_be_secret) {
  const auto kind = text_of(jwk, "kty"), curve = text_of(jwk, "crv");
  if (kind == "RSA") return token_key::rsa(bytes_of(jwk, "n"), bytes_of(jwk, "e"));
  if (kind == "EC" && curve == "P-256") return token_key::p256(bytes_of(jwk, "x"), bytes_of(jwk, "y"));
  if (kind == "OKP" && curve == "Ed25519") return token_key::ed25519(bytes_of(jwk, "x"));
  if (kind != "oct" || !may_be_secret) return failure{ec::bad_config, "a JWK must be RSA, EC with P-256, OKP with Ed25519, or oct", {}};
  // Decoded twice: kept in a variable, GCC 12 believes that its bytes may be moved past their end.
  if (bytes_of(jwk, "k").size() < 32) return failure{ec::bad_config, "a secret in a JWK is shorter than 32 bytes", {}};
  return token_key::secret(bytes_of(jwk, "k"));
}

result<token_key> key_of(const json::object& jwk, bool may_be_secret) {
  const auto use = text_of(jwk, "use");
  if (!use.empty() && use != "sig") return failure{ec::bad_config, "a JWK is not for signatures", {}};
  if (jwk.contains("d")) return failure{ec::bad_config, "a JWK is a private key: only its public half is needed", {}};
  auto made = material_of(jwk, may_be_secret);
  if (!made) return made;
  made->id = text_of(jwk, "kid");
  if (const auto named = text_of(jwk, "alg"); !named.empty()) {
    made->only = algorithm_named(named);
    if (!made->only || kind_of(*made->only) != made->kind()) return failure{ec::bad_config, "a JWK's alg does not fit it or is not offered", {}};
  }
  return made;
}

/// The keys of a set, or the one key as it stands.
result<json::array> jwks_of(const std::string& text) {
  json::parse_options options;
  options.max_depth = 8;
  boost::system::error_code error;
  const auto value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) return failure{ec::malformed, "neither PEM nor a JSON object", {}};
  const auto* keys = value.get_object().if_contains("keys");
  if (keys == nullptr)
    return value.get_object().contains("kty") ? json::array{value} : result<json::array>(failure{ec::malformed, "no JWK set: it has no keys", {}});
  if (!keys->is_array()) return failure{ec::malformed, "no JWK set: its keys are no list", {}};
  return keys->get_array();
}

}  // namespace

result<key_set> read_configured_keys(const std::string& text) {
  if (text.find("-----BEGIN") != text.npos) return token_key::from_pem(text);
  const auto jwks = jwks_of(text);
  if (!jwks) return failure{ec::bad_config, jwks.error().detail, {}};
  if (jwks->empty() || jwks->size() > keys_max) return failure{ec::bad_config, "a JWK set must have 1 to " + std::to_string(keys_max) + " keys", {}};
  key_set all;
  for (const auto& x : *jwks) {
    if (!x.is_object()) return failure{ec::bad_config, "a JWK is not an object", {}};
    auto key = key_of(x.get_object(), true);
    if (!key) return key.error();
    all.push_back(std::move(*key));
  }
  return all;
}

result<key_set> read_published_keys(const std::string& text) {
  const auto jwks = jwks_of(text);
  if (!jwks) return jwks.error();
  key_set all;
  for (const auto& x : *jwks) {
    if (!x.is_object() || all.size() == keys_max) continue;
    if (auto key = key_of(x.get_object(), false)) all.push_back(std::move(*key));
  }
  if (all.empty()) return failure{ec::malformed, "the JWK set has no key that can be used", {}};
  return all;
}

}  // namespace doorstep
