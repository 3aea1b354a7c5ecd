// SPDX-License-Identifier: Apache-2.0
#include "net/connect_hook.hpp"

#include "net/claims.hpp"
#include "net/native_codec.hpp"
#include "runtime/address.hpp"
#include "runtime/digest.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>

namespace doorstep {
namespace {

namespace json = boost::json;
constexpr std::size_t concurrent_max = 64, answer_bytes_max = 64 * 1024, info_bytes_max = 16 * 1024;

void append_list(std::string& out, const std::vector<std::string>& names) {
  out += '[';
  for (const auto& x : names) {
    if (out.back() != '[') out += ',';
    append_quoted(out, x);
  }
  out += ']';
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  if (out.back() != '{') out += ',';
  append_quoted(out, name);
  out += ':';
  append_quoted(out, value);
}

failure not_understood(std::string why) { return {ec::unavailable, "the answer " + std::move(why), {}}; }

}  // namespace

std::string hook_question_text(const hook_question& about) {
  std::string out = "{";
  if (!about.who.user.empty()) append_member(out, "user", about.who.user);
  out += out.back() == '{' ? "\"roles\":" : ",\"roles\":";
  append_list(out, about.who.roles);
  out += ",\"groups\":";
  append_list(out, about.who.groups);
  if (!about.who.topics.empty()) {
    out += ",\"topics\":";
    append_list(out, about.who.topics);
  }
  append_member(out, "device", about.device);
  append_member(out, "remote", about.remote);
  append_member(out, "origin", about.origin);
  out += ",\"headers\":{";
  for (const auto& x : about.headers) append_member(out, x.name, x.value);
  return out + "}}";
}

result<hook_answer> read_hook_answer(const std::string& body, const identity& asked_about) {
  boost::system::error_code error;
  const auto value = json::parse(body, error);
  if (error || !value.is_object()) return not_understood("is not a JSON object");
  const auto& members = value.get_object();
  const auto* allow = members.if_contains("allow");
  if (allow == nullptr || !allow->is_bool()) return not_understood("has no allow that is true or false");
  hook_answer out{allow->get_bool(), "the application refused", asked_about};
  if (const auto* reason = members.if_contains("reason"); reason && reason->is_string())
    out.reason.assign(reason->get_string().data(), reason->get_string().size());
  if (!out.allow) return out;
  if (const auto* user = members.if_contains("user"); user && !user->is_null()) {
    if (!user->is_string()) return not_understood("has a user that is not text");
    out.who.user.assign(user->get_string().data(), user->get_string().size());
  }
  if (!address::user(out.who.user)) return not_understood("leaves no user that can be one");
  for (auto& [name, list] : {std::pair{"roles", &out.who.roles}, {"groups", &out.who.groups}, {"topics", &out.who.topics}}) {
    const auto* given = members.if_contains(name);
    if (given == nullptr || given->is_null()) continue;
    auto names = list == &out.who.topics ? topics_in(*given, name) : names_in(*given, name);
    if (!names) return not_understood("has " + std::string(name) + " that are none");
    *list = std::move(*names);
  }
  if (const auto* until = members.if_contains("expires_at"); until && !until->is_null()) {
    if (!until->is_int64() || until->get_int64() < 0 || until->get_int64() > 253'402'300'799)
      return not_understood("has an expires_at that is no time");
    out.who.expires_at = std::min(out.who.expires_at.value_or(until->get_int64()), until->get_int64());
  }
  if (const auto* info = members.if_contains("info"); info && !info->is_null()) out.who.info = json::serialize(*info);
  if (out.who.info.size() > info_bytes_max) return not_understood("has an info of over 16 KiB");
  return out;
}

connect_hook::connect_hook(const auth_config& settings, metrics& numbers)
    : settings_(settings), numbers_(numbers), client_("connect-hook", concurrent_max, settings.hook_queue_max) {}

void connect_hook::ask(hook_question about, std::function<void(result<hook_answer>)> done) {
  auto text = hook_question_text(about);
  std::string key;
  if (settings_.hook_cache_ttl.count() > 0) {
    // The port of a client is another one each time, and an answer that is remembered must not outlive the token it was asked with.
    auto without_port = about;
    without_port.remote = about.remote.substr(0, about.remote.rfind(':'));
    const auto hash = sha256(hook_question_text(without_port) + (about.who.expires_at ? std::to_string(*about.who.expires_at) : ""));
    key.assign(reinterpret_cast<const char*>(hash.data()), hash.size());
    std::optional<hook_answer> known;
    {
      const std::lock_guard lock(mutex_);
      const auto found = cache_.find(key);
      if (found != cache_.end() && std::chrono::steady_clock::now() < found->second.until) known = found->second.what;
    }
    if (known) return done(std::move(*known));
  }
  numbers_.hook_asked.add();
  fetch_request what{settings_.hook_url, std::move(text), settings_.hook_authorization, settings_.hook_timeout, answer_bytes_max};
  const auto shared = std::make_shared<std::function<void(result<hook_answer>)>>(std::move(done));
  const bool taken = client_.ask(std::move(what), [this, shared, key, who = std::move(about.who)](result<fetch_answer> came) {
    result<hook_answer> answer = failure{ec::unavailable, "", {}};
    if (!came)
      answer = came.error();
    else if (came->status != 200)
      answer = failure{ec::unavailable, "it answered with status " + std::to_string(came->status), {}};
    else
      answer = read_hook_answer(came->body, who);
    if (!answer)
      failed(answer.error().detail);
    else if (!key.empty())
      remember(key, *answer);
    (*shared)(std::move(answer));
  });
  if (taken) return;
  failed("auth.hook_queue_max connections wait already");
  (*shared)(failure{ec::unavailable, "too many wait for the connect hook", {}});
}

void connect_hook::remember(const std::string& question, const hook_answer& what) {
  const auto until = std::chrono::steady_clock::now() + settings_.hook_cache_ttl;
  const std::lock_guard lock(mutex_);
  while (!in_order_.empty() && (cache_.size() >= settings_.hook_cache_max || in_order_.front().first <= std::chrono::steady_clock::now())) {
    const auto found = cache_.find(in_order_.front().second);
    if (found != cache_.end() && found->second.until <= in_order_.front().first) cache_.erase(found);
    in_order_.pop_front();
  }
  cache_.insert_or_assign(question, remembered{what, until});
  in_order_.emplace_back(until, question);
}

void connect_hook::failed(const std::string& why) {
  numbers_.hook_failures.add();
  if (const auto missed = throttle_.pass())
    log_line(log_level::warn, "connect-hook", "no-answer")
        .with("why", why)
        .with("missed", *missed)
        .with("effect", allows_on_failure() ? "clients connect by their token alone" : "clients are asked to come again");
}

}  // namespace doorstep
