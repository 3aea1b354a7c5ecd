// SPDX-License-Identifier: Apache-2.0
// The upgrade's conditions. Tokens are judged here and their refusal is told after the upgrade (docs/protocol.md).
#include "net/upgrade.hpp"

#include "net/site.hpp"

#include <algorithm>

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

std::optional<http_answer> refuse_upgrade(const site& at, const http_request& request, bool has_extra_bytes) {
  if (at.draining) return problem_answer({ec::stopping, "the server restarts", {}});
  if (at.is_full()) return problem_answer({ec::unavailable, "http.connections_max is reached", {}});
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

upgrade_credentials credentials_of(const site& at, const http_request& request) {
  auto token = bearer_of(text(request, http::field::authorization));
  if (token.empty()) {
    for (const auto one : protocols_of(request)) {
      if (!one.starts_with(token_prefix)) continue;
      token = one.substr(token_prefix.size());
      break;
    }
  }
  upgrade_credentials found;
  if (token.empty()) return found;
  found.given = true;
  if (auto who = at.tokens.verify(token, wall_now())) {
    found.who = std::move(*who);
  } else {
    found.refusal = who.error().detail;
  }
  return found;
}

}  // namespace doorstep
