// SPDX-License-Identifier: Apache-2.0
#include "runtime/route_condition.hpp"

#include "runtime/json_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;
using comparison = route_condition::comparison;

struct symbol {
  sv text;
  comparison how;
};
constexpr std::array<symbol, 6> symbols{{{"==", comparison::equal},
                                         {"!=", comparison::unequal},
                                         {"<=", comparison::at_most},
                                         {">=", comparison::at_least},
                                         {"<", comparison::less},
                                         {">", comparison::more}}};

sv skip_blanks(sv x) { return x.substr(std::min(x.find_first_not_of(' '), x.size())); }

/// `'paid'` is easier to write inside a TOML text than `"paid"`; both are strings.
std::string with_double_quotes(sv text) {
  std::string out;
  char inside = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside == '\'' && c == '"') {
      out += "\\\"";
    } else if (c == '\\' && inside != '\0' && i + 1 < text.size()) {
      if (text[i + 1] == '\'') {
        out += '\'';
      } else {
        out.append(text.substr(i, 2));
      }
      ++i;
    } else if ((c == '\'' || c == '"') && (inside == '\0' || inside == c)) {
      inside = inside == '\0' ? c : '\0';
      out += '"';
    } else {
      out += c;
    }
  }
  return out;
}

json_literal literal_of(sv token) {
  json_literal out;
  const field_value value{token};
  out.kind = value.kind();
  out.text = value.text();
  if (out.kind == field_kind::number) out.number = json_number::of(token);
  return out;
}

template <class T>
bool ordered(comparison how, const T& a, const T& b) {
  switch (how) {
    case comparison::less: return a < b;
    case comparison::at_most: return !(b < a);
    case comparison::more: return b < a;
    default: return !(a < b);
  }
}

bool is_lower_bound(comparison x) { return x == comparison::more || x == comparison::at_least; }

}  // namespace

parsed<route_condition> route_condition::parse(sv text, field_set& fields) {
  route_condition out;
  out.text_ = text;
  auto rest = skip_blanks(text);
  const auto here = [&] { return static_cast<std::size_t>(rest.data() - text.data()); };
  const bool negated = rest.starts_with('!');
  if (negated) rest.remove_prefix(1);
  const auto pointer = rest.substr(0, std::min(rest.find(' '), rest.size()));
  auto field = fields.add(pointer);
  if (!field) return syntax_fault{std::move(field.error().what), here() + field.error().at};
  out.field_ = *field;
  out.pointer_ = pointer;
  rest = skip_blanks(rest.substr(pointer.size()));
  if (rest.empty()) {
    out.how_ = negated ? comparison::absent : comparison::present;
    return out;
  }
  if (negated) return syntax_fault{"\"!\" before a pointer says that it is missing; nothing can follow", here()};
  const auto* known = std::find_if(symbols.begin(), symbols.end(), [&](const symbol& x) { return rest.starts_with(x.text); });
  if (known != symbols.end()) {
    out.how_ = known->how;
    rest = skip_blanks(rest.substr(known->text.size()));
  } else if (rest.starts_with("in ") || rest.starts_with("in[")) {
    out.how_ = comparison::one_of;
    rest = skip_blanks(rest.substr(2));
  } else {
    return syntax_fault{"after the pointer comes ==, !=, <, <=, >, >= or in", here()};
  }
  const auto json = with_double_quotes(rest);
  if (!fault_of_json(json).empty()) return syntax_fault{"is not a number, a string in quotes, true, false or null", here()};
  const auto value = trim_json(json);
  if (out.how_ == comparison::one_of) {
    if (value.front() != '[') return syntax_fault{"after \"in\" comes a list such as [\"a\", \"b\"]", here()};
    for (json_reader items(value); items.next();) out.with_.push_back(literal_of(items.value()));
    if (out.with_.empty()) return syntax_fault{"the list is empty", here()};
  } else {
    out.with_.push_back(literal_of(value));
  }
  for (const auto& x : out.with_) {
    if (x.kind == field_kind::list || x.kind == field_kind::object) return syntax_fault{"lists and objects cannot be compared", here()};
    if (out.is_ordering() && x.kind != field_kind::number && x.kind != field_kind::text)
      return syntax_fault{"only numbers and strings have an order", here()};
  }
  return out;
}

bool route_condition::holds(field_values& of) const {
  const auto& x = of[field_];
  return holds(x, x.kind() == field_kind::number ? &of.number(field_) : nullptr);
}

