// SPDX-License-Identifier: Apache-2.0
// Which rules an event matches. Hot: the index leaves few rules to look at, and the event's JSON is read once for all of them.
#include "runtime/routes.hpp"

#include "runtime/number_text.hpp"
#include "runtime/route_recipients.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_name(sv text, sv lower_name) {
  return text.size() == lower_name.size() && std::equal(text.begin(), text.end(), lower_name.begin(), [](char a, char b) { return lower(a) == b; });
}

bool any_matches(const pattern_list& list, sv text) {
  const auto& patterns = list.patterns;
  return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const segment_pattern& x) { return x.matches(text); });
}

bool all_exact(const pattern_list& list) {
  const auto& patterns = list.patterns;
  return !patterns.empty() && std::all_of(patterns.begin(), patterns.end(), [](const segment_pattern& x) { return x.is_exact(); });
}

bool holds(const header_test& test, std::span<const header_view> headers) {
  return std::any_of(headers.begin(), headers.end(), [&](const header_view& x) {
    return is_name(x.name, test.name) && (test.values.empty() || std::find(test.values.begin(), test.values.end(), x.value) != test.values.end());
  });
}

constexpr std::array<std::pair<sv, int>, 8> levels{
    {{"trace", 1}, {"debug", 5}, {"info", 9}, {"warn", 13}, {"warning", 13}, {"error", 17}, {"fatal", 21}, {"critical", 21}}};

/// A level's own numbers are four: warn is 13 to 16.
int level_of(int number) { return (number - 1) / 4 * 4 + 1; }

std::string patterns_text(const pattern_list& list) {
  std::string out;
  for (const auto& x : list.patterns) out.append(out.empty() ? "" : " or ").append(x.text());
  return out;
}

std::string shown(sv text) { return text.empty() ? "missing" : "\"" + std::string(text) + "\""; }

}  // namespace

int severity_of(const event& x) {
  if (const auto text = x.extension("severitynumber"); !text.empty()) {
    const auto number = number_in<int>(text);
    if (number && *number >= 1 && *number <= 24) return *number;
  }
  auto text = x.extension("severitytext");
  if (text.empty()) text = x.extension("severity");
  for (const auto& [name, number] : levels)
    if (is_name(text, name)) return number;
  return 0;
}

bool severity_test::holds(int of_event) const {
  using c = route_condition::comparison;
  if (of_event == 0) return false;
  const int is = level_of(of_event);
  switch (how) {
    case c::equal: return is == level;
    case c::unequal: return is != level;
    case c::less: return is < level;
    case c::at_most: return is <= level;
    case c::more: return is > level;
    default: return is >= level;
  }
}

void route_table::make_index() {
  std::map<std::string, std::uint32_t> numbers;
  const auto give_number = [&](pattern_list& list, char what) {
    if (list.patterns.empty()) return;
    std::string key(1, what);
    for (const auto& x : list.patterns) key.append(1, '\0').append(x.text());
    list.number = numbers.try_emplace(std::move(key), static_cast<std::uint32_t>(numbers.size())).first->second;
  };
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    auto& match = rules[i].match;
    give_number(match.topics, 't');
    give_number(match.types, 'y');
    give_number(match.sources, 's');
    reads_headers_ = reads_headers_ || !match.headers.empty();
    const bool by_type = all_exact(match.types), by_topic = !by_type && all_exact(match.topics);
    if (!by_type && !by_topic) others_.push_back(i);
    if (by_type)
      for (const auto& x : match.types.patterns)
        if (auto& list = by_type_[x.text()]; list.empty() || list.back() != i) list.push_back(i);
    if (by_topic)
      for (const auto& x : match.topics.patterns)
        if (auto& list = by_topic_[x.text()]; list.empty() || list.back() != i) list.push_back(i);
  }
  pattern_lists_ = numbers.size();
}

route_table::channel_kinds route_table::channels() const {
  using kind = route_recipient::kind;
  channel_kinds out;
  const auto note = [&](const std::vector<route_recipient>& to) {
    for (const auto& x : to) {
      out.role |= x.what == kind::role;
      out.group |= x.what == kind::group;
      out.topic |= x.what == kind::topic;
      out.all |= x.what == kind::all;
    }
  };
  for (const auto& rule : rules) note(rule.to);
  note(fallback);
  return out;
}

