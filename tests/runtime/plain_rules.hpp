// SPDX-License-Identifier: Apache-2.0
// What rules mean, as simple as can be: for tests that hold the compiled table against it. Knows no index, and parses the whole event into a tree. And dice.
#pragma once

#include <boost/json.hpp>

#include <algorithm>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace doorstep::test {

namespace json = boost::json;
using std::string;

struct plain_condition {
  string pointer, op, literal;
};
inline std::vector<string> split(const string& text, char by) {
  std::vector<string> out;
  std::istringstream in(text);
  for (string x; std::getline(in, x, by);) out.push_back(x);
  return out;
}

inline bool pattern_matches(const string& pattern, const string& text) {
  const auto p = split(pattern, '.'), t = split(text, '.');
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] == "**") return t.size() > i;
    if (i >= t.size() || (p[i] != "*" && p[i] != t[i])) return false;
  }
  return p.size() == t.size();
}

inline std::optional<json::value> at_pointer(const json::value& root, const string& pointer) {
  json::value at = root;
  for (const auto& step : split(pointer.substr(1), '/')) {
    if (at.is_object()) {
      const auto* found = at.as_object().if_contains(step);
      if (found == nullptr) return std::nullopt;
      at = json::value(*found);
    } else if (at.is_array() && step.size() == 1 && step[0] >= '0' && step[0] <= '9' && at.as_array().size() > std::size_t(step[0] - '0')) {
      at = json::value(at.as_array()[std::size_t(step[0] - '0')]);
    } else {
      return std::nullopt;
    }
  }
  return at;
}

/// -1, 0, 1; none where the two cannot be compared.
inline std::optional<int> compared(const json::value& a, const json::value& b) {
  const auto sign = [](auto x, auto y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (a.is_number() && b.is_number()) return sign(a.to_number<double>(), b.to_number<double>());
  if (a.is_string() && b.is_string())
    return sign(string(a.as_string().data(), a.as_string().size()), string(b.as_string().data(), b.as_string().size()));
  if (a.kind() != b.kind()) return std::nullopt;
  return a == b ? std::optional(0) : std::nullopt;
}

inline bool holds(const plain_condition& c, const json::value& root) {
  const auto found = at_pointer(root, c.pointer);
  if (c.op == "absent") return !found || found->is_null();
  if (!found) return false;
  if (c.op == "present") return !found->is_null();
  const auto with = json::parse(c.literal);
  if (c.op == "in")
    return std::any_of(with.as_array().begin(), with.as_array().end(), [&](const json::value& x) { return compared(*found, x) == 0; });
  const auto order = compared(*found, with);
  if (c.op == "==") return order == 0;
  if (c.op == "!=") return order != 0;
  if (!order || !(found->is_number() || found->is_string())) return false;
  return c.op == "<" ? *order < 0 : c.op == "<=" ? *order <= 0 : c.op == ">" ? *order > 0 : *order >= 0;
}

class dice {
public:
  explicit dice(std::uint32_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  string of(const std::vector<string>& all) { return all[below(all.size())]; }

private:
  std::mt19937 random_;
};

inline string quoted(const string& x) { return json::serialize(json::string(x)); }
inline string list(const std::vector<string>& all) {
  string out;
  for (const auto& x : all) out += (out.empty() ? "" : ", ") + quoted(x);
  return "[" + out + "]";
}

/// `where` as it is written in a rule.
inline string written(const plain_condition& c) {
  return c.op == "present" ? c.pointer : c.op == "absent" ? "!" + c.pointer : c.pointer + " " + c.op + " " + c.literal;
}

}  // namespace doorstep::test
