// SPDX-License-Identifier: Apache-2.0
// Boost.JSON validates with a handler that keeps nothing; the cutting relies on that and only counts brackets. Pure, any thread.
#include "runtime/json_text.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>

#include <cstddef>
#include <cstdint>

namespace doorstep {

namespace {

/// Takes every token and keeps none.
struct null_handler {
  static constexpr std::size_t max_object_size = SIZE_MAX;
  static constexpr std::size_t max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX;
  static constexpr std::size_t max_string_size = SIZE_MAX;
  using error_code = boost::json::error_code;
  using text = boost::json::string_view;
  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) { return true; }
  bool on_object_end(std::size_t, error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_key_part(text, std::size_t, error_code&) { return true; }
  bool on_key(text, std::size_t, error_code&) { return true; }
  bool on_string_part(text, std::size_t, error_code&) { return true; }
  bool on_string(text, std::size_t, error_code&) { return true; }
  bool on_number_part(text, error_code&) { return true; }
  bool on_int64(std::int64_t, text, error_code&) { return true; }
  bool on_uint64(std::uint64_t, text, error_code&) { return true; }
  bool on_double(double, text, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(text, error_code&) { return true; }
  bool on_comment(text, error_code&) { return true; }
};

boost::json::parse_options options() {
  boost::json::parse_options out;
  out.max_depth = json_depth_max;
  return out;
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view skip_blanks(std::string_view x) {
  while (!x.empty() && is_blank(x.front())) x.remove_prefix(1);
  return x;
}

/// Length of the string token at the front.
std::size_t string_length(std::string_view x) {
  // Two searches for one character each are many times as quick as one for either of two.
  std::size_t at = 1, quote = x.find('"', at);
  while (true) {
    const auto slash = x.substr(at, quote - at).find('\\');
    if (slash == std::string_view::npos) return quote + 1;
    at += slash + 2;
    if (at > quote) quote = x.find('"', at);
  }
}

/// Length of the value at the front.
std::size_t value_length(std::string_view x) {
  if (x.front() == '"') return string_length(x);
  if (x.front() != '{' && x.front() != '[') {
    std::size_t at = 0;
    while (at < x.size() && !is_blank(x[at]) && x[at] != ',' && x[at] != ']' && x[at] != '}') ++at;
    return at;
  }
  std::size_t depth = 0;
  for (std::size_t at = 0;;) {
    switch (x[at]) {
      case '"': at += string_length(x.substr(at)); continue;
      case '{':
      case '[': ++depth; break;
      case '}':
      case ']':
        if (--depth == 0) return at + 1;
        break;
      default: break;
    }
    ++at;
  }
}

std::string unescaped_pointer_step(std::string_view step) {
  std::string out;
  for (std::size_t i = 0; i < step.size(); ++i) {
    const bool escape = step[i] == '~' && i + 1 < step.size() && (step[i + 1] == '0' || step[i + 1] == '1');
    out += escape ? (step[++i] == '0' ? '~' : '/') : step[i];
  }
  return out;
}

std::optional<std::string_view> child(std::string_view container, std::string_view raw_step) {
  const std::string step = unescaped_pointer_step(raw_step);
  json_reader reader(container);
  if (container.front() == '{') {
    std::optional<std::string_view> found;
    while (reader.next())
      if (reader.key() == step) found = reader.value();  // of members with one name the last counts, as in most parsers
    return found;
  }
  if (step.empty() || step.find_first_not_of("0123456789") != std::string::npos || (step.size() > 1 && step[0] == '0')) return std::nullopt;
  for (std::uint64_t index = 0; reader.next(); ++index)
    if (std::to_string(index) == step) return reader.value();
  return std::nullopt;
}

}  // namespace

std::string fault_of_json(std::string_view text) {
  boost::json::basic_parser<null_handler> parser(options());
  boost::json::error_code error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  if (!error && skip_blanks(text.substr(read)).empty()) return {};
  const std::string what = error ? error.message() : "something follows the value";
  return "not valid JSON at byte " + std::to_string(read) + ": " + what;
}

std::string_view trim_json(std::string_view text) {
  text = skip_blanks(text);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string one_line_json(std::string_view text) {
  std::string out(trim_json(text));
  // Two searches for one character each are many times as quick as one for either of two.
  for (const char end_of_line : {'\n', '\r'})
    for (auto at = out.find(end_of_line); at != std::string::npos; at = out.find(end_of_line, at + 1)) out[at] = ' ';
  return out;
}

std::string json_string_value(std::string_view token) {
  const auto inner = token.substr(1, token.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return std::string(inner);
  const auto parsed = boost::json::parse({token.data(), token.size()}, {}, options());
  const auto& value = parsed.get_string();
  return {value.data(), value.size()};
}

void append_json_string(std::string& out, std::string_view utf8) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<std::uint8_t>(utf8[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(utf8, from, i - from);
    from = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        out += "\\u00";
        out += "0123456789abcdef"[c >> 4];
        out += "0123456789abcdef"[c & 15];
    }
  }
  out.append(utf8, from);
  out += '"';
}

bool json_reader::next() {
  rest_ = skip_blanks(rest_);
  if (rest_.front() == ',') rest_ = skip_blanks(rest_.substr(1));
  if (rest_.front() == '}' || rest_.front() == ']') return false;
  if (is_object_) {
    key_ = rest_.substr(0, string_length(rest_));
    rest_ = skip_blanks(rest_.substr(key_.size()));
    rest_ = skip_blanks(rest_.substr(1));  // the colon
  }
  value_ = rest_.substr(0, value_length(rest_));
  rest_.remove_prefix(value_.size());
  return true;
}

std::optional<std::string_view> json_at(std::string_view text, std::string_view pointer) {
  auto at = trim_json(text);
  while (!pointer.empty()) {
    if (pointer.front() != '/' || (at.front() != '{' && at.front() != '[')) return std::nullopt;
    const auto end = pointer.find('/', 1);
    const auto found = child(at, pointer.substr(1, end == std::string_view::npos ? end : end - 1));
    if (!found) return std::nullopt;
    at = *found;
    pointer = end == std::string_view::npos ? std::string_view{} : pointer.substr(end);
  }
  return at;
}

}  // namespace doorstep
