// SPDX-License-Identifier: Apache-2.0
// Tokens are checked from the outside in: size, shape, algorithm, signature, and only then what the claims say.
#include "net/auth.hpp"

#include "net/claims.hpp"
#include "net/native_codec.hpp"
#include "runtime/digest.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

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

}  // namespace

token_verifier token_verifier::open(const auth_config& settings) {
  token_verifier made;
  made.settings_ = settings;
  return made;
}

result<identity> token_verifier::verify(std::string_view token, unix_ms now) const {
  if (settings_.hs256_secret.empty()) return refused("no secret is configured");
  if (token.size() > token_bytes_max) return refused("the token is over 8 KiB");
  const auto first = token.find('.');
  const auto second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return refused("the token is not three parts with dots between them");

  unsigned char buffer[4096];
  json::monotonic_resource memory(buffer, sizeof buffer);
  const auto head = object_part(token.substr(0, first), &memory);
  if (!head) return refused("the token's header is not a JSON object in base64url");
  const auto* algorithm = head->get_object().if_contains("alg");
  if (!algorithm || !algorithm->is_string() || algorithm->get_string() != "HS256") return refused("the token's algorithm is not HS256");
  if (head->get_object().contains("crit")) return refused("the token has critical header parameters");

  const auto given = base64url_decode(token.substr(second + 1));
  const auto right = hmac_sha256(settings_.hs256_secret, token.substr(0, second));
  if (!given || !equal_in_constant_time(*given, {reinterpret_cast<const char*>(right.data()), right.size()}))
    return refused("the token's signature is not ours");

  const auto body = object_part(token.substr(first + 1, second - first - 1), &memory);
  if (!body) return refused("the token's claims are not a JSON object in base64url");
  return read_claims(*body, settings_, now);
}

std::string token_verifier::make_token(std::string_view user, std::chrono::seconds ttl, unix_ms now) const {
  std::string claims = "{";
  append_quoted(claims, settings_.user_claim);
  claims += ':';
  append_quoted(claims, user);
  const auto issued = now.value / 1000;
  claims += ",\"iat\":" + std::to_string(issued) + ",\"exp\":" + std::to_string(issued + ttl.count()) + '}';
  const auto text = base64url(R"({"alg":"HS256","typ":"JWT"})") + '.' + base64url(claims);
  const auto signature = hmac_sha256(settings_.hs256_secret, text);
  return text + '.' + base64url({reinterpret_cast<const char*>(signature.data()), signature.size()});
}

key_ring key_ring::open(const internal_config& settings) {
  key_ring made;
  for (const auto& key : settings.api_keys)
    if (!key.empty()) made.keys_.push_back(key);
  return made;
}

bool key_ring::contains(std::string_view key) const {
  // All keys are compared, and through a hash, so that neither the place nor the length of a match shows in the time.
  const auto given = sha256(key);
  const std::string_view a(reinterpret_cast<const char*>(given.data()), given.size());
  bool found = false;
  for (const auto& one : keys_) {
    const auto digest = sha256(one);
    found |= equal_in_constant_time(a, {reinterpret_cast<const char*>(digest.data()), digest.size()});
  }
  return found && !key.empty();
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
