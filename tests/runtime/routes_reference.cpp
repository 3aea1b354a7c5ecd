// SPDX-License-Identifier: Apache-2.0
// Random rules and events: what the compiled table delivers is what a reference gives that is as simple as can be: it parses the whole event into a tree,
// knows no index, and looks at every rule from the texts it was written with.
#include "tests/runtime/plain_rules.hpp"
#include "tests/runtime/routes_fixture.hpp"

#include <algorithm>
#include <map>
#include <optional>

namespace doorstep::test {
namespace {

struct plain_rule {
  std::vector<string> topics, types, headers;  ///< headers: name=value
  std::vector<plain_condition> where;
  std::vector<string> to, except;
};

/// @returns false where a recipient cannot be one.
bool add_id(const json::value& x, std::vector<string>& out) {
  string id;
  if (x.is_string()) {
    id = string(x.as_string().data(), x.as_string().size());
  } else if (x.is_int64() || x.is_uint64()) {
    id = json::serialize(x);
  } else {
    return false;
  }
  if (!address::user(id)) return false;
  out.push_back("user:" + id);
  return true;
}

bool named(const std::vector<string>& templates, const json::value& root, std::vector<string>& out) {
  for (const auto& x : templates) {
    const bool list = x.starts_with("users:");
    const auto place = x.substr(list ? 6 : 5);
    if (!place.starts_with("{")) {
      out.push_back("user:" + place);
      continue;
    }
    const auto found = at_pointer(root, place.substr(1, place.size() - 2));
    if (!found || found->is_null()) continue;
    if (list && found->is_array()) {
      for (const auto& one : found->as_array())
        if (!add_id(one, out)) return false;
    } else if (!add_id(*found, out)) {
      return false;
    }
  }
  return true;
}

/// The delivered addresses; none where the event is refused.
std::optional<std::vector<string>> delivered(const std::vector<plain_rule>& rules, bool all, const json::value& root, const string& type,
                                             const string& topic, const std::map<string, string>& headers) {
  std::vector<string> out;
  for (const auto& rule : rules) {
    const auto one_of = [](const std::vector<string>& patterns, const string& text) {
      return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const string& p) { return pattern_matches(p, text); });
    };
    if (!one_of(rule.types, type) || (!rule.topics.empty() && topic.empty()) || !one_of(rule.topics, topic)) continue;
    const bool has_headers = std::all_of(rule.headers.begin(), rule.headers.end(), [&](const string& x) {
      const auto found = headers.find(x.substr(0, x.find('=')));
      return found != headers.end() && found->second == x.substr(x.find('=') + 1);
    });
    if (!has_headers || !std::all_of(rule.where.begin(), rule.where.end(), [&](const auto& c) { return holds(c, root); })) continue;
    std::vector<string> to, except;
    if (!named(rule.to, root, to)) return std::nullopt;
    if (!to.empty() && !named(rule.except, root, except)) return std::nullopt;
    for (const auto& x : to)
      if (std::find(except.begin(), except.end(), x) == except.end() && std::find(out.begin(), out.end(), x) == out.end()) out.push_back(x);
    if (!all) break;
  }
  return out;
}

const std::vector<string> types{"a", "a.b", "a.c", "a.b.c", "b", "b.c.d"}, topics{"orders", "shop.orders", "shop.mail"};
const std::vector<string> pointers{"/data/n", "/data/s", "/data/o/n", "/data/o/list", "/data/list", "/data/list/0", "/data/x/y", "/data", "/subject"};
const std::vector<string> literals{"1", "2", "2.0", "-3", "1e3", "\"a\"", "\"b\"", "\"1\"", "true", "false", "null"};
const std::vector<string> values{"1",           "2",
                                 "2.5",         "-3",
                                 "1000",        "\"a\"",
                                 "\"b\"",       "\"\\u0061\"",
                                 "true",        "null",
                                 "[]",          "[1,2,3]",
                                 "{\"n\":1}",   "[\"a\",\"b b\"]",
                                 "\"\"",        "\"1\"",
                                 "\"a/\\\"b\"", "\"\\ud83d\\ude00\"",
                                 "[\"a\",[1]]", "\"a\\u0000\""};

