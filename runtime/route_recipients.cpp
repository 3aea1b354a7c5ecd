// SPDX-License-Identifier: Apache-2.0
#include "runtime/route_recipients.hpp"

#include "runtime/json_text.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace doorstep {

namespace {

using problem = std::optional<failure>;
using kind = route_recipient::kind;

failure wrong(const std::string& label, const route_recipient& who, const std::string& what) {
  return {ec::malformed, label + ": " + what, who.text};
}

/// `text` is the id; of a channel too.
result<address> made_address(kind what, std::string_view id) {
  if (what == kind::user || what == kind::users) return address::user(id);
  if (what == kind::all) return address::all();
  return address::channel(what == kind::role ? "role" : what == kind::group ? "group" : "topic", id);
}

bool is_id(std::string_view token) { return token.front() == '"' || token.find_first_not_of("-0123456789") == std::string_view::npos; }

/// The one placeholder of `users:`; its list, each element between the texts around it.
problem add_list(const std::string& label, const route_recipient& who, field_values& values, std::vector<address>& to) {
  std::string before, after;
  const text_template::part* place = nullptr;
  for (const auto& x : who.id.parts()) {
    if (x.field) {
      place = &x;
    } else {
      (place == nullptr ? before : after) += x.text;
    }
  }
  const auto list = values[*place->field];
  const auto add = [&](const std::string& id) -> problem {
    auto made = address::user(before.empty() && after.empty() ? id : before + id + after);
    if (!made) return wrong(label, who, made.error().detail);
    to.push_back(std::move(*made));
    return std::nullopt;
  };
  switch (list.kind()) {
    case field_kind::missing:
    case field_kind::null: return place->otherwise ? add(*place->otherwise) : std::nullopt;
    case field_kind::text:
    case field_kind::number:
      return !list.attribute && !is_id(list.token) ? problem(wrong(label, who, "a recipient is neither a string nor a whole number"))
                                                   : add(list.text());
    case field_kind::list: break;
    default: return wrong(label, who, "is " + std::string(name(list.kind())) + ", not a list of recipients");
  }
  for (json_reader elements(list.token); elements.next();) {
    if (!is_id(elements.value())) return wrong(label, who, "a recipient is neither a string nor a whole number");
    if (auto bad = add(field_value{elements.value()}.text())) return bad;
  }
  return std::nullopt;
}

problem add_one(const std::string& label, const route_recipient& who, field_values& values, std::vector<address>& to) {
  for (const auto& x : who.id.parts()) {
    if (!x.field) continue;
    const auto& value = values[*x.field];
    switch (value.kind()) {
      case field_kind::list: return wrong(label, who, "is a list of recipients; for those write users: instead of user:");
      case field_kind::boolean:
      case field_kind::object: return wrong(label, who, "a recipient is neither a string nor a whole number");
      case field_kind::number:
        if (!is_id(value.token)) return wrong(label, who, "a recipient is neither a string nor a whole number");
        break;
      default: break;
    }
  }
  std::string id;
  if (!who.id.append_to(id, values)) return std::nullopt;  // what is missing names nobody
  auto made = made_address(who.what, id);
  if (!made) return wrong(label, who, made.error().detail);
  to.push_back(std::move(*made));
  return std::nullopt;
}

problem add_recipients(const std::string& label, const std::vector<route_recipient>& all, const route_input& x, field_values& values,
                       std::vector<address>& to) {
  for (const auto& who : all) {
    if (who.what == kind::named_by_event) {
      auto named = named_recipients(*x.what, x.record, x.source);
      if (!named) return failure{ec::malformed, label + ": " + named.error().detail, named.error().field};
      std::move(named->begin(), named->end(), std::back_inserter(to));
    } else if (auto bad = who.what == kind::users ? add_list(label, who, values, to) : add_one(label, who, values, to)) {
      return bad;
    }
  }
  return std::nullopt;
}

void drop(std::vector<address>& from, const std::vector<address>& those) {
  if (those.empty() || from.empty()) return;
  const std::unordered_set<address> gone(those.begin(), those.end());
  std::erase_if(from, [&](const address& x) { return gone.contains(x); });
}

/// So few are compared with each other, more by hash.
constexpr std::size_t few = 16;

/// No address twice, the first stays.
void keep_first(std::vector<route_delivery>& all) {
  if (all.size() < 2) return;
  if (all.size() <= few) {
    for (auto x = all.begin() + 1; x != all.end();)
      x = std::any_of(all.begin(), x, [&](const auto& y) { return y.to == x->to; }) ? all.erase(x) : x + 1;
    return;
  }
  std::unordered_set<std::string_view> seen;
  std::vector<bool> again(all.size());
  bool any = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (seen.insert(all[i].to.text()).second) continue;
    again[i] = true;
    any = true;
  }
  if (!any) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (again[i]) continue;
    if (kept != i) all[kept] = std::move(all[i]);
    ++kept;
  }
  all.resize(kept);
}

