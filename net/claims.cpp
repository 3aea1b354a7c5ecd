// SPDX-License-Identifier: Apache-2.0
// A claim that is there and of the wrong kind refuses the token: to ignore it would give a user less, or more, than its maker meant.
#include "net/claims.hpp"

#include "runtime/address.hpp"
#include "runtime/segment_pattern.hpp"

#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

namespace doorstep {
namespace {

namespace json = boost::json;

failure refused(std::string why) { return {ec::unauthorized, std::move(why), {}}; }

/// A NumericDate (RFC 7519, section 2) in whole seconds, within the years anybody means.
std::optional<std::int64_t> date_of(const json::value& x) {
  constexpr std::int64_t last = 253'402'300'799;  // the end of the year 9999
  std::int64_t seconds = 0;
  if (const auto* whole = x.if_int64()) {
    seconds = *whole;
  } else if (const auto* real = x.if_double(); real && *real >= 0 && *real <= static_cast<double>(last)) {
    seconds = static_cast<std::int64_t>(std::floor(*real));
  } else {
    return {};
  }
  if (seconds < 0 || seconds > last) return {};
  return seconds;
}

/// By its name, or by a JSON Pointer where the option begins with "/".
const json::value* claim_at(const json::value& claims, const std::string& path) {
  if (path.empty()) return nullptr;
  if (path.front() != '/') return claims.get_object().if_contains(path);
  boost::system::error_code missing;
  return claims.find_pointer(path, missing);
}

std::optional<failure> judge_times(const json::object& claims, const auth_config& settings, unix_ms now, identity& who) {
  const auto leeway = settings.leeway.count();
  if (const auto* x = claims.if_contains("exp")) {
    who.expires_at = date_of(*x);
    if (!who.expires_at) return refused("the claim exp is not a date");
    if (now.value >= *who.expires_at * 1000 + leeway) return refused("the token has expired");
  }
  if (const auto* x = claims.if_contains("nbf")) {
    const auto from = date_of(*x);
    if (!from) return refused("the claim nbf is not a date");
    if (now.value + leeway < *from * 1000) return refused("the token is not valid yet");
  }
  return {};
}

/// One of those that are allowed, where any are named (RFC 7519, 4.1.1 and 4.1.3).
bool is_one_of(const json::value* claim, const std::vector<std::string>& allowed, bool may_be_list) {
  if (allowed.empty()) return true;
  const auto fits = [&](const json::value& x) {
    const auto* text = x.if_string();
    return text != nullptr && std::find(allowed.begin(), allowed.end(), std::string_view(text->data(), text->size())) != allowed.end();
  };
  if (claim == nullptr) return false;
  const auto* list = may_be_list ? claim->if_array() : nullptr;
  return list != nullptr ? std::any_of(list->begin(), list->end(), fits) : fits(*claim);
}

result<std::vector<std::string>> names_at(const json::value& claims, const std::string& path) {
  const auto* found = claim_at(claims, path);
  if (found == nullptr || found->is_null()) return std::vector<std::string>{};
  return names_in(*found, path);
}

}  // namespace

result<std::vector<std::string>> names_in(const json::value& claim, const std::string& what) {
  std::vector<std::string> names;
  if (const auto* text = claim.if_string()) {
    const std::string_view all(text->data(), text->size());
    for (std::size_t at = 0; at < all.size();) {
      const auto end = std::min(all.find_first_of(" ,\t", at), all.size());
      if (end > at) names.emplace_back(all.substr(at, end - at));
      at = end + 1;
    }
  } else if (const auto* list = claim.if_array()) {
    for (const auto& x : *list) {
      const auto* name = x.if_string();
      if (name == nullptr) return refused("the claim " + what + " lists something that is not text");
      if (!name->empty()) names.emplace_back(name->data(), name->size());
    }
  } else {
    return refused("the claim " + what + " is neither a list nor text");
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.size() > claim_limits::names_max) return refused("the claim " + what + " has over " + std::to_string(claim_limits::names_max) + " names");
  for (const auto& x : names)
    if (!address::user(x)) return refused("the claim " + what + " has a name that cannot be an address");  // ids of all kinds obey the same rule
  return names;
}

result<std::vector<std::string>> topics_in(const json::value& claim, const std::string& what) {
  auto names = names_in(claim, what);
  if (!names) return names;
  for (const auto& x : *names)
    if (!segment_pattern::parse(x, '.')) return refused("the claim " + what + " has a topic that is neither a name nor a pattern");
  return names;
}

result<identity> read_claims(const json::value& claims, const auth_config& settings, unix_ms now) {
  identity who;
  if (auto wrong = judge_times(claims.get_object(), settings, now, who)) return *wrong;
  if (!is_one_of(claims.get_object().if_contains("iss"), settings.issuers, false)) return refused("the token is not of one of auth.issuers");
  if (!is_one_of(claims.get_object().if_contains("aud"), settings.audiences, true)) return refused("the token is not for one of auth.audiences");
  const auto* user = claim_at(claims, settings.user_claim);
  if (!user || !user->is_string()) return refused("the token has no text claim " + settings.user_claim);
  who.user = std::string(user->get_string());
  if (auto to = address::user(who.user); !to) return refused("the claim " + settings.user_claim + " cannot be a user: " + to.error().detail);
  auto roles = names_at(claims, settings.roles_claim);
  if (!roles) return roles.error();
  auto groups = names_at(claims, settings.groups_claim);
  if (!groups) return groups.error();
  who.roles = std::move(*roles);
  who.groups = std::move(*groups);
  const auto* topics = claim_at(claims, settings.topics_claim);
  if (topics != nullptr && !topics->is_null()) {
    auto named = topics_in(*topics, settings.topics_claim);
    if (!named) return named.error();
    who.topics = std::move(*named);
  }
  return who;
}

}  // namespace doorstep
