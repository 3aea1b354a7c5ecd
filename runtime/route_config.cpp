// SPDX-License-Identifier: Apache-2.0
#include "runtime/route_config.hpp"

#include <algorithm>
#include <array>

namespace doorstep {

namespace {

using sv = std::string_view;
using problem = std::optional<config_fault>;

constexpr std::array<sv, 11> rule_keys{"name", "match", "to", "except", "render", "order", "key", "ttl", "priority", "max_attempts", "collapse_key"};
constexpr std::array<sv, 6> match_keys{"topic", "type", "source", "header", "severity", "where"};
constexpr std::array<sv, 7> render_keys{"title", "body", "link", "icon", "default", "data", "role"};

std::string in_quotes(sv text) { return "\"" + std::string(text) + "\""; }

problem unknown(const file_setting& x, sv key, sv where, std::span<const sv> known) {
  const auto near = nearest_name(key, known);
  return config_fault{
      "unknown option " + in_quotes(key) + " in " + std::string(where) + (near.empty() ? "" : "; did you mean " + in_quotes(near) + "?"), x.key};
}

problem one_text(std::optional<placed_text>& out, const file_setting& x) {
  const auto* text = std::get_if<std::string>(&x.value);
  if (text == nullptr) return config_fault{"must be a text in quotes", x.at};
  out = placed_text{*text, x.at};
  return std::nullopt;
}

problem one_text(std::string& out, const file_setting& x) {
  std::optional<placed_text> text;
  auto wrong = one_text(text, x);
  if (!wrong) out = text->text;
  return wrong;
}

/// A text, or a list of them.
problem texts(placed_texts& out, const file_setting& x) {
  if (const auto* text = std::get_if<std::string>(&x.value)) {
    out.push_back({*text, x.at});
    return std::nullopt;
  }
  const auto* list = std::get_if<std::vector<std::string>>(&x.value);
  if (list == nullptr) return config_fault{"must be a text, or a list of texts such as [\"a\", \"b\"]", x.at};
  if (list->empty()) return config_fault{"the list is empty", x.at};
  for (std::size_t i = 0; i < list->size(); ++i) out.push_back({(*list)[i], i < x.items.size() ? x.items[i] : x.at});
  return std::nullopt;
}

problem whole_number(std::optional<std::int64_t>& out, const file_setting& x, std::int64_t most) {
  const auto* number = std::get_if<std::int64_t>(&x.value);
  if (number == nullptr || *number < 0 || *number > most) return config_fault{"must be a whole number, 0 to " + std::to_string(most), x.at};
  out = *number;
  return std::nullopt;
}

problem duration(std::optional<std::int64_t>& out, const file_setting& x) {
  constexpr std::int64_t most = 3650LL * 24 * 3600 * 1000;
  const auto* text = std::get_if<std::string>(&x.value);
  if (text == nullptr) return config_fault{"must be a duration such as \"30s\"", x.at};
  const auto time = parse_duration(*text);
  if (!time) return config_fault{time.error().detail, x.at};
  if (time->count() < 1 || time->count() > most) return config_fault{"must be 1ms to 3650d", x.at};
  out = time->count();
  return std::nullopt;
}

problem take_match(route_config& in, sv key, const file_setting& x) {
  if (key.starts_with("header.")) {
    key.remove_prefix(7);
    if (x.is_table) return config_fault{"a header with a \".\" in its name is written in quotes", x.key};
    std::string name(key);
    for (auto& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    in.headers.emplace_back(std::move(name), placed_texts{});
    return texts(in.headers.back().second, x);
  }
  if (key == "header") return x.is_table ? problem() : config_fault{"headers are written header = { name = \"value\" }", x.at};
  if (x.is_table) return unknown(x, key, "a route's match", match_keys);
  if (key == "topic") return texts(in.topics, x);
  if (key == "type") return texts(in.types, x);
  if (key == "source") return texts(in.sources, x);
  if (key == "where") return texts(in.where, x);
  if (key == "severity") return one_text(in.severity, x);
  return unknown(x, key, "a route's match", match_keys);
}

problem take_render(render_config& in, sv key, const file_setting& x) {
  if (key == "title") return one_text(in.title, x);
  if (key == "body") return one_text(in.body, x);
  if (key == "link") return one_text(in.link, x);
  if (key == "icon") return one_text(in.icon, x);
  if (key == "data") return std::holds_alternative<std::string>(x.value) ? one_text(in.data, x) : texts(in.data_members, x);
  if (key == "default") return one_text(in.otherwise, x);
  return unknown(x, key, "a route's render", render_keys);
}

/// "role.admin.title": what is rendered for one role, else as the rule's own render.
problem take_role(route_config& in, sv path, const file_setting& x) {
  const auto dot = path.find('.');
  const auto role = path.substr(0, dot);
  auto found = std::find_if(in.role_renders.begin(), in.role_renders.end(), [&](const auto& known) { return known.first.text == role; });
  if (found == in.role_renders.end()) found = in.role_renders.insert(in.role_renders.end(), {placed_text{std::string(role), x.key}, render_config{}});
  if (dot == sv::npos) return x.is_table ? problem() : config_fault{"what a role gets is written [routes.render.role.<name>]", x.at};
  return take_render(found->second, path.substr(dot + 1), x);
}

}  // namespace

problem take_route_setting(route_config& in, sv path, const file_setting& x) {
  if (path.empty()) {
    in.at = x.key;
    return std::nullopt;
  }
  if (path == "match" || path == "render") {
    if (!x.is_table)
      return config_fault{"is a table, such as " + std::string(path) + (path == "match" ? ".type = \"com.example.*\"" : ".title = \"...\""), x.at};
    if (path == "render" && !in.render) in.render.emplace();
    return std::nullopt;
  }
  if (path.starts_with("match.")) return take_match(in, path.substr(6), x);
  if (path.starts_with("render.role.")) return take_role(in, path.substr(12), x);
  if (path == "render.role" && x.is_table) return std::nullopt;
  if (path.starts_with("render.")) {
    if (!in.render) in.render.emplace();
    if (x.is_table) return unknown(x, path.substr(7), "a route's render", render_keys);
    return take_render(*in.render, path.substr(7), x);
  }
  if (x.is_table) return unknown(x, path, "[[routes]]", rule_keys);
  if (path == "to") return texts(in.to, x);
  if (path == "except") return texts(in.except, x);
  if (path == "order") return one_text(in.order, x);
  if (path == "key") return one_text(in.key, x);
  if (path == "collapse_key") return one_text(in.collapse_key, x);
  if (path == "ttl") return duration(in.ttl_ms, x);
  if (path == "priority") return whole_number(in.priority, x, 9);
  if (path == "max_attempts") return whole_number(in.max_attempts, x, 65'535);
  if (path == "name") return one_text(in.name, x);
  return unknown(x, path, "[[routes]]", rule_keys);
}

}  // namespace doorstep
