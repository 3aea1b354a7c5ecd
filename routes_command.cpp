// SPDX-License-Identifier: Apache-2.0
#include "routes_command.hpp"

#include "runtime/json_text.hpp"
#include "runtime/routes.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t recipients_shown = 20;

result<std::string> contents_of(const std::string& file) {
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream in(file);
  if (!in) return failure{ec::bad_config, file + ": cannot be read", {}};
  return std::string(std::istreambuf_iterator<char>(in), {});
}

/// The source that reads the topic; null where none does.
const source_config* source_of(const config& options, const std::string& topic) {
  for (const auto& x : options.sources)
    if (std::find(x.topics.begin(), x.topics.end(), topic) != x.topics.end()) return &x;
  return nullptr;
}

std::string describe(const delivery_terms& x) {
  using ordering = delivery_terms::ordering;
  std::string out;
  const auto add = [&](const std::string& name, const std::string& value) { out += (out.empty() ? "" : ", ") + name + " " + value; };
  if (x.order != ordering::configured) add("order", x.order == ordering::strict ? "strict" : x.order == ordering::latest ? "latest" : "window");
  if (!x.key.empty()) add("key", "\"" + x.key + "\"");
  if (x.ttl) add("ttl", format_duration(*x.ttl));
  if (x.max_attempts) add("max_attempts", std::to_string(*x.max_attempts));
  if (x.priority > 0) add("priority", std::to_string(x.priority));
  return out;
}

std::string describe(const route_table& table, const route_outcome& x) {
  std::string out;
  if (x.unmatched()) {
    const bool dead = table.unmatched == route_table::leftover::dead_letter;
    out += table.unmatched == route_table::leftover::fallback ? "\nno route matches: it goes to routing.fallback\n"
           : dead                                             ? "\nno route matches: it becomes a dead letter\n"
                                                              : "\nno route matches: it is dropped and counted\n";
  }
  out += "\n" + std::to_string(x.to.size()) + (x.to.size() == 1 ? " message\n" : " messages\n");
  for (std::size_t i = 0; i < x.variants.size(); ++i) {
    std::size_t count = 0;
    std::string names;
    for (const auto& one : x.to)
      if (one.variant == i && count++ < recipients_shown) names.append("  to ").append(one.to.text()).append("\n");
    if (count == 0) continue;
    out += names;
    if (count > recipients_shown) out += "  and " + std::to_string(count - recipients_shown) + " more\n";
    if (x.variants[i].terms) out += "  with " + describe(*x.variants[i].terms) + "\n";
    out += "  " + to_json(*x.variants[i].what) + "\n";
  }
  return out;
}

}  // namespace

result<std::string> try_routes(const config& options, const routes_test_request& what) {
  if (!options.routes) return failure{ec::bad_config, "the configuration has no [[routes]]", {}};
  const auto text = contents_of(what.record_file);
  if (!text) return text.error();
  std::vector<std::string> names = what.headers;  // keeps what the views are of
  std::vector<header_view> headers;
  for (const std::string_view x : names) {
    const auto equals = x.find('=');
    if (equals == std::string_view::npos) return failure{ec::bad_config, "--header " + std::string(x) + ": write NAME=VALUE", {}};
    headers.push_back({x.substr(0, equals), x.substr(equals + 1)});
  }
  const auto* source = source_of(options, what.topic);
  if (!what.topic.empty() && source == nullptr) return failure{ec::bad_config, "--topic " + what.topic + ": no source reads this topic", {}};
  record_view record{what.topic, 0, 0, {}, headers, *text, wall_now()};
  if (!what.key.empty()) record.key = what.key;
  const bool plain = source != nullptr && source->format == "json";
  auto read = plain ? read_record(record, *source) : event_from_json(*text);
  if (!read) return failure{ec::malformed, what.record_file + ": " + to_string(read.error()), {}};

  route_input input{std::make_shared<const event>(std::move(*read)), what.topic, headers};
  if (source != nullptr) {
    input.record = &record;
    input.source = source;
  }
  route_evaluator evaluator;
  const auto& table = *options.routes;
  std::string out;
  const auto verdicts = evaluator.explain(table, input);
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const auto& x = verdicts[i];
    out += (x.matches && x.reached ? "+ " : "- ") + table.rules[i].label + " (line " + std::to_string(table.rules[i].at.line) + "): " + x.why + "\n";
  }
  const auto outcome = evaluator.evaluate(table, input);
  if (!outcome) return failure{ec::malformed, out + "\nthe event is refused, or a dead letter: " + to_string(outcome.error()), {}};
  return out + describe(table, *outcome);
}

std::string lint_text(const config& options, const std::string& file_name) {
  if (!options.routes) return {};
  std::set<std::string> topics;
  for (const auto& x : options.sources) topics.insert(x.topics.begin(), x.topics.end());
  std::string out;
  for (const auto& x : lint_routes(*options.routes, std::vector<std::string>(topics.begin(), topics.end()))) {
    const auto& rule = options.routes->rules[x.rule];
    out += file_name + ":" + std::to_string(rule.at.line) + ": " + rule.label + " " + x.what + "\n";
  }
  return out;
}

}  // namespace doorstep
