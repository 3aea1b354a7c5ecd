// SPDX-License-Identifier: Apache-2.0
// The JSON event format 1.0.2: what structured mode and batches carry, and the value of our own log records. Data stays the text that came. Pure, any thread.
#include "runtime/event.hpp"

#include "runtime/digest.hpp"
#include "runtime/event_rules.hpp"
#include "runtime/json_text.hpp"

#include <utility>

namespace doorstep {

namespace {

failure wrong(std::string field, std::string detail) { return malformed_event(std::move(field), std::move(detail)); }

void append_member(std::string& out, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  out.append(",\"").append(name).append("\":");
  append_json_string(out, text);
}

bool is_integer(std::string_view token) {
  if (token.starts_with('-')) token.remove_prefix(1);
  return !token.empty() && token.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The canonical text of an attribute's JSON value (section 2.2: string, boolean or integer). `touser` may also be an array, kept as JSON text.
std::optional<std::string> attribute_text(std::string_view name, std::string_view value) {
  if (value.front() == '"') return json_string_value(value);
  if (value == "true" || value == "false" || is_integer(value)) return std::string(value);
  if (name == "touser" && value.front() == '[') return one_line_json(value);
  return std::nullopt;
}

std::optional<failure> take_base64(event& x, std::string_view value) {
  if (value.front() != '"') return wrong("data_base64", "data_base64 is not a string");
  const std::string text = json_string_value(value);  // producers may write / as \/
  if (!base64_decode(text)) return wrong("data_base64", "data_base64 is not base 64 (RFC 4648, section 4)");
  x.data.append(1, '"').append(text).append(1, '"');
  x.data_is_base64 = true;
  return std::nullopt;
}

/// @param text a value out of valid JSON, trimmed.
result<event> event_from_valid(std::string_view text) {
  if (text.front() != '{') return wrong({}, "an event is a JSON object");
  event_builder builder;
  std::optional<std::string_view> data, data_base64;
  std::string name;
  for (json_reader members(text); members.next();) {
    name = members.key();
    const auto value = members.value();
    if (name == "data" || name == "data_base64") {
      auto& place = name == "data" ? data : data_base64;
      if (place) return wrong(name, name + " is given twice");
      place = value;
      continue;
    }
    if (value == "null") continue;  // section 2.2: the same as not there
    auto canonical = attribute_text(name, value);
    if (!canonical) return wrong(name, name + " is neither a string, a boolean nor a whole number");
    if (auto fault = builder.attribute(name, std::move(*canonical))) return std::move(*fault);
  }
  if (auto fault = builder.missing()) return std::move(*fault);
  if (data_base64 == "null") data_base64.reset();
  if (data && data_base64) return wrong("data_base64", "data and data_base64 exclude each other");
  if (data) builder.what.data = one_line_json(*data);
  if (data_base64)
    if (auto fault = take_base64(builder.what, *data_base64)) return std::move(*fault);
  return std::move(builder.what);
}

}  // namespace

std::string to_json(const event& x) {
  std::string out;
  out.reserve(160 + x.id.size() + x.source.size() + x.type.size() + x.data.size() + 32 * x.extensions.size());
  out += R"({"specversion":"1.0")";
  append_member(out, "id", x.id);
  append_member(out, "source", x.source);
  append_member(out, "type", x.type);
  append_member(out, "subject", x.subject);
  append_member(out, "time", x.time);
  append_member(out, "datacontenttype", x.data_content_type);
  append_member(out, "dataschema", x.data_schema);
  for (const auto& [name, value] : x.extensions) {
    out.append(",\"").append(name).append("\":");
    append_json_string(out, value);
  }
  if (!x.data.empty()) out.append(x.data_is_base64 ? ",\"data_base64\":" : ",\"data\":").append(x.data);
  out += '}';
  return out;
}

result<event> event_from_json(std::string_view text) {
  if (auto fault = fault_of_json(text); !fault.empty()) return wrong({}, std::move(fault));
  return event_from_valid(trim_json(text));
}

result<std::vector<event>> events_from_json_batch(std::string_view text) {
  if (auto fault = fault_of_json(text); !fault.empty()) return wrong({}, std::move(fault));
  text = trim_json(text);
  if (text.front() != '[') return wrong({}, "a batch is a JSON array of events");
  std::vector<event> out;
  for (json_reader elements(text); elements.next();) {
    auto one = event_from_valid(elements.value());
    if (!one) {
      failure fault = std::move(one).error();
      fault.field = "[" + std::to_string(out.size()) + "]" + (fault.field.empty() ? "" : "." + fault.field);
      return fault;
    }
    out.push_back(std::move(*one));
  }
  return out;
}

}  // namespace doorstep