/// An extension of the event, replaced where it has one of that name.
void put_extension(event& x, std::string_view name, std::string text) {
  const auto found = std::find_if(x.extensions.begin(), x.extensions.end(), [&](const auto& known) { return known.first == name; });
  if (found != x.extensions.end()) {
    if (text.empty())
      x.extensions.erase(found);
    else
      found->second = std::move(text);
  } else if (!text.empty()) {
    x.extensions.emplace_back(name, std::move(text));
  }
}

std::shared_ptr<const event> rendered(const rendering& how, const route_table& table, const event& what, field_values& values) {
  auto out = std::make_shared<event>(what);
  const auto put = [&](std::string_view name, const std::optional<text_template>& text) {
    if (!text) return;
    std::string made;
    text->append_to(made, values, &how.otherwise);
    put_extension(*out, name, attribute_text(std::move(made), table.text_bytes_max));
  };
  put("title", how.title);
  put("body", how.body);
  put("link", how.link);
  put("icon", how.icon);
  if (how.data == rendering::data_part::whole) return out;
  out->data_is_base64 = false;
  out->data.clear();
  if (how.data == rendering::data_part::none) return out;
  out->data_content_type = "application/json";
  out->data = "{";
  for (const auto& [name, field] : how.members) {
    const auto value = values[field];
    if (value.kind() == field_kind::missing) continue;
    if (out->data.size() > 1) out->data += ',';
    append_json_string(out->data, name);
    out->data += ':';
    if (value.attribute)
      append_json_string(out->data, value.token);
    else
      out->data += value.token;
  }
  out->data += '}';
  return out;
}

/// A part of the key that the event does not have: then it is not ordered by a key, rather than with others that have none either.
std::shared_ptr<const delivery_terms> terms_of(const route& rule, field_values& values) {
  if (!rule.key) return rule.terms;
  auto out = std::make_shared<delivery_terms>(*rule.terms);
  if (rule.key->append_to(out->key, values)) return out;
  out->key.clear();
  if (out->order == delivery_terms::ordering::latest) out->order = delivery_terms::ordering::configured;
  return out;
}

problem check_count(const route_table& table, route_outcome& out) {
  if (out.to.size() <= table.recipients_max) return std::nullopt;
  keep_first(out.to);
  if (out.to.size() <= table.recipients_max) return std::nullopt;
  return failure{
      ec::malformed,
      "the event names " + std::to_string(out.to.size()) + " recipients, over routing.recipients_max (" + std::to_string(table.recipients_max) + ")",
      {}};
}

}  // namespace

problem add_deliveries(const route_table& table, const route& rule, const route_input& x, field_values& values, route_outcome& out) {
  std::vector<address> to, except;
  to.reserve(few);
  if (auto bad = add_recipients(rule.label, rule.to, x, values, to)) return bad;
  if (to.empty()) return std::nullopt;
  if (auto bad = add_recipients(rule.label, rule.except, x, values, except)) return bad;
  drop(to, except);
  if (to.empty()) return std::nullopt;
  const auto terms = terms_of(rule, values);
  const auto first = static_cast<std::uint32_t>(out.variants.size()), number = static_cast<std::uint32_t>(&rule - table.rules.data());
  out.variants.push_back({rule.render ? rendered(*rule.render, table, *x.what, values) : x.what, terms, number});
  const auto variant_of = [&](const address& who) {
    if (rule.role_renders.empty() || who.kind() != "role") return first;
    for (std::size_t i = 0; i < rule.role_renders.size(); ++i) {
      if (who.id() != rule.role_renders[i].first) continue;
      out.variants.push_back({rendered(rule.role_renders[i].second, table, *x.what, values), terms, number});
      return static_cast<std::uint32_t>(out.variants.size() - 1);
    }
    return first;
  };
  out.to.reserve(out.to.size() + to.size());
  for (auto& who : to) {
    const auto variant = variant_of(who);
    out.to.push_back({std::move(who), variant});
  }
  keep_first(out.to);
  return check_count(table, out);
}

problem add_fallback(const route_table& table, const route_input& x, field_values& values, route_outcome& out) {
  std::vector<address> to;
  if (auto bad = add_recipients("routing.fallback", table.fallback, x, values, to)) return bad;
  out.variants.push_back({x.what, nullptr});
  for (auto& who : to) out.to.push_back({std::move(who), 0});
  keep_first(out.to);
  return check_count(table, out);
}

}  // namespace doorstep
