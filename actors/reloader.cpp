// SPDX-License-Identifier: Apache-2.0
#include "actors/reloader.hpp"

#include "runtime/json_text.hpp"
#include "runtime/log.hpp"

#include <utility>

namespace doorstep {

namespace {

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& x : names) {
    out += out.empty() ? "" : ",";
    append_json_string(out, x);
  }
  return out;
}

void refuse(const reload& x, const failure& why) {
  log_line(log_level::warn, "routes", "reload-refused").with("why", to_string(why)).with("effect", "rules and keys stay as they were");
  x.done(why);
}

void begin(reloader_actor::pointer self, const services& parts, const router_actor& router, const std::function<void()>& channels_changed,
           const reload& x) {
  if (!parts.read_again) return refuse(x, {ec::unsupported, "this server cannot read its configuration again", {}});
  auto found = parts.read_again();
  if (!found) return refuse(x, found.error());
  std::function<void()> believe = [] {};
  if (parts.prepare_identity) {
    auto prepared = parts.prepare_identity(*found);
    if (!prepared) return refuse(x, prepared.error());
    believe = std::move(*prepared);
  }
  auto changed = options_for_restart(parts.options, *found);
  parts.routes->announce(found->routes);
  self->request(router, caf::infinite, use_routes{found->routes})
      .then([=, live = parts.routes, next = found->routes, changed = std::move(changed), believe = std::move(believe)](const routes_in_use& now) {
        live->use(next);
        channels_changed();
        believe();
        log_line(log_level::info, "routes", "reloaded").with("routes", now.count).with("needs_restart", list_of(changed));
        x.done("{\"routes\":" + std::to_string(now.count) + ",\"needs_restart\":[" + list_of(changed) + "]}");
      });
}

}  // namespace

reloader_actor::behavior_type reloader(reloader_actor::pointer self, const services* parts, router_actor router,
                                       std::function<void()> channels_changed) {
  return {[=](const reload& x) { begin(self, *parts, router, channels_changed, x); }};
}

}  // namespace doorstep
