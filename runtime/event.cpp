// SPDX-License-Identifier: Apache-2.0
// The rules for attributes (CloudEvents 1.0.2, "Context Attributes" and "Type System") and binary mode over HTTP and Kafka. Pure, any thread.
#include "runtime/event.hpp"

#include "runtime/digest.hpp"
#include "runtime/event_rules.hpp"
#include "runtime/json_text.hpp"
#include "runtime/text_template.hpp"
#include "runtime/utf8.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

namespace doorstep {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// What a producer wrote may be a megabyte, or no text at all.
failure wrong(std::string_view attribute, std::string detail) { return malformed_event(std::string(attribute), std::move(detail)); }

bool is_attribute_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c); });
}

/// Type String: UTF-8 without control characters and noncharacters.
std::optional<std::string> fault_of_string(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] >= ' ' && text[at] <= '~') {  // nearly all of them
      ++at;
      continue;
    }
    char32_t point = 0;
    if (!decode_utf8(text, at, point)) return "is not valid UTF-8";
    if (is_control(point)) return "has a control character";
    if (is_noncharacter(point)) return "has a Unicode noncharacter";
  }
  return std::nullopt;
}

constexpr std::array<bool, 256> no_uri_characters = [] {
  std::array<bool, 256> out{};
  for (const char c : std::string_view(" <>\"{}|\\^`")) out[static_cast<unsigned char>(c)] = true;
  return out;
}();

/// The characters of RFC 3986, and those beyond ASCII, which producers write unescaped.
bool is_uri_reference(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (no_uri_characters[static_cast<unsigned char>(c)]) return false;
    if (c == '%' && (i + 2 >= text.size() || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0)) return false;
  }
  return true;
}

bool has_scheme(std::string_view uri) {
  const auto colon = uri.find(':');
  const auto slash = uri.find_first_of("/?#");
  return colon != std::string_view::npos && (slash == std::string_view::npos || colon < slash) && lower(uri.front()) >= 'a' &&
         lower(uri.front()) <= 'z';
}

bool is_media_type(std::string_view text) {
  const auto type = text.substr(0, text.find(';'));
  const auto slash = type.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < type.size();
}

/// HTTP binding 3.1.3.2: first quoted strings are unquoted, then one round of percent-decoding.
std::optional<std::string> decode_http_value(std::string_view text) {
  std::string unquoted(text);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    unquoted.clear();
    for (std::size_t i = 1; i + 1 < text.size(); ++i) {
      if (text[i] == '\\' && i + 2 < text.size()) ++i;
      unquoted += text[i];
    }
  }
  if (unquoted.find('%') == std::string::npos) return unquoted;
  std::string out;
  for (std::size_t i = 0; i < unquoted.size(); ++i) {
    if (unquoted[i] != '%') {
      out += unquoted[i];
      continue;
    }
    if (i + 2 >= unquoted.size() || hex_value(unquoted[i + 1]) < 0 || hex_value(unquoted[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(hex_value(unquoted[i + 1]) * 16 + hex_value(unquoted[i + 2]));
    i += 2;
  }
  return out;
}

/// Kafka binding 3.2 and HTTP binding 3.1: the payload is the data. In JSON it is JSON, a text, or base64.
std::optional<failure> take_payload(event& x, std::string_view payload) {
  if (payload.empty()) return std::nullopt;
  if (is_json_content_type(x.data_content_type)) {
    if (auto fault = fault_of_json(payload); !fault.empty()) return wrong("data", std::move(fault));
    x.data = one_line_json(payload);
  } else if (is_utf8(payload)) {
    x.data.reserve(payload.size() + 16);
    append_json_string(x.data, payload);
  } else {
    x.data_is_base64 = true;
    x.data.append(1, '"').append(base64(payload)).append(1, '"');
  }
  return std::nullopt;
}

}  // namespace

failure malformed_event(std::string field, std::string detail) {
  constexpr std::size_t field_bytes_max = 64, detail_bytes_max = 256;
  return {ec::malformed, attribute_text(std::move(detail), detail_bytes_max), attribute_text(std::move(field), field_bytes_max)};
}

std::string_view event::extension(std::string_view name) const {
  for (const auto& [key, value] : extensions)
    if (key == name) return value;
  return {};
}

bool is_json_content_type(std::string_view content_type) {
  auto type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  if (type.empty()) return true;
  const auto ends_with = [&](std::string_view tail) {
    return type.size() > tail.size() && equal_ignoring_case(type.substr(type.size() - tail.size()), tail);
  };
  return ends_with("/json") || ends_with("+json");
}

bool is_rfc3339(std::string_view text) {
  constexpr std::string_view shape = "0000-00-00T00:00:00";
  if (text.size() < shape.size() + 1) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == '0' ? !is_digit(text[i]) : lower(text[i]) != lower(shape[i])) return false;
  }
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  const int february = leap ? 29 : 28;
  const int days = month == 2 ? february : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
  if (month < 1 || month > 12 || day < 1 || day > days || number(11, 2) > 23 || number(14, 2) > 59 || number(17, 2) > 60) return false;
  std::size_t at = shape.size();
  if (text[at] == '.') {
    const std::size_t from = ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
    if (at == from) return false;
  }
  if (at + 1 == text.size()) return lower(text[at]) == 'z';
  if (at + 6 != text.size() || (text[at] != '+' && text[at] != '-') || text[at + 3] != ':') return false;
  for (const std::size_t i : {at + 1, at + 2, at + 4, at + 5})
    if (!is_digit(text[i])) return false;
  return number(at + 1, 2) <= 23 && number(at + 4, 2) <= 59;
}

