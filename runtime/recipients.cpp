// SPDX-License-Identifier: Apache-2.0
// Kafka protocol binding of CloudEvents 1.0 (structured and binary), plain JSON by pointers, and who shall get it. Hot: JSON is validated once. Pure.
#include "runtime/recipients.hpp"

#include "runtime/delivery_terms_json.hpp"

#include "runtime/event_rules.hpp"
#include "runtime/json_text.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <unordered_set>
#include <utility>

namespace doorstep {

namespace {

using fault = std::optional<failure>;

failure wrong(std::string field, std::string detail) { return {ec::malformed, std::move(detail), std::move(field)}; }

bool starts_ignoring_case(std::string_view text, std::string_view lower_prefix) {
  return text.size() >= lower_prefix.size() && std::equal(lower_prefix.begin(), lower_prefix.end(), text.begin(),
                                                          [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b); });
}

std::string_view header_value(const record_view& record, std::string_view lower_name) {
  for (const auto& x : record.headers)
    if (x.name.size() == lower_name.size() && starts_ignoring_case(x.name, lower_name)) return x.value;
  return {};
}

fault add_recipient(std::vector<address>& to, std::string_view id, std::string_view field) {
  auto parsed = address::user(id);
  if (!parsed) return wrong(std::string(field), parsed.error().detail);
  to.push_back(std::move(*parsed));
  return std::nullopt;
}

/// Nobody twice, in the order named. By hash, since a record of a megabyte can name a hundred thousand.
std::vector<address> each_once(std::vector<address> to) {
  if (to.size() < 2) return to;
  std::unordered_set<std::string_view> seen;
  std::vector<address> out;
  out.reserve(to.size());
  for (const auto& x : to)
    if (seen.insert(x.text()).second) out.push_back(x);
  return out;
}

/// One JSON value, valid and trimmed: a string, a whole number, or an array of them. `null` names nobody.
fault add_from_json(std::vector<address>& to, std::string_view value, std::string_view field) {
  if (value == "null") return std::nullopt;
  if (value.front() == '[') {
    for (json_reader elements(value); elements.next();) {
      if (elements.value().front() == '[' || elements.value() == "null")
        return wrong(std::string(field), "a recipient is neither a string nor a whole number");
      if (auto bad = add_from_json(to, elements.value(), field)) return bad;
    }
    return std::nullopt;
  }
  if (value.front() == '"') return add_recipient(to, json_string_value(value), field);
  if (value.find_first_not_of("-0123456789") == std::string_view::npos) return add_recipient(to, value, field);
  return wrong(std::string(field), "a recipient is neither a string nor a whole number");
}

/// `touser`: one id, ids separated by commas, or a JSON array (for ids that hold commas).
fault add_from_text(std::vector<address>& to, std::string_view text) {
  text = trim_json(text);
  if (text.starts_with('[')) {
    if (auto bad = fault_of_json(text); !bad.empty()) return wrong("touser", "touser starts like a JSON array: " + bad);
    return add_from_json(to, text, "touser");
  }
  while (true) {
    const auto comma = text.find(',');
    if (auto bad = add_recipient(to, trim_json(text.substr(0, comma)), "touser")) return bad;
    if (comma == std::string_view::npos) return std::nullopt;
    text.remove_prefix(comma + 1);
  }
}

/// `body` is the JSON that source.recipient_pointer points into, valid, or empty.
result<std::vector<address>> recipients(std::string_view touser, std::string_view body, const record_view& record, const source_config& source) {
  std::vector<address> to;
  if (!touser.empty()) {
    if (auto bad = add_from_text(to, touser)) return std::move(*bad);
    return to;
  }
  if (!source.recipient_pointer.empty() && !body.empty()) {
    if (const auto found = json_at(body, source.recipient_pointer))
      if (auto bad = add_from_json(to, *found, source.recipient_pointer)) return std::move(*bad);
    if (!to.empty()) return to;
  }
  if (source.recipient_key && record.key && !record.key->empty())
    if (auto bad = add_recipient(to, *record.key, "key")) return std::move(*bad);
  return to;
}

/// A string or number that a pointer finds, as text; else empty.
std::string text_at(std::string_view body, std::string_view pointer) {
  if (pointer.empty()) return {};
  const auto found = json_at(body, pointer);
  if (!found || found->front() == '{' || found->front() == '[' || *found == "null") return {};
  return found->front() == '"' ? json_string_value(*found) : std::string(*found);
}

/// RFC 3339 text, or whole seconds or milliseconds since 1970, or else the time of the record.
std::string time_of(std::string text, unix_ms record_time) {
  if (is_rfc3339(text)) return text;
  if (!text.empty() && text.size() <= 13 && text.find_first_not_of("0123456789") == std::string::npos) {
    const std::int64_t number = std::stoll(text);
    return rfc3339_of({number >= 100'000'000'000 ? number : number * 1000});
  }
  return record_time.value > 0 ? rfc3339_of(record_time) : std::string();
}

std::string own_id(const record_view& record) {
  std::string out(record.topic);
  return out.append("/").append(std::to_string(record.partition)).append("/").append(std::to_string(record.offset));
}

result<event> event_from_plain(const record_view& record, const source_config& source, std::string_view body) {
  if (auto bad = fault_of_json(body); !bad.empty()) return wrong("value", std::move(bad));
  event_builder builder;
  auto& x = builder.what;
  const auto take = [&](std::string_view name, std::string value) -> fault {
    return value.empty() ? std::nullopt : builder.attribute(name, std::move(value));
  };
  if (auto bad = take("id", text_at(body, source.id_pointer))) return std::move(*bad);
  if (auto bad = take("type", text_at(body, source.type_pointer))) return std::move(*bad);
  if (auto bad = take("subject", text_at(body, source.subject_pointer))) return std::move(*bad);
  x.source.append("kafka:").append(record.topic);
  if (x.id.empty()) {
    x.id = own_id(record);
    // Offsets begin again when a topic is made anew: those are other events, not duplicates. An id of the producer's own needs no such help.
    if (record.generation != 0) x.source.append("#").append(std::to_string(record.generation));
  }
  if (x.type.empty()) x.type = source.type_default;
  x.time = time_of(text_at(body, source.time_pointer), record.timestamp);
  const auto data = source.data_pointer.empty() ? std::optional(body) : json_at(body, source.data_pointer);
  if (data) x.data = one_line_json(*data);
  return std::move(x);
}

result<event> event_from_cloudevent(const record_view& record, std::string_view value) {
  const auto content_type = header_value(record, "content-type");
  if (starts_ignoring_case(content_type, "application/cloudevents")) {
    if (starts_ignoring_case(content_type, "application/cloudevents+json")) return event_from_json(value);
    return wrong("content-type", "of the CloudEvents content types a record may have only application/cloudevents+json");
  }
  return event_from_headers(record.headers, "ce_", content_type, value);
}

}  // namespace

result<event> read_record(const record_view& record, const source_config& source) {
  const auto value = record.value.value_or(std::string_view());
  if (source.format != "json") return event_from_cloudevent(record, value);
  if (!record.value) return wrong("value", "the record is a tombstone: it has no value");
  return event_from_plain(record, source, value);
}

result<std::vector<address>> named_recipients(const event& what, const record_view* record, const source_config* source) {
  auto touser = what.extension("touser");
  std::vector<address> to;
  if (record == nullptr || source == nullptr) {
    if (!touser.empty())
      if (auto bad = add_from_text(to, touser)) return std::move(*bad);
    return each_once(std::move(to));
  }
  if (touser.empty()) touser = header_value(*record, "touser");
  const std::string_view body = source->format == "json" ? record->value.value_or(std::string_view())
                                : what.data_is_base64    ? std::string_view()
                                                         : std::string_view(what.data);
  auto found = recipients(touser, body, *record, *source);
  if (!found) return found;
  return each_once(std::move(*found));
}

result<routed_event> route_record(const record_view& record, const source_config& source) {
  auto parsed = read_record(record, source);
  if (!parsed) return std::move(parsed).error();
  routed_event out{std::make_shared<const event>(std::move(*parsed)), {}};
  auto to = named_recipients(*out.what, &record, &source);
  if (!to) return std::move(to).error();
  out.to = std::move(*to);
  auto terms = delivery_terms_of(*out.what);
  if (!terms) return std::move(terms).error();
  out.terms = std::move(*terms);
  return out;
}

result<std::vector<address>> recipients_of(const event& what) {
  if (what.extension("touser").empty()) return wrong("touser", "touser is missing: it names the recipient, or several, separated by commas");
  auto to = named_recipients(what, nullptr, nullptr);
  if (to && to->empty()) return wrong("touser", "touser names nobody");
  return to;
}

}  // namespace doorstep
