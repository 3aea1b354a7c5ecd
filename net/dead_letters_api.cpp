// SPDX-License-Identifier: Apache-2.0
#include "net/dead_letters_api.hpp"

#include "net/site.hpp"
#include "runtime/address.hpp"
#include "runtime/event_rules.hpp"
#include "runtime/number_text.hpp"

#include <boost/json/parse.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace doorstep {
namespace {

namespace json = boost::json;
constexpr std::size_t limit_max = 1000;
using problem = std::optional<failure>;

failure wrong(std::string_view field, std::string detail) {
  return {ec::malformed, std::string(field) + " " + std::move(detail), std::string(field)};
}

/// One part of a filter by its name, as text. @returns what is wrong; a name that is none is.
problem take(dead_letter_filter& into, std::string_view field, const std::string& value) {
  if (field == "after") {
    into.after = value;
  } else if (field == "topic") {
    into.topic = value;
  } else if (field == "user") {
    if (const auto to = address::user(value); !to) return wrong(field, to.error().detail);
    into.user = value;
  } else if (field == "reason") {
    const auto reason = dead_reason_from(value);
    if (!reason) return wrong(field, "is none of malformed, no-route, max-attempts, nacked, expired, overflow, poison");
    into.reason = *reason;
  } else if (field == "limit") {
    const auto n = number_in<std::uint64_t>(value);
    if (!n || *n < 1 || *n > limit_max) return failure{ec::malformed, "limit must be 1 to 1000", "limit"};
    into.limit = static_cast<std::size_t>(*n);
  } else if (field == "since" || field == "until") {
    if (!is_rfc3339(value)) return wrong(field, "is not an RFC 3339 timestamp such as 2026-11-21T10:00:00Z");
    (field == "since" ? into.since : into.until) = time_of_rfc3339(value);
  } else if (field == "state") {
    if (value != "dead" && value != "all") return wrong(field, "must be dead or all");
    into.requeued_too = value == "all";
  } else {
    return wrong(field, "is no part of this request");
  }
  return {};
}

problem take_ids(dead_letter_filter& into, const json::value& x) {
  if (!x.is_array() || x.get_array().empty() || x.get_array().size() > limit_max) return wrong("ids", "must be an array of 1 to 1000 ids");
  for (const auto& id : x.get_array()) {
    if (!id.is_string() || id.get_string().empty()) return wrong("ids", "holds what is not an id");
    into.ids.emplace_back(id.get_string().c_str(), id.get_string().size());
  }
  return {};
}

/// {"id": x}, {"ids": [x, ...]}, or parts of a filter with a limit; {"all": true} where every dead letter is meant.
result<dead_letter_filter> read_body(const std::string& body) {
  boost::system::error_code error;
  const auto read = json::parse(body, error);
  if (error || !read.is_object()) return failure{ec::malformed, "send a JSON object with id, ids or a filter", "body"};
  dead_letter_filter which;
  bool names_any = false;
  for (const auto& [key, value] : read.get_object()) {
    const std::string_view field(key.data(), key.size());
    problem bad;
    if (field == "all") {
      if (!value.is_bool() || !value.get_bool()) bad = wrong(field, "can only be true");
    } else if (field == "ids") {
      bad = take_ids(which, value);
    } else if (field == "id") {
      if (value.is_string() && !value.get_string().empty())
        which.ids.emplace_back(value.get_string().c_str(), value.get_string().size());
      else
        bad = wrong(field, "must be a string");
    } else if (field == "limit" && value.is_int64()) {
      bad = take(which, field, std::to_string(value.get_int64()));
    } else if (value.is_string() && field != "after" && field != "state" && field != "limit") {
      bad = take(which, field, std::string(value.get_string().c_str(), value.get_string().size()));
    } else {
      bad = wrong(field, "is no part of this request, or of another kind");
    }
    if (bad) return *bad;
    names_any = names_any || field != "limit";
  }
  if (!names_any) return failure{ec::malformed, "name ids, a filter (reason, user, topic, since, until), or say \"all\": true", "ids"};
  return which;
}

inspection::answer as_document(http_reply done) {
  return [done = std::move(done)](result<std::string> found) {
    if (found) return done({200, "application/json", std::move(*found), {}});
    done(found.error().code == ec::unsupported ? problem_answer(409, found.error()) : problem_answer(found.error()));
  };
}

}  // namespace

void list_dead_letters(site& at, const http_request& request, http_reply done) {
  const auto target = boost::urls::parse_origin_form({request.target().data(), request.target().size()});
  if (!target) return done(problem_answer({ec::malformed, "the query is not percent-encoded UTF-8", {}}));
  dead_letter_filter which;
  for (const auto& x : target->params())
    if (const auto bad = take(which, x.key, x.value)) return done(problem_answer(*bad));
  at.look.dead_letters(std::move(which), as_document(std::move(done)));
}

void show_dead_letter(site& at, const http_request& request, http_reply done) {
  const auto target = boost::urls::parse_origin_form({request.target().data(), request.target().size()});
  if (!target) return done(problem_answer({ec::malformed, "the path is not percent-encoded UTF-8", {}}));
  std::string id;
  for (const auto& segment : target->segments()) id = segment;  // the last one, decoded
  at.look.dead_letter(std::move(id), as_document(std::move(done)));
}

void requeue_dead_letters(site& at, const http_request& request, http_reply done) {
  if (at.draining) return done(problem_answer({ec::stopping, "the server restarts", {}}));
  auto which = read_body(request.body());
  if (!which) return done(problem_answer(which.error()));
  at.look.requeue_dead_letters(std::move(*which), as_document(std::move(done)));
}

void purge_dead_letters(site& at, const http_request& request, http_reply done) {
  auto which = read_body(request.body());
  if (!which) return done(problem_answer(which.error()));
  at.look.purge_dead_letters(std::move(*which), as_document(std::move(done)));
}

}  // namespace doorstep
