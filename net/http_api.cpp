// SPDX-License-Identifier: Apache-2.0
// One table of paths for the internal port, and the CloudEvents HTTP binding (docs/protocol.md, Publishing).
#include "net/http_api.hpp"

#include "net/admin_api.hpp"
#include "net/dead_letters_api.hpp"
#include "net/internal_caller.hpp"
#include "net/native_codec.hpp"
#include "net/site.hpp"
#include "net/tickets_api.hpp"

#include <boost/beast/http/verb.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <string_view>

namespace doorstep {
namespace {

namespace http = boost::beast::http;

std::string_view text(const http_request& request, http::field name) {
  const auto value = request[name];
  return {value.data(), value.size()};
}

std::string_view path_of(const http_request& request) {
  const std::string_view target(request.target().data(), request.target().size());
  return target.substr(0, target.find('?'));
}

unsigned status_of(ec code) {
  switch (code) {
    case ec::malformed: return 400;
    case ec::unauthorized: return 401;
    case ec::forbidden: return 403;
    case ec::not_found: return 404;
    case ec::too_large: return 413;
    case ec::unsupported: return 415;
    case ec::queue_full: return 429;
    case ec::unavailable:
    case ec::stopping: return 503;
    case ec::bad_config:
    case ec::corrupt:
    case ec::internal: break;
  }
  return 500;
}

http_answer not_allowed(std::string methods) {
  auto made = problem_answer(405, {ec::unsupported, "this path takes " + methods, {}});
  made.headers.push_back({"Allow", std::move(methods)});
  return made;
}

/// "application/cloudevents+json" of "Application/CloudEvents+JSON; charset=utf-8".
std::string media_type(std::string_view value) {
  std::string type(value.substr(0, value.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (auto& c : type)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return type;
}

result<std::vector<event>> read_events(const site& at, const http_request& request) {
  const auto content_type = text(request, http::field::content_type);
  const auto type = media_type(content_type);
  if (type == "application/cloudevents-batch+json") {
    auto found = events_from_json_batch(request.body());
    if (found && found->size() > at.settings.internal.batch_events_max)
      return failure{ec::too_large, "a batch holds at most " + std::to_string(at.settings.internal.batch_events_max) + " events", {}};
    return found;
  }
  std::vector<event> events;
  if (type == "application/cloudevents+json") {
    auto one = event_from_json(request.body());
    if (!one) return one.error();
    events.push_back(std::move(*one));
    return events;
  }
  std::vector<header_view> headers;
  bool is_binary = false;
  for (const auto& field : request) {
    headers.push_back({field.name_string(), field.value()});
    is_binary |= boost::beast::iequals(field.name_string(), "ce-specversion");
  }
  if (type.starts_with("application/cloudevents") || !is_binary)
    return failure{ec::unsupported, "send CloudEvents: ce-* headers, application/cloudevents+json or application/cloudevents-batch+json",
                   "content-type"};
  auto one = event_from_headers(headers, "ce-", content_type, request.body());
  if (!one) return one.error();
  events.push_back(std::move(*one));
  return events;
}

std::string outcome_text(const std::vector<publish_outcome>& outcomes) {
  std::string body = "{\"events\":[";
  for (const auto& x : outcomes) {
    if (body.back() != '[') body += ',';
    body += "{\"id\":";
    append_quoted(body, x.event_id);
    body += ",\"accepted\":" + std::to_string(x.accepted) + ",\"duplicates\":" + std::to_string(x.duplicates);
    body += x.unmatched ? ",\"unmatched\":true}" : "}";
  }
  return body + "]}";
}

/// For rules that match by them; the key is nobody's business.
std::shared_ptr<const std::vector<header>> headers_of(const http_request& request) {
  auto out = std::make_shared<std::vector<header>>();
  for (const auto& x : request)
    if (x.name() != http::field::authorization && x.name() != http::field::cookie)
      out->push_back({std::string(x.name_string().data(), x.name_string().size()), std::string(x.value().data(), x.value().size())});
  return out;
}

void publish(site& at, const http_request& request, http_reply done) {
  if (at.draining) return done(problem_answer({ec::stopping, "the server restarts", {}}));
  auto events = read_events(at, request);
  if (!events) return done(problem_answer(events.error()));
  if (events->empty()) return done({202, "application/json", outcome_text({}), {}});
  auto headers = at.in.reads_headers() ? headers_of(request) : nullptr;
  at.in.publish({std::move(*events), std::move(headers)}, [done = std::move(done)](result<std::vector<publish_outcome>> outcome) {
    done(outcome ? http_answer{202, "application/json", outcome_text(*outcome), {}} : problem_answer(outcome.error()));
  });
}

http_answer readiness(const site& at) {
  auto reasons = at.look.not_ready();
  if (reasons.empty() && at.draining) reasons.push_back("the server drains");
  std::string body = reasons.empty() ? "{\"ready\":true,\"reasons\":[" : "{\"ready\":false,\"reasons\":[";
  for (const auto& x : reasons) {
    if (body.back() != '[') body += ',';
    append_quoted(body, x);
  }
  return {reasons.empty() ? 200u : 503u, "application/json", body + "]}", {}};
}

inspection::answer as_document(http_reply done) {
  return [done = std::move(done)](result<std::string> found) {
    done(found ? http_answer{200, "application/json", std::move(*found), {}} : problem_answer(found.error()));
  };
}

void show_mailbox(site& at, const http_request& request, http_reply done) {
  const auto target = boost::urls::parse_origin_form({request.target().data(), request.target().size()});
  if (!target) return done(problem_answer({ec::malformed, "the path is not percent-encoded UTF-8", {}}));
  std::string user;
  for (const auto& segment : target->segments()) user = segment;  // the last one, decoded
  if (auto to = address::user(user); !to) return done(problem_answer({ec::malformed, to.error().detail, "user"}));
  at.look.mailbox(user, as_document(std::move(done)));
}

/// A path of the internal port. One that ends in '/' stands for everything below it.
struct route {
  std::string_view path;
  http::verb method;
  std::optional<key_scope> scope;  ///< none: everybody may
  const char* action;              ///< for the audit; null: it is not written down
  void (*answer)(site&, const http_request&, http_reply);
};

constexpr auto publishes = key_scope::publish, looks = key_scope::read, administers = key_scope::admin;
constexpr std::nullopt_t anybody = std::nullopt;
constexpr std::string_view tickets_path = "/v1/tickets";

constexpr route routes[] = {
    {"/v1/events", http::verb::post, publishes, nullptr, publish},
    {tickets_path, http::verb::post, publishes, nullptr, nullptr},  // see answer_internal
    {"/v1/actors", http::verb::get, looks, nullptr,
     [](site& at, const http_request&, http_reply done) { at.look.actors(as_document(std::move(done))); }},
    {"/v1/mailboxes/", http::verb::get, looks, nullptr, show_mailbox},
    {"/v1/dead-letters", http::verb::get, looks, nullptr, list_dead_letters},
    {"/v1/dead-letters/requeue", http::verb::post, administers, "requeue", requeue_dead_letters},
    {"/v1/dead-letters/purge", http::verb::post, administers, "purge", purge_dead_letters},
    {"/v1/dead-letters/", http::verb::get, looks, nullptr, show_dead_letter},
    {"/v1/admin/reload", http::verb::post, administers, "reload", reload},
    {"/v1/admin/disconnect", http::verb::post, administers, "disconnect", disconnect_clients},
    {"/metrics", http::verb::get, anybody, nullptr,
     [](site& at, const http_request&, http_reply done) {
       at.look.refresh_metrics();
       done({200, "text/plain; version=0.0.4; charset=utf-8", at.numbers.text(), {}});
     }},
    {"/health/live", http::verb::get, anybody, nullptr,
     [](site&, const http_request&, http_reply done) {
       done({200, "application/json", "{\"live\":true}", {}});
     }},
    {"/health/ready", http::verb::get, anybody, nullptr, [](site& at, const http_request&, http_reply done) { done(readiness(at)); }},
    {"/health/startup", http::verb::get, anybody, nullptr,
     [](site& at, const http_request&, http_reply done) {
       const bool started = at.look.started();
       done({started ? 200u : 503u, "application/json", started ? "{\"started\":true}" : "{\"started\":false}", {}});
     }},
};

const route* route_of(const http_request& request) {
  const auto path = path_of(request);
  for (const auto& x : routes) {
    const bool below = x.path.back() == '/';
    if (path == x.path ? !below : below && path.starts_with(x.path) && path.find('/', x.path.size()) == path.npos) return &x;
  }
  return nullptr;
}

bool method_fits(http::verb asked, http::verb offered) { return asked == offered || (asked == http::verb::head && offered == http::verb::get); }

}  // namespace

http_answer problem_answer(unsigned status, const failure& why) {
  http_answer made{status, "application/problem+json", {}, {}};
  made.body = "{\"type\":\"about:blank\",\"title\":";
  const auto title = http::obsolete_reason(static_cast<http::status>(status));
  append_quoted(made.body, {title.data(), title.size()});
  made.body += ",\"status\":" + std::to_string(status) + ",\"code\":";
  append_quoted(made.body, name(why.code));
  made.body += ",\"detail\":";
  append_quoted(made.body, why.detail.empty() ? describe(why.code) : std::string_view(why.detail));
  if (!why.field.empty()) {
    made.body += ",\"field\":";
    append_quoted(made.body, why.field);
  }
  made.body += is_temporary(why.code) ? ",\"temporary\":true}" : ",\"temporary\":false}";
  if (status == 429) made.headers.push_back({"Retry-After", "1"});
  if (status == 503) made.headers.push_back({"Retry-After", "2"});
  if (status == 401) made.headers.push_back({"WWW-Authenticate", "Bearer"});
  return made;
}

http_answer problem_answer(const failure& why) { return problem_answer(status_of(why.code), why); }

std::optional<http_answer> refuse_internal_early(const site& at, const http_request& head, const connection_facts& facts) {
  const auto* to = route_of(head);
  if (to == nullptr || !to->scope) return {};
  const auto caller = caller_of(at, head, facts);
  if (!caller) return problem_answer({ec::unauthorized, "an API key is needed: Authorization: Bearer <key>", "authorization"});
  if (!caller->scopes.allow(*to->scope)) return problem_answer({ec::forbidden, "this key does not allow it", "authorization"});
  return {};
}

void answer_internal(site& at, const http_request& request, const connection_facts& facts, http_reply done) {
  const auto* to = route_of(request);
  if (to == nullptr) return done(problem_answer({ec::not_found, "nothing is at this path", {}}));
  if (auto refused = refuse_internal_early(at, request, facts)) return done(std::move(*refused));
  if (!method_fits(request.method(), to->method)) return done(not_allowed(to->method == http::verb::get ? "GET, HEAD" : "POST"));
  if (to->path == tickets_path) {
    std::string user;
    auto made = make_ticket_for(at, request, user);
    const auto caller = caller_of(at, request, facts);
    if (caller && caller->scopes.allow(administers)) done = audited("ticket", *caller, facts, "user:" + user, std::move(done));
    return done(std::move(made));
  }
  if (to->action != nullptr)
    if (const auto caller = caller_of(at, request, facts)) done = audited(to->action, *caller, facts, request.body(), std::move(done));
  to->answer(at, request, std::move(done));
}

http_answer answer_public(site& at, const http_request& request) {
  const auto path = path_of(request);
  if (path == "/v1/ws") {
    if (request.method() != http::verb::get) return not_allowed("GET");
    auto made = problem_answer(426, {ec::unsupported, "this path speaks WebSocket", {}});
    made.headers.push_back({"Upgrade", "websocket"});
    return made;
  }
  if (path == tickets_path) return make_own_ticket(at, request);
  const auto* file = at.settings.demo.enabled && at.assets ? at.assets(path) : nullptr;
  if (file == nullptr) return problem_answer({ec::not_found, "nothing is at this path", {}});
  if (!method_fits(request.method(), http::verb::get)) return not_allowed("GET, HEAD");
  http_answer made{200, file->content_type, file->body, {{"Cache-Control", "no-cache"}}};
  if (file->content_type.starts_with("text/html")) {
    made.headers.push_back(
        {"Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"});
    made.headers.push_back({"Referrer-Policy", "no-referrer"});
  }
  return made;
}

}  // namespace doorstep
