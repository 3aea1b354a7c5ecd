// SPDX-License-Identifier: Apache-2.0
#include "net/admin_api.hpp"

#include "net/site.hpp"
#include "runtime/address.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <optional>

namespace doorstep {
namespace {

namespace json = boost::json;
constexpr milliseconds deny_max{std::chrono::hours{24 * 365}};
constexpr std::size_t reason_bytes_max = 256;

struct wanted {
  disconnect_request who;
  std::string denied;  ///< "user:x"
  milliseconds deny_for{0};
};

/// One member of the body. @returns what is wrong with it.
std::optional<failure> take(wanted& out, const std::string& name, const std::string& value) {
  const auto wrong = [&](std::string what) { return failure{ec::malformed, std::move(what), name}; };
  if (name == "reason") {
    if (value.size() > reason_bytes_max) return wrong("the reason is over 256 bytes");
    out.who.reason = value;
    return {};
  }
  if (name == "deny_for") {
    const auto time = parse_duration(value);
    if (!time || time->count() <= 0 || *time > deny_max) return wrong("write a duration such as 10m, at most 365d");
    out.deny_for = *time;
    return {};
  }
  if (name != "user" && name != "role" && name != "group" && name != "session") return wrong("is no part of this request");
  if (name == "session" && value.empty()) return wrong("is empty");
  if (name != "session")
    if (auto to = address::user(value); !to) return wrong(to.error().detail);  // ids of all kinds obey the same rule
  if (!out.who.name.empty()) return wrong("name one of user, role, group and session");
  out.who.kind = name;
  out.who.name = value;
  return {};
}

result<wanted> read_body(const std::string& text) {
  boost::system::error_code error;
  const auto body = json::parse(text, error);
  if (error || !body.is_object()) return failure{ec::malformed, "the body is not a JSON object", {}};
  wanted out;
  for (const auto& [key, value] : body.get_object()) {
    const std::string name(key.data(), key.size());
    if (!value.is_string()) return failure{ec::malformed, "must be a string", name};
    if (auto wrong = take(out, name, {value.get_string().data(), value.get_string().size()})) return *wrong;
  }
  if (out.who.name.empty()) return failure{ec::malformed, "name a user, role, group or session", "user"};
  if (out.deny_for.count() > 0 && out.who.kind == "session") return failure{ec::malformed, "a session cannot be denied; deny its user", "deny_for"};
  if (out.deny_for.count() > 0) out.denied = out.who.kind + ":" + out.who.name;
  out.who.may_return = out.denied.empty();
  if (out.who.reason.empty()) out.who.reason = "disconnected by an operator";
  return out;
}

}  // namespace

void reload(site& at, const http_request&, http_reply done) {
  at.look.reload([done = std::move(done)](result<std::string> found) {
    if (found) return done({200, "application/json", std::move(*found), {}});
    done(found.error().code == ec::bad_config ? problem_answer(422, found.error()) : problem_answer(found.error()));
  });
}

void disconnect_clients(site& at, const http_request& request, http_reply done) {
  auto what = read_body(request.body());
  if (!what) return done(problem_answer(what.error()));
  // Before the sessions are told: who comes back at once finds the door shut.
  if (!what->denied.empty())
    if (auto ok = at.denied.add(what->denied, what->deny_for, std::chrono::steady_clock::now()); !ok) return done(problem_answer(ok.error()));
  at.look.disconnect(std::move(what->who), [done = std::move(done)](result<std::string> found) {
    done(found ? http_answer{200, "application/json", std::move(*found), {}} : problem_answer(found.error()));
  });
}

}  // namespace doorstep
