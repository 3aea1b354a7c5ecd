// SPDX-License-Identifier: Apache-2.0
// token -> (its key, where it must be fetched) -> deny list -> (the connect hook) -> deny list again, since the hook may have named somebody else.
#include "net/admission.hpp"

#include "net/site.hpp"
#include "runtime/digest.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace doorstep {
namespace {

using std::chrono::steady_clock;

/// One client on its way in.
struct entrant {
  site& at;
  credentials shown;
  std::string device, remote;
  std::function<void(admitted)> done;

  void refuse(close_code code, std::string why) {
    (code == close_code::bad_token ? at.numbers.tokens_refused : at.numbers.sessions_denied).add();
    done({std::nullopt, code, std::move(why)});
  }
};
using entrant_ptr = std::shared_ptr<entrant>;

bool is_kept_out(const site& at, const identity& who) { return at.denied.has(who, steady_clock::now()) || is_denied(at.trusted()->auth.deny, who); }

void let_in(const entrant_ptr& x, identity who) {
  if (is_kept_out(x->at, who)) return x->refuse(close_code::forbidden, "this user is denied");
  x->done({std::move(who), {}, {}});
}

void ask_hook(const entrant_ptr& x, identity who) {
  hook_question about{who, x->device, x->remote, x->shown.origin, std::move(x->shown.headers)};
  x->at.hook->ask(std::move(about), [x, who = std::move(who)](result<hook_answer> answer) mutable {
    if (answer && answer->allow) return let_in(x, std::move(answer->who));
    if (answer) return x->refuse(close_code::forbidden, answer->reason);
    if (x->at.hook->allows_on_failure() && !who.user.empty()) return let_in(x, std::move(who));
    x->refuse(close_code::try_later, "who may connect cannot be found out at the moment");
  });
}

void known(const entrant_ptr& x, identity who) {
  if (!who.user.empty() && is_kept_out(x->at, who)) return x->refuse(close_code::forbidden, "this user is denied");
  if (x->at.hook) return ask_hook(x, std::move(who));
  x->done({std::move(who), {}, {}});
}

/// With the keys as they are now.
void judge_again(const entrant_ptr& x, bool keys_are_fresh) {
  auto who = judge_token(x->at, x->shown.token);
  if (who) return known(x, std::move(*who));
  if (who.error().code != ec::unavailable || keys_are_fresh) return x->refuse(close_code::bad_token, who.error().detail);
  x->refuse(close_code::try_later, "the keys of tokens cannot be had at the moment");
}

void judge(const entrant_ptr& x) {
  auto who = judge_token(x->at, x->shown.token);
  if (who) return known(x, std::move(*who));
  if (who.error().code != ec::unavailable) return x->refuse(close_code::bad_token, who.error().detail);
  const auto asked = x->at.jwks->ask_for_news([x](bool fresh) { judge_again(x, fresh); });
  if (asked != jwks_fetcher::asked::waits) judge_again(x, asked == jwks_fetcher::asked::is_fresh);
}

identity anonymous(const trust& believed) {
  identity who;
  who.user = "anonymous-" + base64url(random_bytes(12));
  who.roles = believed.auth.anonymous_roles;
  std::sort(who.roles.begin(), who.roles.end());
  who.roles.erase(std::unique(who.roles.begin(), who.roles.end()), who.roles.end());
  return who;
}

}  // namespace

result<identity> judge_token(const site& at, std::string_view token) {
  const auto published = at.jwks ? at.jwks->keys() : nullptr;
  auto who = at.trusted()->tokens.verify(token, wall_now(), published.get());
  if (!who && who.error().code == ec::unavailable && !at.jwks) return failure{ec::unauthorized, who.error().detail, {}};
  return who;
}

void admit(site& at, credentials shown, const std::string& device, const std::string& remote, std::function<void(admitted)> done) {
  auto x = std::make_shared<entrant>(entrant{at, std::move(shown), device, remote, std::move(done)});
  if (!x->shown.refusal.empty()) return x->refuse(close_code::bad_token, std::move(x->shown.refusal));
  if (x->shown.who) return known(x, std::move(*std::exchange(x->shown.who, std::nullopt)));
  if (!x->shown.token.empty()) return judge(x);
  const auto believed = at.trusted();
  if (believed->auth.anonymous) return known(x, anonymous(*believed));
  if (at.hook && !x->shown.headers.empty()) return known(x, {});
  x->refuse(close_code::bad_token, "no token was given");
}

}  // namespace doorstep