plain_rule made_rule(dice& d) {
  plain_rule x;
  const std::vector<string> type_patterns{"a.b", "a.*", "*", "a.**", "**", "*.c.*", "b", "a"}, topic_patterns{"orders", "shop.*", "**", "shop.mail"};
  for (auto n = d.below(3); n > 0; --n) x.types.push_back(d.of(type_patterns));
  if (d.one_in(3)) x.topics.push_back(d.of(topic_patterns));
  if (d.one_in(6)) x.headers.push_back(d.of({"tenant=acme", "tenant=other", "region=eu"}));
  for (auto n = d.below(3); n > 0; --n) {
    const auto op = d.of({"==", "!=", "<", "<=", ">", ">=", "in", "present", "absent"});
    auto literal = d.of(literals);
    const bool ordering = op[0] == '<' || op[0] == '>';
    while (ordering && (literal == "true" || literal == "false" || literal == "null")) literal = d.of(literals);
    if (op == "in") literal = "[" + d.of(literals) + ", " + d.of(literals) + "]";
    x.where.push_back({d.of(pointers), op, literal});
  }
  const std::vector<string> addresses{"user:{/data/n}",  "user:{/data/s}", "users:{/data/list}", "users:{/data/o/list}", "user:ops",
                                      "user:{/subject}", "user:a"};
  for (auto n = 1 + d.below(3); n > 0; --n) x.to.push_back(d.of(addresses));
  for (auto n = d.below(2); n > 0; --n) x.except.push_back(d.of(addresses));
  return x;
}

string written(const plain_rule& x) {
  string out = "[[routes]]\nto = " + list(x.to) + "\n";
  if (!x.except.empty()) out += "except = " + list(x.except) + "\n";
  if (!x.types.empty()) out += "match.type = " + list(x.types) + "\n";
  if (!x.topics.empty()) out += "match.topic = " + list(x.topics) + "\n";
  for (const auto& h : x.headers) out += "match.header." + h.substr(0, h.find('=')) + " = " + quoted(h.substr(h.find('=') + 1)) + "\n";
  std::vector<string> where;
  for (const auto& c : x.where) where.push_back(written(c));
  if (!where.empty()) out += "match.where = " + list(where) + "\n";
  return out;
}

string made_data(dice& d) {
  string out = "{";
  for (const char* name : {"n", "s", "list"})
    if (!d.one_in(4)) out += (out.size() > 1 ? ", " : "") + quoted(name) + " : " + d.of(values);
  if (!d.one_in(3)) out += (out.size() > 1 ? "," : "") + string("\"o\":{\"n\":") + d.of(values) + ",\"list\":" + d.of(values) + "}";
  return d.one_in(10) ? d.of(values) : out + "}";
}

TEST(routes_against_a_reference, deliver_the_same_to_the_same_for_random_rules_and_events) {
  std::size_t hits = 0, refused = 0, several = 0;
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    dice d(seed);
    std::vector<plain_rule> rules;
    for (auto n = 1 + d.below(12); n > 0; --n) rules.push_back(made_rule(d));
    const bool all = d.one_in(2);
    string toml = all ? "[routing]\nmatch = \"all\"\n" : "";
    for (const auto& x : rules) toml += written(x);
    const auto table = table_of(toml);
    ASSERT_NE(table, nullptr) << "seed " << seed << "\n" << toml;
    const auto dead = lint_routes(*table, {});
    route_evaluator evaluator;
    for (int i = 0; i < 50; ++i) {
      const auto what = event_with(made_data(d), {}, d.of(types));
      what->subject = d.one_in(2) ? d.of({"a", "1", "sub ject"}) : "";
      const string topic = d.one_in(3) ? "" : d.of(topics);
      std::map<string, string> headers;
      if (d.one_in(2)) headers["tenant"] = d.of({"acme", "other"});
      if (d.one_in(3)) headers["region"] = "eu";
      std::vector<header_view> views;
      views.reserve(headers.size());
      for (const auto& [name, value] : headers) views.push_back({name, value});
      json::object root{{"data", json::parse(what->data)}};
      if (!what->subject.empty()) root["subject"] = what->subject;

      const auto wanted = delivered(rules, all, root, what->type, topic, headers);
      const auto got = evaluator.evaluate(*table, {what, topic, views});
      const auto context = "seed " + std::to_string(seed) + ", event " + std::to_string(i) + ", type " + what->type + ", topic " + topic + ", data " +
                           what->data + ", subject " + what->subject + "\n" + toml;
      ASSERT_EQ(wanted.has_value(), got.has_value()) << context << (got ? "" : to_string(got.error()));
      if (!wanted) {
        ++refused;
        EXPECT_EQ(got.error().code, ec::malformed);
        continue;
      }
      ASSERT_EQ(who(got), *wanted) << context;
      hits += wanted->empty() ? 0 : 1;
      several += wanted->size() > 1 ? 1 : 0;
      // What lint says can never match does not.
      for (const auto& finding : dead) {
        if (!finding.what.starts_with("can never")) continue;
        EXPECT_EQ(std::count(got->matched.begin(), got->matched.end(), finding.rule), 0) << finding.what << "\n" << context;
      }
    }
  }
  EXPECT_GT(hits, 1500U);
  EXPECT_GT(refused, 150U);
  EXPECT_GT(several, 300U);
}

}  // namespace
}  // namespace doorstep::test
