// SPDX-License-Identifier: Apache-2.0
// Rules that no event can match or that can deliver nothing. Says only what is certain: a rule without a finding may still never match. Pure, any thread.
#include "runtime/routes.hpp"

#include <algorithm>

namespace doorstep {

namespace {

using conditions = std::vector<route_condition>;

/// Whatever matches one of `b` (none: anything) matches one of `a`.
bool covers(const pattern_list& of_a, const pattern_list& of_b) {
  const auto &a = of_a.patterns, &b = of_b.patterns;
  if (a.empty()) return true;
  return !b.empty() && std::all_of(b.begin(), b.end(), [&](const segment_pattern& x) {
    return std::any_of(a.begin(), a.end(), [&](const segment_pattern& y) { return y.covers(x); });
  });
}

bool covers(const header_test& a, const header_test& b) {
  if (a.name != b.name) return false;
  if (a.values.empty()) return true;
  return !b.values.empty() && std::all_of(b.values.begin(), b.values.end(),
                                          [&](const auto& x) { return std::find(a.values.begin(), a.values.end(), x) != a.values.end(); });
}

bool covers(const std::optional<severity_test>& a, const std::optional<severity_test>& b) {
  if (!a) return true;
  if (!b) return false;
  for (int level = 1; level <= 21; level += 4)
    if (b->holds(level) && !a->holds(level)) return false;
  return true;
}

/// Each of the conditions of `a` follows from one of `b`.
bool covers(const conditions& a, const conditions& b) {
  return std::all_of(a.begin(), a.end(), [&](const route_condition& x) {
    return std::any_of(b.begin(), b.end(), [&](const route_condition& y) { return y.implies(x); });
  });
}

bool covers(const route_match& a, const route_match& b) {
  const bool headers = std::all_of(a.headers.begin(), a.headers.end(), [&](const header_test& x) {
    return std::any_of(b.headers.begin(), b.headers.end(), [&](const header_test& y) { return covers(x, y); });
  });
  return headers && covers(a.topics, b.topics) && covers(a.types, b.types) && covers(a.sources, b.sources) && covers(a.severity, b.severity) &&
         covers(a.where, b.where);
}

std::string contradiction(const conditions& where, const field_set& fields) {
  for (std::size_t i = 0; i < where.size(); ++i) {
    if (where[i].is_impossible(fields))
      return "can never match: " + where[i].text() + " asks for something else than a text, and an attribute is a text";
    for (std::size_t j = 0; j < i; ++j)
      if (where[i].contradicts(where[j])) return "can never match: " + where[j].text() + " and " + where[i].text() + " exclude each other";
  }
  return {};
}

std::string unknown_topics(const route_match& match, std::span<const std::string> topics) {
  const auto& patterns = match.topics.patterns;
  if (patterns.empty() || topics.empty()) return {};
  for (const auto& x : patterns)
    if (std::any_of(topics.begin(), topics.end(), [&](const std::string& topic) { return x.matches(topic); })) return {};
  return "can never match: no source reads a topic like " + patterns.front().text();
}

bool matches_no_level(const severity_test& x) {
  for (int level = 1; level <= 21; level += 4)
    if (x.holds(level)) return false;
  return true;
}

std::string never_delivers(const route& x) {
  const bool all = std::all_of(x.to.begin(), x.to.end(), [&](const route_recipient& to) {
    return std::any_of(x.except.begin(), x.except.end(), [&](const route_recipient& but) { return but.text == to.text; });
  });
  return all ? "delivers nothing: all it names is excepted" : "";
}

}  // namespace

std::vector<route_finding> lint_routes(const route_table& table, std::span<const std::string> topics) {
  std::vector<route_finding> out;
  for (std::size_t i = 0; i < table.rules.size(); ++i) {
    const auto& x = table.rules[i];
    auto what = contradiction(x.match.where, table.fields);
    if (what.empty() && x.match.severity && matches_no_level(*x.match.severity)) what = "can never match: no severity is " + x.match.severity->text;
    if (what.empty()) what = unknown_topics(x.match, topics);
    for (std::size_t j = 0; what.empty() && !table.all_matches && j < i; ++j)
      if (covers(table.rules[j].match, x.match)) what = "can never match: " + table.rules[j].label + " before it matches all that it would";
    if (what.empty()) what = never_delivers(x);
    if (!what.empty()) out.push_back({i, std::move(what)});
  }
  return out;
}

}  // namespace doorstep