std::string rfc3339_of(unix_ms at) {
  const std::time_t seconds = at.value / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[48];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                parts.tm_min, parts.tm_sec, static_cast<int>(at.value % 1000));
  return text;
}

unix_ms time_of_rfc3339(std::string_view text) {
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  using namespace std::chrono;
  const year_month_day date{year{number(0, 4)}, month{static_cast<unsigned>(number(5, 2))}, day{static_cast<unsigned>(number(8, 2))}};
  milliseconds at = sys_days{date}.time_since_epoch() + hours{number(11, 2)} + minutes{number(14, 2)} + seconds{number(17, 2)};
  std::size_t i = 19;
  if (text[i] == '.') {
    int scale = 100;
    for (++i; is_digit(text[i]); ++i, scale /= 10) at += milliseconds{scale * (text[i] - '0')};
  }
  if (lower(text[i]) == 'z') return {at.count()};
  const auto offset = hours{number(i + 1, 2)} + minutes{number(i + 4, 2)};
  return {(text[i] == '-' ? at + offset : at - offset).count()};
}

/// Where a specified attribute belongs; null for an extension.
std::string* event_builder::place_of(std::string_view name) {
  switch (name.size()) {  // one comparison, not seven: this is asked for every attribute of every event
    case 2: return name == "id" ? &what.id : nullptr;
    case 4: return name == "type" ? &what.type : name == "time" ? &what.time : nullptr;
    case 6: return name == "source" ? &what.source : nullptr;
    case 7: return name == "subject" ? &what.subject : nullptr;
    case 10: return name == "dataschema" ? &what.data_schema : nullptr;
    case 15: return name == "datacontenttype" ? &what.data_content_type : nullptr;
    default: return nullptr;
  }
}

std::optional<failure> event_builder::attribute(std::string_view name, std::string value) {
  if (!is_attribute_name(name)) return wrong(name, "an attribute's name is made of lower-case letters and digits");
  if (name == "data") return wrong(name, "no attribute may be called data");
  if (const auto fault = fault_of_string(value)) return wrong(name, std::string(name) + " " + *fault);
  if (name == "specversion") {
    if (std::exchange(has_specversion_, true)) return wrong(name, "specversion is given twice");
    if (value != "1.0") return wrong(name, "specversion is \"" + value + "\"; only 1.0 is understood");
    return std::nullopt;
  }
  std::string* const place = place_of(name);
  if (place == nullptr) {
    for (const auto& [key, former] : what.extensions)
      if (key == name) return wrong(name, std::string(name) + " is given twice");
    if (name == "expirytime") {
      if (!is_rfc3339(value)) return wrong(name, "expirytime is not an RFC 3339 timestamp such as 2026-11-21T10:00:00Z");
      what.expires = time_of_rfc3339(value);
    }
    what.extensions.emplace_back(name, std::move(value));
    return std::nullopt;
  }
  if (!place->empty()) return wrong(name, std::string(name) + " is given twice");
  if (value.empty()) return wrong(name, std::string(name) + " is empty");
  if (place == &what.source && !is_uri_reference(value)) return wrong(name, "source is not a URI reference (RFC 3986)");
  if (place == &what.data_schema && !(is_uri_reference(value) && has_scheme(value))) return wrong(name, "dataschema is not a URI (RFC 3986)");
  if (place == &what.time && !is_rfc3339(value)) return wrong(name, "time is not an RFC 3339 timestamp such as 2026-11-21T10:00:00Z");
  if (place == &what.data_content_type && !is_media_type(value)) return wrong(name, "datacontenttype is not a media type such as application/json");
  *place = std::move(value);
  return std::nullopt;
}

std::optional<failure> event_builder::missing() const {
  if (!has_specversion_) return wrong("specversion", "specversion is missing");
  if (what.id.empty()) return wrong("id", "id is missing");
  if (what.source.empty()) return wrong("source", "source is missing");
  if (what.type.empty()) return wrong("type", "type is missing");
  return std::nullopt;
}

result<event> event_from_headers(std::span<const header_view> headers, std::string_view prefix, std::string_view content_type,
                                 std::string_view payload) {
  event_builder builder;
  const bool over_http = prefix == "ce-";
  std::string name, declared_type;
  for (const auto& x : headers) {
    if (x.name.size() < prefix.size() || !equal_ignoring_case(x.name.substr(0, prefix.size()), prefix)) continue;
    name.assign(x.name.substr(prefix.size()));
    std::transform(name.begin(), name.end(), name.begin(), lower);
    auto value = over_http ? decode_http_value(x.value) : std::optional<std::string>(x.value);
    if (!value) return wrong(name, name + " has a percent sign that no two hexadecimal digits follow");
    if (name == "datacontenttype") {  // belongs into Content-Type; taken where it does not contradict it
      if (!content_type.empty() && *value != content_type) return wrong(name, "datacontenttype contradicts the content type");
      declared_type = std::move(*value);
      continue;
    }
    if (auto fault = builder.attribute(name, std::move(*value))) return std::move(*fault);
  }
  if (!content_type.empty()) declared_type = std::string(content_type);
  if (auto fault = builder.missing()) return std::move(*fault);
  if (!declared_type.empty())
    if (auto fault = builder.attribute("datacontenttype", std::move(declared_type))) return std::move(*fault);
  if (auto fault = take_payload(builder.what, payload)) return std::move(*fault);
  return std::move(builder.what);
}

}  // namespace doorstep