void route_table::candidates(sv type, sv topic, std::vector<std::uint32_t>& out) const {
  out.insert(out.end(), others_.begin(), others_.end());
  const auto merge = [&](const index& by, sv key) {
    const auto found = by.find(key);
    if (found == by.end()) return;
    const auto middle = static_cast<std::ptrdiff_t>(out.size());
    out.insert(out.end(), found->second.begin(), found->second.end());
    std::inplace_merge(out.begin(), out.begin() + middle, out.end());
  };
  merge(by_type_, type);
  if (!topic.empty()) merge(by_topic_, topic);
}

bool route_evaluator::matches(const pattern_list& list, sv text) {
  if (list.number == pattern_list::no_number) return true;
  auto& so_far = lists_[list.number];
  if (so_far == known::not_yet) so_far = any_matches(list, text) ? known::yes : known::no;
  return so_far == known::yes;
}

bool route_evaluator::matches(const route& rule, const route_input& x) {
  const auto& match = rule.match;
  if (!matches(match.types, x.what->type)) return false;
  if (!match.topics.patterns.empty() && (x.topic.empty() || !matches(match.topics, x.topic))) return false;
  if (!matches(match.sources, x.what->source)) return false;
  if (match.severity && !match.severity->holds(severity_of(*x.what))) return false;
  for (const auto& test : match.headers)
    if (!holds(test, x.headers)) return false;
  for (const auto& condition : match.where)
    if (!condition.holds(values_)) return false;
  return true;
}

result<route_outcome> route_evaluator::evaluate(const route_table& table, const route_input& x) {
  route_outcome out;
  values_.of(table.fields, *x.what);
  lists_.assign(table.pattern_lists(), known::not_yet);
  candidates_.clear();
  table.candidates(x.what->type, x.topic, candidates_);
  for (const auto number : candidates_) {
    const auto& rule = table.rules[number];
    if (!matches(rule, x)) continue;
    out.matched.push_back(number);
    if (auto bad = add_deliveries(table, rule, x, values_, out)) return std::move(*bad);
    if (!table.all_matches) break;
  }
  if (out.unmatched() && table.unmatched == route_table::leftover::fallback)
    if (auto bad = add_fallback(table, x, values_, out)) return std::move(*bad);
  return out;
}

std::string route_evaluator::why_not(const route& rule, const route_input& x) {
  const auto& match = rule.match;
  if (!any_matches(match.types, x.what->type)) return "type is " + shown(x.what->type) + ", not " + patterns_text(match.types);
  if (!match.topics.patterns.empty() && (x.topic.empty() || !any_matches(match.topics, x.topic)))
    return "topic is " + shown(x.topic) + ", not " + patterns_text(match.topics);
  if (!any_matches(match.sources, x.what->source)) return "source is " + shown(x.what->source) + ", not " + patterns_text(match.sources);
  if (match.severity && !match.severity->holds(severity_of(*x.what))) {
    const int number = severity_of(*x.what);
    return "severity is " + (number == 0 ? "missing" : std::to_string(number)) + ", not " + match.severity->text;
  }
  for (const auto& test : match.headers) {
    if (holds(test, x.headers)) continue;
    const auto found = std::find_if(x.headers.begin(), x.headers.end(), [&](const header_view& h) { return is_name(h.name, test.name); });
    return "header " + test.name + " is " + (found == x.headers.end() ? "missing" : shown(found->value));
  }
  for (const auto& condition : match.where)
    if (!condition.holds(values_[condition.field()])) return condition.text() + ": " + condition.why_not(values_[condition.field()]);
  return {};
}

std::vector<route_verdict> route_evaluator::explain(const route_table& table, const route_input& x) {
  std::vector<route_verdict> out;
  values_.of(table.fields, *x.what);
  const route* before = nullptr;
  for (const auto& rule : table.rules) {
    route_verdict verdict;
    verdict.why = why_not(rule, x);
    verdict.matches = verdict.why.empty();
    verdict.reached = before == nullptr || table.all_matches;
    if (verdict.matches && !verdict.reached) {
      verdict.why = "matches, but " + before->label + " did before it, and routing.match is \"first\"";
    } else if (verdict.matches) {
      route_outcome named;
      const auto bad = add_deliveries(table, rule, x, values_, named);
      verdict.why = bad ? to_string(*bad) : named.to.empty() ? "names nobody" : "names " + std::to_string(named.to.size());
      before = &rule;
    }
    out.push_back(std::move(verdict));
  }
  return out;
}

}  // namespace doorstep
