// SPDX-License-Identifier: Apache-2.0
#include "net/tickets_api.hpp"

#include "net/admission.hpp"
#include "net/claims.hpp"
#include "net/site.hpp"
#include "net/upgrade.hpp"
#include "runtime/address.hpp"

#include <boost/beast/http/verb.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <utility>

namespace doorstep {
namespace {

namespace json = boost::json;
namespace http = boost::beast::http;

http_answer handed_out(site& at, identity who) {
  const auto ttl = at.trusted()->auth.ticket_ttl;
  const auto ticket = at.tickets.issue(std::move(who), ttl, std::chrono::steady_clock::now());
  if (!ticket) return problem_answer(ticket.error());
  at.numbers.tickets_made.add();
  return {201,
          "application/json",
          "{\"ticket\":\"" + *ticket + "\",\"expires_in_ms\":" + std::to_string(ttl.count()) + "}",
          {{"Cache-Control", "no-store"}}};
}

failure wrong(const char* field, const char* what) { return {ec::malformed, what, field}; }

result<identity> read_identity(const json::object& body) {
  identity who;
  for (const auto& [key, value] : body) {
    const std::string name(key.data(), key.size());
    if (name == "user") {
      if (!value.is_string()) return wrong("user", "must be a string");
      who.user.assign(value.get_string().data(), value.get_string().size());
    } else if (name == "roles" || name == "groups" || name == "topics") {
      auto names = name == "topics" ? topics_in(value, name) : names_in(value, name);
      if (!names) return failure{ec::malformed, names.error().detail, name};
      (name == "roles" ? who.roles : name == "groups" ? who.groups : who.topics) = std::move(*names);
    } else if (name == "expires_at") {
      if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() > 253'402'300'799) return wrong("expires_at", "must be seconds since 1970");
      who.expires_at = value.get_int64();
    } else if (name == "info") {
      who.info = json::serialize(value);
    } else {
      return failure{ec::malformed, "is no part of this request", name};
    }
  }
  if (auto to = address::user(who.user); !to) return failure{ec::malformed, to.error().detail, "user"};
  return who;
}

/// What a browser must be told before a page of another origin may read the answer.
void allow_origin(const site& at, const http_request& request, http_answer& what) {
  const auto origin = request[http::field::origin], host = request[http::field::host];
  what.headers.push_back({"Vary", "Origin"});
  if (origin.empty() || !is_origin_allowed(at.settings.http.origins, {origin.data(), origin.size()}, {host.data(), host.size()})) return;
  what.headers.push_back({"Access-Control-Allow-Origin", std::string(origin.data(), origin.size())});
  what.headers.push_back({"Access-Control-Allow-Methods", "POST"});
  what.headers.push_back({"Access-Control-Allow-Headers", "authorization"});
}

http_answer for_bearer(site& at, const http_request& request) {
  if (at.draining) return problem_answer({ec::stopping, "the server restarts", {}});
  const auto value = request[http::field::authorization];
  const auto token = bearer_of({value.data(), value.size()});
  if (token.empty()) return problem_answer({ec::unauthorized, "a token is needed: Authorization: Bearer <token>", "authorization"});
  auto who = judge_token(at, token);
  if (!who) {
    if (who.error().code == ec::unavailable) (void)at.jwks->ask_for_news([](bool) {});  // the next try may find it
    at.numbers.tokens_refused.add();
    return problem_answer(who.error());
  }
  return handed_out(at, std::move(*who));
}

}  // namespace

http_answer make_ticket_for(site& at, const http_request& request, std::string& user) {
  if (at.draining) return problem_answer({ec::stopping, "the server restarts", {}});
  boost::system::error_code error;
  const auto body = json::parse(request.body(), error);
  if (error || !body.is_object()) return problem_answer({ec::malformed, "the body is not a JSON object", {}});
  auto who = read_identity(body.get_object());
  if (!who) return problem_answer(who.error());
  user = who->user;
  return handed_out(at, std::move(*who));
}

http_answer make_own_ticket(site& at, const http_request& request) {
  http_answer made;
  if (request.method() == http::verb::options) {
    made = {204, "text/plain", {}, {{"Access-Control-Max-Age", "600"}}};
  } else if (request.method() == http::verb::post) {
    made = for_bearer(at, request);
  } else {
    made = problem_answer(405, {ec::unsupported, "this path takes POST", {}});
    made.headers.push_back({"Allow", "POST, OPTIONS"});
  }
  allow_origin(at, request, made);
  return made;
}

}  // namespace doorstep
