// SPDX-License-Identifier: Apache-2.0
// One compiled rule: what it matches, whom it names, what it makes of the event. Made by route_compile.cpp, used by routes.cpp. Pure, any thread.
#pragma once

#include "runtime/address.hpp"
#include "runtime/delivery_terms.hpp"
#include "runtime/route_condition.hpp"
#include "runtime/route_config.hpp"
#include "runtime/segment_pattern.hpp"
#include "runtime/text_template.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

struct header_test {
  std::string name;                 ///< lower case
  std::vector<std::string> values;  ///< one of them; empty: the header is there
};

/// By the levels of OpenTelemetry's severity numbers: trace 1, debug 5, info 9, warn 13, error 17, fatal 21.
struct severity_test {
  route_condition::comparison how = route_condition::comparison::at_least;
  int level = 0;
  std::string text;
  bool holds(int of_event) const;
};
/// Of the extension severitynumber, else severitytext, else severity; 0 where the event says none.
int severity_of(const event& x);

/// Patterns of which one has to match. Lists that are the same in several rules have the same number, and are looked at once an event.
struct pattern_list {
  static constexpr std::uint32_t no_number = UINT32_MAX;
  std::vector<segment_pattern> patterns;  ///< none: everything matches
  std::uint32_t number = no_number;
};

struct route_match {
  pattern_list topics, types, sources;
  std::vector<header_test> headers;
  std::optional<severity_test> severity;
  std::vector<route_condition> where;
};

struct route_recipient {
  enum class kind : std::uint8_t { user, users, named_by_event, role, group, topic, all };
  kind what = kind::user;
  std::string text;  ///< as written
  text_template id;
};

/// What is made of the event for those who get it by this rule.
struct rendering {
  std::optional<text_template> title, body, link, icon;
  std::string otherwise;
  enum class data_part : std::uint8_t { whole, none, members };
  data_part data = data_part::whole;
  std::vector<std::pair<std::string, field_id>> members;
};

struct route {
  std::string label;  ///< its name, or "route 3"
  file_place at{};
  route_match match;
  std::vector<route_recipient> to, except;
  std::optional<rendering> render;
  std::vector<std::pair<std::string, rendering>> role_renders;
  std::optional<text_template> key;             ///< where it depends on the event
  std::shared_ptr<const delivery_terms> terms;  ///< null where it says nothing; without the key where that depends on the event
};

}  // namespace doorstep
