// SPDX-License-Identifier: Apache-2.0
// Tokens are checked from the outside in: size, shape, algorithm, signature, and only then what the claims say.
#include "net/auth.hpp"

#include "net/claims.hpp"
#include "net/jwk.hpp"
#include "net/native_codec.hpp"
#include "runtime/digest.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace doorstep {
namespace {

namespace json = boost::json;

failure refused(std::string why) { return {ec::unauthorized, std::move(why), {}}; }

/// One base64url part that must be a JSON object.
std::optional<json::value> object_part(std::string_view part, json::storage_ptr memory) {
  const auto text = base64url_decode(part);
  if (!text) return {};
  json::parse_options options;
  options.max_depth = 8;
  boost::system::error_code error;
  auto value = json::parse(*text, error, std::move(memory), options);
  if (error || !value.is_object()) return {};
  return value;
}

/// RFC 8725, 3.11: a token for another purpose is none. Absent is fine, and so is an access token's (RFC 9068).
bool is_token_type(json::string_view type) {
  std::string lower(type.data(), type.size());
  for (auto& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return lower == "jwt" || lower == "at+jwt" || lower == "application/jwt" || lower == "application/at+jwt";
}

}  // namespace

result<token_verifier> token_verifier::open(const auth_config& settings) {
  token_verifier made;
  made.settings_ = settings;
  for (const auto& x : settings.algorithms)
    if (const auto algorithm = algorithm_named(x)) made.allowed_.push_back(*algorithm);
  if (!settings.hs256_secret.empty()) made.keys_.push_back(token_key::secret(settings.hs256_secret));
  for (const auto& text : settings.keys) {
    auto keys = read_configured_keys(text);
    if (!keys) return failure{ec::bad_config, "auth.keys or auth.key_files: " + keys.error().detail, {}};
    made.keys_.insert(made.keys_.end(), keys->begin(), keys->end());
  }
  return made;
}

/// What the header says, which is only ever a choice among what is allowed.
result<token_algorithm> token_verifier::algorithm_of(std::string_view part, std::string& key_id) const {
  unsigned char buffer[2048];
  json::monotonic_resource memory(buffer, sizeof buffer);
  const auto value = object_part(part, &memory);
  if (!value) return refused("the token's header is not a JSON object in base64url");
  const auto& head = value->get_object();
  const auto* named = head.if_contains("alg");
  const auto algorithm = named && named->is_string() ? algorithm_named({named->get_string().data(), named->get_string().size()}) : std::nullopt;
  if (!algorithm || std::find(allowed_.begin(), allowed_.end(), *algorithm) == allowed_.end())
    return refused("the token's algorithm is not one of auth.algorithms");
  if (head.contains("crit")) return refused("the token has critical header parameters");
  if (const auto* type = head.if_contains("typ"); type && (!type->is_string() || !is_token_type(type->get_string())))
    return refused("the token's typ is not JWT");
  if (const auto* id = head.if_contains("kid")) {
    if (!id->is_string()) return refused("the token's kid is not text");
    key_id.assign(id->get_string().data(), id->get_string().size());
  }
  return *algorithm;
}

result<identity> token_verifier::verify(std::string_view token, unix_ms now, const key_set* fetched) const {
  if (token.size() > token_bytes_max) return refused("the token is over 8 KiB");
  const auto first = token.find('.');
  const auto second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return refused("the token is not three parts with dots between them");
  std::string key_id;
  const auto algorithm = algorithm_of(token.substr(0, first), key_id);
  if (!algorithm) return algorithm.error();
  const auto signature = base64url_decode(token.substr(second + 1));
  if (!signature) return refused("the token's signature is not base64url");

  bool good = false, key_was_there = false;
  const auto try_keys = [&](const key_set& keys) {
    for (const auto& key : keys) {
      if (good || key.kind() != kind_of(*algorithm) || (key.only && *key.only != *algorithm)) continue;
      if (!key.id.empty() && !key_id.empty() && key.id != key_id) continue;
      key_was_there |= key_id.empty() || key.id == key_id;
      good = key.verifies(*algorithm, token.substr(0, second), *signature);
    }
  };
  try_keys(keys_);
  if (fetched != nullptr) try_keys(*fetched);
  if (!good && !key_was_there && kind_of(*algorithm) != key_kind::secret) return failure{ec::unavailable, "the token's key is not known", {}};
  if (!good) return refused("the token's signature is not ours");

  unsigned char buffer[4096];
  json::monotonic_resource memory(buffer, sizeof buffer);
  const auto claims = object_part(token.substr(first + 1, second - first - 1), &memory);
  if (!claims) return refused("the token's claims are not a JSON object in base64url");
  return read_claims(*claims, settings_, now);
}

std::string token_verifier::make_token(std::string_view user, std::chrono::seconds ttl, unix_ms now, std::string_view more) const {
  std::string claims = "{";
  append_quoted(claims, settings_.user_claim);
  claims += ':';
  append_quoted(claims, user);
  const auto issued = now.value / 1000;
  claims += ",\"iat\":" + std::to_string(issued) + ",\"exp\":" + std::to_string(issued + ttl.count());
  if (!more.empty()) claims += ',' + std::string(more);
  const auto text = base64url(R"({"alg":"HS256","typ":"JWT"})") + '.' + base64url(claims + '}');
  const auto signature = hmac_sha256(settings_.hs256_secret, text);
  return text + '.' + base64url({reinterpret_cast<const char*>(signature.data()), signature.size()});
}

key_ring key_ring::open(const internal_config& settings) {
  key_ring made;
  for (const auto& line : settings.api_keys)
    if (auto key = parse_api_key(line)) made.keys_.push_back(std::move(*key));
  for (const auto& line : settings.tls_clients) {
    const auto blank = line.find(' ');
    if (const auto scopes = parse_key_scopes(line.substr(0, blank)); scopes && blank != line.npos)
      made.certificates_.push_back({line.substr(blank + 1), *scopes, {}});
  }
  return made;
}

const api_key* key_ring::find(std::string_view key) const {
  // All keys are compared, and through a hash, so that neither the place nor the length of a match shows in the time.
  const auto given = sha256(key);
  const std::string_view a(reinterpret_cast<const char*>(given.data()), given.size());
  const api_key* found = nullptr;
  for (const auto& one : keys_)
    if (equal_in_constant_time(a, {reinterpret_cast<const char*>(one.hash.data()), one.hash.size()})) found = &one;
  return key.empty() ? nullptr : found;
}

const api_key* key_ring::find_certificate(std::string_view common_name) const {
  const auto found = std::find_if(certificates_.begin(), certificates_.end(), [&](const api_key& x) { return x.name == common_name; });
  return found == certificates_.end() ? nullptr : &*found;
}

std::string_view bearer_of(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size()) return {};
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != scheme[i]) return {};
  }
  auto credentials = authorization.substr(scheme.size());
  while (!credentials.empty() && credentials.back() == ' ') credentials.remove_suffix(1);
  while (!credentials.empty() && credentials.front() == ' ') credentials.remove_prefix(1);
  return credentials;
}

}  // namespace doorstep
