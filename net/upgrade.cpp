// SPDX-License-Identifier: Apache-2.0
// The upgrade's conditions. Tokens are judged here and their refusal is told after the upgrade (docs/protocol.md).
#include "net/upgrade.hpp"

#include "net/site.hpp"

#include <boost/beast/core/string.hpp>

#include <algorithm>
#include <chrono>

namespace doorstep {
namespace {

namespace http = boost::beast::http;
constexpr std::string_view protocol_name = "doorstep.v1", token_prefix = "doorstep.token.";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool equal_without_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

/// All values of Sec-WebSocket-Protocol, which may stand in several headers.
std::vector<std::string_view> protocols_of(const http_request& request) {
  std::vector<std::string_view> found;
  const auto [begin, end] = request.equal_range(http::field::sec_websocket_protocol);
  for (auto it = begin; it != end; ++it) {
    std::string_view rest(it->value().data(), it->value().size());
    while (!rest.empty()) {
      auto one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
      while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) one.remove_suffix(1);
      if (!one.empty()) found.push_back(one);
    }
  }
  return found;
}

std::string_view text(const http_request& request, http::field name) {
  const auto value = request[name];
  return {value.data(), value.size()};
}

/// The query's ticket, which is base64url and needs no decoding.
std::optional<std::string> ticket_of(const http_request& request) {
  constexpr std::string_view name = "ticket=";
  const std::string_view target(request.target().data(), request.target().size());
  for (auto at = target.find('?'); at != target.npos; at = target.find('&', at + 1))
    if (target.substr(at + 1).starts_with(name))
      return std::string(target.substr(at + 1 + name.size(), target.find('&', at + 1) - at - 1 - name.size()));
  return {};
}

/// RFC 6265, 4.2.1; the first of that name.
std::string_view cookie_of(const http_request& request, std::string_view name) {
  auto rest = text(request, http::field::cookie);
  while (!rest.empty()) {
    auto one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=') return one.substr(name.size() + 1);
  }
  return {};
}

/// Whoever sends no Origin is no browser; "*" lets any page connect, and not with its visitors' cookies.
bool lends_cookies(std::vector<std::string> origins, const http_request& request) {
  std::erase(origins, "*");
  const auto origin = text(request, http::field::origin);
  return !origin.empty() && is_origin_allowed(origins, origin, text(request, http::field::host));
}

}  // namespace

bool is_origin_allowed(const std::vector<std::string>& allowed, std::string_view origin, std::string_view host) {
  const auto is_same_host = [&] {
    const auto scheme_end = origin.find("://");
    return scheme_end != origin.npos && !host.empty() && equal_without_case(origin.substr(scheme_end + 3), host);
  };
  if (allowed.empty()) return is_same_host();
  return std::any_of(allowed.begin(), allowed.end(),
                     [&](const std::string& one) { return one == "*" || (one == "same-host" ? is_same_host() : equal_without_case(one, origin)); });
}

std::optional<http_answer> refuse_upgrade(const site& at, const http_request& request, bool has_extra_bytes, bool is_one_too_many) {
  if (at.draining) return problem_answer({ec::stopping, "the server restarts", {}});
  if (at.is_full()) return problem_answer({ec::unavailable, "http.connections_max is reached", {}});
  if (is_one_too_many) return problem_answer({ec::queue_full, "http.connections_per_address_max is reached", {}});
  // Only browsers send an Origin; theirs is the one that must not be ours to lend.
  if (request.count(http::field::origin) != 0 &&
      !is_origin_allowed(at.settings.http.origins, text(request, http::field::origin), text(request, http::field::host)))
    return problem_answer({ec::forbidden, "this Origin is not in http.origins", "origin"});
  if (has_extra_bytes) return problem_answer({ec::malformed, "bytes before the upgrade was accepted", {}});
  const auto protocols = protocols_of(request);
  if (!protocols.empty() && std::find(protocols.begin(), protocols.end(), protocol_name) == protocols.end())
    return problem_answer({ec::malformed, "the subprotocol must be doorstep.v1", "sec-websocket-protocol"});
  return {};
}

credentials credentials_of(site& at, const http_request& request) {
  const auto believed = at.trusted();
  credentials found;
  found.origin = text(request, http::field::origin);
  for (const auto& name : at.settings.auth.hook_headers) {
    if (boost::beast::iequals(name, "cookie") && !lends_cookies(at.settings.http.origins, request)) continue;
    const auto value = request[boost::beast::string_view(name.data(), name.size())];
    if (!value.empty()) found.headers.push_back({name, std::string(value.data(), value.size())});
  }
  if (const auto ticket = ticket_of(request)) {
    found.who = at.tickets.take(*ticket, std::chrono::steady_clock::now());
    if (found.who) return found;
    at.numbers.tickets_refused.add();
    found.refusal = "the ticket is used, too old, or never was one";
    return found;
  }
  found.token = bearer_of(text(request, http::field::authorization));
  if (found.token.empty()) {
    for (const auto one : protocols_of(request)) {
      if (!one.starts_with(token_prefix)) continue;
      found.token = one.substr(token_prefix.size());
      break;
    }
  }
  if (found.token.empty() && !believed->auth.cookie.empty() && lends_cookies(at.settings.http.origins, request))
    found.token = cookie_of(request, believed->auth.cookie);
  if (found.token.empty()) return found;
  auto who = judge_token(at, found.token);
  if (!who && who.error().code == ec::unavailable) return found;  // its key has to be fetched first
  found.token.clear();
  if (who)
    found.who = std::move(*who);
  else
    found.refusal = who.error().detail;
  return found;
}

}  // namespace doorstep