bool route_condition::holds(const field_value& x, const json_number* known) const {
  const auto kind = x.kind();
  if (how_ == comparison::absent) return kind == field_kind::missing || kind == field_kind::null;
  if (kind == field_kind::missing) return false;
  if (how_ == comparison::present) return kind != field_kind::null;
  const auto number = [&] { return known != nullptr ? *known : json_number::of(x.token); };
  const auto equals = [&](const json_literal& with) {
    if (kind != with.kind) return false;
    if (kind == field_kind::text) return x.is_text(with.text);
    return kind == field_kind::number ? number() == with.number : x.token == with.text;
  };
  switch (how_) {
    case comparison::equal: return equals(with_.front());
    case comparison::unequal: return !equals(with_.front());
    case comparison::one_of: return std::any_of(with_.begin(), with_.end(), equals);
    default: break;
  }
  if (kind != with_.front().kind) return false;
  return kind == field_kind::number ? ordered(how_, number(), with_.front().number) : ordered(how_, x.text(), with_.front().text);
}

std::string route_condition::why_not(const field_value& x) const {
  const auto kind = x.kind();
  if (kind == field_kind::missing) return pointer_ + " is missing";
  constexpr std::size_t shown = 60;
  std::string text(x.token.substr(0, shown));
  if (x.token.size() > shown) text += "...";
  std::string out = pointer_ + " is " + (x.attribute ? '"' + text + '"' : text);
  const bool other_kind = !with_.empty() && std::none_of(with_.begin(), with_.end(), [&](const json_literal& with) { return with.kind == kind; });
  if (other_kind) out.append(", ").append(name(kind)).append(", not ").append(name(with_.front().kind));
  return out;
}

bool route_condition::admits(const json_literal& x) const {
  std::string token = x.text;
  if (x.kind == field_kind::text) {
    token.clear();
    append_json_string(token, x.text);
  }
  return holds({token});
}

bool route_condition::contradicts(const route_condition& other) const {
  if (field_ != other.field_) return false;
  if (how_ == comparison::absent || other.how_ == comparison::absent) {
    const auto& second = how_ == comparison::absent ? other : *this;
    // null is there to be compared with, and counts as absent.
    return second.how_ != comparison::absent && !second.admits(json_literal{field_kind::null, "null", {}});
  }
  const auto fixed = [](const route_condition& x) { return x.how_ == comparison::equal || x.how_ == comparison::one_of; };
  const auto none_admitted = [](const route_condition& values, const route_condition& by) {
    return std::none_of(values.with_.begin(), values.with_.end(), [&](const json_literal& x) { return by.admits(x); });
  };
  if (fixed(*this)) return none_admitted(*this, other);
  if (fixed(other)) return none_admitted(other, *this);
  if (!is_ordering() || !other.is_ordering()) return false;
  const auto &a = with_.front(), &b = other.with_.front();
  if (a.kind != b.kind) return true;
  if (is_lower_bound(how_) == is_lower_bound(other.how_)) return false;
  const auto& lower = is_lower_bound(how_) ? *this : other;
  const auto& upper = is_lower_bound(how_) ? other : *this;
  const bool closed = lower.how_ == comparison::at_least && upper.how_ == comparison::at_most;
  const auto empty = [&](const auto& from, const auto& to) { return to < from || (!closed && !(from < to)); };
  return a.kind == field_kind::number ? empty(lower.with_.front().number, upper.with_.front().number)
                                      : empty(lower.with_.front().text, upper.with_.front().text);
}

bool route_condition::implies(const route_condition& other) const {
  if (field_ != other.field_) return false;
  if (how_ == other.how_ && std::equal(with_.begin(), with_.end(), other.with_.begin(), other.with_.end(),
                                       [](const auto& a, const auto& b) { return a.kind == b.kind && a.text == b.text; }))
    return true;
  if (how_ == comparison::equal || how_ == comparison::one_of)
    return std::all_of(with_.begin(), with_.end(), [&](const json_literal& x) { return other.admits(x); });
  if (other.how_ == comparison::present) return is_ordering();
  if (!is_ordering() || with_.front().kind != (other.with_.empty() ? field_kind::missing : other.with_.front().kind)) return false;
  if (!other.is_ordering() || is_lower_bound(how_) != is_lower_bound(other.how_)) return false;
  // x > 5 implies x > 3 and x >= 5; x >= 5 implies x > 3, not x > 5.
  const auto &mine = with_.front(), &its = other.with_.front();
  const auto within = [&](const auto& a, const auto& b) {
    if (is_lower_bound(how_) ? b < a : a < b) return true;
    const bool open = other.how_ == comparison::more || other.how_ == comparison::less;
    const bool mine_open = how_ == comparison::more || how_ == comparison::less;
    return !(a < b) && !(b < a) && (!open || mine_open);
  };
  return mine.kind == field_kind::number ? within(mine.number, its.number) : within(mine.text, its.text);
}

bool route_condition::is_impossible(const field_set& fields) const {
  if (!fields.is_attribute(field_) || with_.empty() || how_ == comparison::unequal) return false;
  return std::none_of(with_.begin(), with_.end(), [](const json_literal& x) { return x.kind == field_kind::text; });
}

}  // namespace doorstep
