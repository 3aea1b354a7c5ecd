// SPDX-License-Identifier: Apache-2.0
// Rules out of TOML, and events for them.
#pragma once

#include "runtime/routes.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doorstep::test {

/// The table of a configuration file, or a failure of the test.
inline route_table_ptr table_of(const std::string& toml) {
  auto loaded = load_config(toml, "doorstep.toml", {}, {});
  if (!loaded) {
    ADD_FAILURE() << loaded.error().detail;
    return nullptr;
  }
  return loaded->routes;
}

inline std::string error_of(const std::string& toml) {
  const auto loaded = load_config(toml, "doorstep.toml", {}, {});
  return loaded ? "" : loaded.error().detail;
}

inline std::shared_ptr<event> event_with(std::string data, std::vector<std::pair<std::string, std::string>> extensions = {},
                                         std::string type = "com.shop.order.paid") {
  auto out = std::make_shared<event>();
  out->id = "1";
  out->source = "/shop/orders";
  out->type = std::move(type);
  out->subject = "o-17";
  out->data = std::move(data);
  out->extensions = std::move(extensions);
  return out;
}

inline std::vector<std::string> who(const result<route_outcome>& x) {
  if (!x) return {"failed: " + to_string(x.error())};
  std::vector<std::string> out;
  for (const auto& one : x->to) out.emplace_back(one.to.text());
  return out;
}

inline result<route_outcome> evaluated(const std::string& toml, std::shared_ptr<const event> what, std::string_view topic = {},
                                       std::vector<header_view> headers = {}) {
  const auto table = table_of(toml);
  if (table == nullptr) return failure{ec::bad_config, "no table", {}};
  return route_evaluator().evaluate(*table, {std::move(what), topic, headers});
}

}  // namespace doorstep::test
