// SPDX-License-Identifier: Apache-2.0
// `[[routes]]` as they are written: texts with their places, not yet understood. routes.hpp compiles them. Pure, any thread.
#pragma once

#include "runtime/config_file.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

/// A text of the file and where it stands, for the caret.
struct placed_text {
  std::string text;
  file_place at{};
  bool operator==(const placed_text& x) const { return text == x.text; }
};
using placed_texts = std::vector<placed_text>;

/// What is wrong, and where in the file. Line 0: nowhere.
struct config_fault {
  std::string what;
  file_place at{};
};

struct render_config {
  std::optional<placed_text> title, body, link, icon;
  std::string otherwise;            ///< `default`
  std::optional<placed_text> data;  ///< "whole" or "none"
  placed_texts data_members;        ///< or pointers
};

struct route_config {
  file_place at{};
  std::string name;
  // match
  placed_texts topics, types, sources, where;
  std::vector<std::pair<std::string, placed_texts>> headers;
  std::optional<placed_text> severity;
  // to whom
  placed_texts to, except;
  std::optional<render_config> render;
  std::vector<std::pair<placed_text, render_config>> role_renders;
  // how
  std::optional<placed_text> order, key, collapse_key;
  std::optional<std::int64_t> ttl_ms, priority, max_attempts;
};

/// Takes one setting of the file below `routes`. `path` is what follows "routes.N.", empty for the rule's own table.
/// @returns what is wrong with it.
std::optional<config_fault> take_route_setting(route_config& in, std::string_view path, const file_setting& x);

}  // namespace doorstep
