// SPDX-License-Identifier: Apache-2.0
// Hot: of an event's JSON only what some pointer leads into is looked at, the rest is skipped. Pure, any thread.
#include "runtime/event_fields.hpp"

#include "runtime/json_text.hpp"
#include "runtime/number_text.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;

/// An attribute by its CloudEvents name; a null view where the event has none.
sv attribute_of(const event& x, sv name) {
  const auto present = [](const std::string& text) { return text.empty() ? sv() : sv(text); };
  if (name == "id") return present(x.id);
  if (name == "source") return present(x.source);
  if (name == "type") return present(x.type);
  if (name == "subject") return present(x.subject);
  if (name == "time") return present(x.time);
  if (name == "datacontenttype") return present(x.data_content_type);
  if (name == "dataschema") return present(x.data_schema);
  for (const auto& [key, value] : x.extensions)
    if (key == name) return value;
  return {};
}

sv bare(sv token) { return token.substr(1, token.size() - 2); }
bool has_escape(sv token) { return token.find('\\') != sv::npos; }

}  // namespace

sv name(field_kind x) {
  switch (x) {
    case field_kind::missing: return "missing";
    case field_kind::null: return "null";
    case field_kind::boolean: return "true or false";
    case field_kind::number: return "a number";
    case field_kind::text: return "a string";
    case field_kind::list: return "a list";
    case field_kind::object: return "an object";
  }
  return "";
}

field_kind field_value::kind() const {
  if (token.data() == nullptr) return field_kind::missing;
  if (attribute) return field_kind::text;
  switch (token.front()) {
    case '"': return field_kind::text;
    case '{': return field_kind::object;
    case '[': return field_kind::list;
    case 'n': return field_kind::null;
    case 't':
    case 'f': return field_kind::boolean;
    default: return field_kind::number;
  }
}

std::string field_value::text() const { return !attribute && token.starts_with('"') ? json_string_value(token) : std::string(token); }

bool field_value::is_text(sv x) const {
  if (attribute) return token == x;
  if (!token.starts_with('"')) return false;
  return has_escape(token) ? json_string_value(token) == x : bare(token) == x;
}

json_number json_number::of(sv token) {
  json_number out;
  const auto integer = number_in<std::int64_t>(token);
  out.whole = integer.has_value();
  out.integer = integer.value_or(0);
  if (integer) {
    out.real = static_cast<double>(*integer);
  } else if (const auto real = number_in<double>(token)) {
    out.real = *real;
  } else if (token.find("e-") == sv::npos && token.find("E-") == sv::npos) {
    out.real = token.starts_with('-') ? -HUGE_VAL : HUGE_VAL;  // 1e999; what is too small to tell from zero is zero
  }
  return out;
}

std::uint32_t field_set::below(std::uint32_t node, std::string key) {
  auto& steps = nodes_[node].steps;
  const auto place = std::lower_bound(steps.begin(), steps.end(), key, [](const step& a, const std::string& b) { return a.key < b; });
  if (place != steps.end() && place->key == key) return place->node;
  const auto made = static_cast<std::uint32_t>(nodes_.size());
  steps.insert(place, {std::move(key), made});
  nodes_.emplace_back();
  return made;
}

parsed<field_id> field_set::add(sv pointer) {
  if (const auto known = std::find(pointers_.begin(), pointers_.end(), pointer); known != pointers_.end())
    return static_cast<field_id>(known - pointers_.begin());
  if (!pointer.starts_with('/')) return syntax_fault{"a JSON Pointer (RFC 6901) begins with \"/\", such as /data/buyerId", 0};
  std::vector<std::string> steps;
  for (std::size_t at = 0; at < pointer.size(); ++at) {
    const char c = pointer[at];
    if (c == '/') {
      steps.emplace_back();
    } else if (c != '~') {
      steps.back() += c;
    } else if (at + 1 < pointer.size() && (pointer[at + 1] == '0' || pointer[at + 1] == '1')) {
      steps.back() += pointer[++at] == '0' ? '~' : '/';
    } else {
      return syntax_fault{"in a JSON Pointer (RFC 6901) \"~\" is written \"~0\" and \"/\" in a name \"~1\"", at};
    }
  }
  const auto id = static_cast<field_id>(pointers_.size());
  if (steps.front() == "data") {
    std::uint32_t at = 0;
    for (std::size_t i = 1; i < steps.size(); ++i) at = below(at, std::move(steps[i]));
    nodes_[at].here = id;
    attributes_.emplace_back();
  } else {
    const bool good = !steps.front().empty() && std::all_of(steps.front().begin(), steps.front().end(),
                                                            [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
    if (!good) return syntax_fault{"a pointer leads into /data, or to an attribute of the event such as /subject", 1};
    if (steps.size() > 1)
      return syntax_fault{"\"" + steps.front() + "\" is an attribute, a text: there is nothing below it", steps.front().size() + 1};
    attributes_.push_back(std::move(steps.front()));
  }
  pointers_.emplace_back(pointer);
  return id;
}

void field_values::of(const field_set& which, const event& what) {
  which_ = &which;
  what_ = &what;
  is_read_ = false;
}

const field_value& field_values::operator[](field_id x) {
  if (!is_read_) read();
  return values_[x];
}

const json_number& field_values::number(field_id x) {
  auto& known = numbers_[x];
  if (!known) known = json_number::of(values_[x].token);
  return *known;
}

void field_values::read() {
  is_read_ = true;
  values_.assign(which_->size(), {});
  numbers_.assign(which_->size(), std::nullopt);
  seen_.assign(which_->nodes_.size(), false);
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (const auto& attribute = which_->attributes_[i]; !attribute.empty()) values_[i] = {attribute_of(*what_, attribute), true};
  if (!what_->data.empty() && !what_->data_is_base64) walk(0, what_->data);
}

void field_values::forget(std::uint32_t at) {
  const auto& node = which_->nodes_[at];
  if (node.here != field_set::none) values_[node.here] = {};
  for (const auto& x : node.steps) forget(x.node);
}

void field_values::walk(std::uint32_t at, sv value) {
  const auto& node = which_->nodes_[at];
  if (node.here != field_set::none) values_[node.here].token = value;
  if (node.steps.empty() || (value.front() != '{' && value.front() != '[')) return;
  const auto enter = [&](sv key, sv inner) {
    const auto found = std::lower_bound(node.steps.begin(), node.steps.end(), key, [](const field_set::step& a, sv b) { return a.key < b; });
    if (found == node.steps.end() || found->key != key) return;
    // Of members with one name the last counts, also where it has less in it than the first.
    if (seen_[found->node]) forget(found->node);
    seen_[found->node] = true;
    walk(found->node, inner);
  };
  json_reader inside(value);
  if (value.front() == '{') {
    while (inside.next()) has_escape(inside.key_token()) ? enter(inside.key(), inside.value()) : enter(bare(inside.key_token()), inside.value());
    return;
  }
  for (std::size_t index = 0; inside.next(); ++index) enter(std::to_string(index), inside.value());
}

}  // namespace doorstep
