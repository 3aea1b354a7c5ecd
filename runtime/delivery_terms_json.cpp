// SPDX-License-Identifier: Apache-2.0
#include "runtime/delivery_terms_json.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <optional>
#include <utility>

namespace doorstep {

namespace {

namespace json = boost::json;
using ordering = delivery_terms::ordering;

constexpr std::uint8_t priority_max = 9;
constexpr std::array<std::pair<ordering, std::string_view>, 3> orders{
    {{ordering::window, "window"}, {ordering::strict, "strict"}, {ordering::latest, "latest"}}};

failure malformed(std::string_view field, std::string detail) { return {ec::malformed, std::move(detail), std::string(field)}; }

std::optional<ordering> order_named(std::string_view name) {
  for (const auto& [order, text] : orders)
    if (text == name) return order;
  return std::nullopt;
}

/// @returns nothing where it is no whole number between 0 and `most`.
std::optional<std::int64_t> number_in(const json::value& x, std::int64_t most) {
  const auto* const found = x.if_int64();
  if (found == nullptr || *found < 0 || *found > most) return std::nullopt;
  return *found;
}

std::optional<failure> read_member(std::string_view name, const json::value& x, delivery_terms& into) {
  if (name == "order") {
    const auto order = order_named(x.is_string() ? std::string_view(x.get_string()) : std::string_view());
    if (!order) return malformed(name, "is no order");
    into.order = *order;
  } else if (name == "key") {
    if (!x.is_string()) return malformed(name, "is no text");
    into.key = x.get_string();
  } else if (name == "ttl_ms") {
    const auto ms = number_in(x, INT64_MAX);
    if (!ms) return malformed(name, "is no duration");
    into.ttl = milliseconds{*ms};
  } else if (name == "max_attempts") {
    const auto most = number_in(x, UINT32_MAX);
    if (!most) return malformed(name, "is no count");
    into.max_attempts = static_cast<std::uint32_t>(*most);
  } else if (name == "priority") {
    const auto priority = number_in(x, priority_max);
    if (!priority) return malformed(name, "is not between 0 and 9");
    into.priority = static_cast<std::uint8_t>(*priority);
  }
  return std::nullopt;
}

}  // namespace

std::string to_json(const delivery_terms& x) {
  json::object out;
  for (const auto& [order, text] : orders)
    if (order == x.order) out["order"] = text;
  if (!x.key.empty()) out["key"] = x.key;
  if (x.ttl) out["ttl_ms"] = x.ttl->count();
  if (x.max_attempts) out["max_attempts"] = *x.max_attempts;
  if (x.priority != 0) out["priority"] = x.priority;
  return json::serialize(out);
}

std::string to_json(const std::shared_ptr<const delivery_terms>& x) { return x ? to_json(*x) : std::string(); }

result<std::shared_ptr<const delivery_terms>> delivery_terms_from_json(std::string_view text) {
  if (text.empty()) return std::shared_ptr<const delivery_terms>();
  boost::system::error_code error;
  const auto parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return malformed({}, "delivery terms that are no JSON object");
  auto out = std::make_shared<delivery_terms>();
  for (const auto& [name, value] : parsed.get_object())
    if (auto why = read_member(name, value, *out)) return std::move(*why);
  return std::shared_ptr<const delivery_terms>(std::move(out));
}

result<std::shared_ptr<const delivery_terms>> delivery_terms_of(const event& what) {
  const auto order = what.extension("deliveryorder"), key = what.extension("deliverykey"), priority = what.extension("deliverypriority");
  if (order.empty() && key.empty() && priority.empty()) return std::shared_ptr<const delivery_terms>();
  auto out = std::make_shared<delivery_terms>();
  if (!order.empty()) {
    const auto found = order_named(order);
    if (!found) return malformed("deliveryorder", R"(deliveryorder is none of "window", "strict", "latest")");
    out->order = *found;
  }
  out->key = key;
  if (!priority.empty()) {
    if (priority.size() != 1 || priority[0] < '0' || priority[0] > '9')
      return malformed("deliverypriority", "deliverypriority is not a number from 0 to 9");
    out->priority = static_cast<std::uint8_t>(priority[0] - '0');
  }
  return std::shared_ptr<const delivery_terms>(std::move(out));
}

}  // namespace doorstep
