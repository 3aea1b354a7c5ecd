// SPDX-License-Identifier: Apache-2.0
// Reads TOML. The one file that meets toml11, whose location interface changed between 3.x (Debian 12) and 4.x (Debian 13). Pure, any thread.
#include "runtime/config_file.hpp"

#include <toml.hpp>

#include <algorithm>
#include <optional>
#include <sstream>
#include <tuple>

namespace doorstep {

namespace {

file_place place_of(const toml::source_location& x) {
#if TOML11_VERSION_MAJOR >= 4
  return {x.first_line_number(), std::max<std::size_t>(x.first_column_number(), 1), std::max<std::size_t>(x.length(), 1)};
#else
  return {x.line(), std::max<std::size_t>(x.column(), 1), std::max<std::size_t>(x.region(), 1)};
#endif
}

std::pair<file_place, std::string> place_and_text(const toml::syntax_error& x) {
#if TOML11_VERSION_MAJOR >= 4
  if (x.errors().empty()) return {{1, 1, 1}, x.what()};
  const auto& first = x.errors().front();
  auto place = first.locations().empty() ? file_place{1, 1, 1} : place_of(first.locations().front().first);
  return {place, first.title()};
#else
  return {place_of(x.location()), x.what()};
#endif
}

// "[error] toml::parse_table: invalid line format\n --> ..." becomes "invalid line format".
std::string plain_reason(std::string text) {
  text = text.substr(0, text.find('\n'));
  if (text.starts_with("[error] ")) text.erase(0, 8);
  if (const auto end = text.find(": "); text.starts_with("toml::") && end != std::string::npos) text.erase(0, end + 2);
  if (text.empty()) text = "a value that TOML does not know";
  if (text.find("line format") != std::string::npos || text.find("newline") != std::string::npos || text.find("value") != std::string::npos) {
    text += " (texts, durations and sizes stand in quotes)";
  }
  return "not TOML: " + text;
}

std::string_view line_of(std::string_view text, std::size_t number) {
  for (std::size_t i = 1; i < number && !text.empty(); ++i) {
    const auto end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// toml11 knows where a value stands, not its key: that is before it in the same line.
file_place key_place(std::string_view text, std::string_view key, const file_place& value, bool is_table) {
  const auto line = line_of(text, value.line);
  const auto before = is_table ? line : line.substr(0, value.column - 1);
  const auto found = is_table ? before.find(key, std::min(value.column - 1, before.size())) : before.rfind(key);
  if (found == std::string_view::npos) return value;
  return {value.line, found + 1, key.size()};
}

option_value value_of(const toml::value& x) {
  if (x.is_boolean()) return toml::get<bool>(x);
  if (x.is_integer()) return toml::get<std::int64_t>(x);
  if (x.is_string()) return toml::get<std::string>(x);
  if (x.is_floating()) return other_value{"a float"};
  if (!x.is_array()) return other_value{"a date or time"};
  std::vector<std::string> texts;
  for (const auto& item : x.as_array()) {
    if (!item.is_string()) return other_value{"a list with something else than texts in it"};
    texts.push_back(toml::get<std::string>(item));
  }
  return texts;
}

class flattener {
public:
  explicit flattener(std::string_view text) : text_(text) {}

  void table(const toml::value& x, const std::string& path, std::string_view key) {
    if (!path.empty()) {
      const auto at = place_of(x.location());
      out_.push_back({path, true, other_value{"a table"}, key_place(text_, key, at, true), at, {}});
    }
    for (const auto& [name, value] : x.as_table()) member(value, path.empty() ? name : path + "." + name, name);
  }

  std::vector<file_setting> take() {
    std::stable_sort(out_.begin(), out_.end(), [](const file_setting& a, const file_setting& b) {
      return std::tuple(a.at.line, a.key.column, a.at.column) < std::tuple(b.at.line, b.key.column, b.at.column);
    });
    return std::move(out_);
  }

private:
  void member(const toml::value& x, const std::string& path, std::string_view key) {
    if (x.is_table()) return table(x, path, key);
    const bool rows = x.is_array() && !x.as_array().empty() &&
                      std::all_of(x.as_array().begin(), x.as_array().end(), [](const toml::value& item) { return item.is_table(); });
    if (rows) {
      std::size_t row = 0;
      for (const auto& item : x.as_array()) table(item, path + "." + std::to_string(row++), key);
      return;
    }
    const auto at = place_of(x.location());
    out_.push_back({path, false, value_of(x), key_place(text_, key, at, false), at, {}});
    if (x.is_array())
      for (const auto& item : x.as_array()) out_.back().items.push_back(place_of(item.location()));
  }

  std::string_view text_;
  std::vector<file_setting> out_;
};

// Where what a secret option is set to begins in the line: behind its "=".
std::optional<std::size_t> secret_value(std::string_view line) {
  for (const auto& x : all_options()) {
    const auto found = x.secret ? line.find(x.key()) : std::string_view::npos;
    if (found == std::string_view::npos) continue;
    const auto equals = line.find_first_not_of("\"' \t", found + x.key().size());
    if (equals != std::string_view::npos && line[equals] == '=') return equals + 1;
  }
  return std::nullopt;
}

// True for a line inside a list or text of several lines that a secret option is set to.
bool continues_secret(std::string_view text, std::size_t number) {
  for (auto n = number - 1; n > 0; --n) {
    const auto line = line_of(text, n);
    const auto begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos || std::string_view("\"'#").find(line[begin]) != std::string_view::npos) continue;
    const auto value = secret_value(line);
    if (!value) return false;
    const auto rest = line.substr(std::min(line.find_first_not_of(" \t", *value), line.size()));
    const bool open_list = rest.starts_with("[") && rest.find(']') == std::string_view::npos;
    return open_list || rest.starts_with("\"\"\"") || rest.starts_with("'''");
  }
  return false;
}

std::string without_secret(std::string_view text, std::size_t number) {
  const auto line = line_of(text, number);
  if (const auto value = secret_value(line)) return std::string(line.substr(0, *value)) + " ...";
  return continues_secret(text, number) ? "..." : std::string(line);
}

}  // namespace

file_place place_inside(std::string_view text, const file_place& at, std::size_t inside) {
  if (at.line == 0 || inside == 0) return at;
  const auto line = line_of(text, at.line);
  const auto begin = at.column - 1;
  if (begin >= line.size() || (line[begin] != '"' && line[begin] != '\'')) return at;
  const auto end = line.find(line[begin], begin + 1);
  const auto column = begin + 1 + inside;
  if (end == std::string_view::npos || end == begin + 1 || column >= end || line.substr(begin, end - begin).find('\\') != std::string_view::npos)
    return at;
  return {at.line, column + 1, end - column};
}

std::string show_place(std::string_view text, std::string_view file_name, const file_place& place, std::string_view what) {
  const auto line = without_secret(text, place.line);
  const auto number = std::to_string(place.line);
  const auto begin = std::min(place.column - 1, line.size());
  const auto length = std::clamp<std::size_t>(line.size() - begin, 1, place.length);
  std::string mark;
  for (std::size_t i = 0; i < begin + length; ++i) {
    const bool continues = i < line.size() && (static_cast<unsigned char>(line[i]) & 0xc0) == 0x80;
    if (continues) continue;  // one mark a character of UTF-8
    if (i < begin) {
      mark += line[i] == '\t' ? '\t' : ' ';
    } else {
      mark += i == begin ? '^' : '~';
    }
  }
  std::string out{file_name};
  out.append(":").append(number).append(":").append(std::to_string(place.column)).append(": ").append(what);
  out.append("\n ").append(number).append(" | ").append(line);
  return out.append("\n ").append(number.size(), ' ').append(" | ").append(mark);
}

result<std::vector<file_setting>> read_config_file(std::string_view text, std::string_view file_name) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return std::vector<file_setting>{};
  try {
    std::istringstream in{std::string(text)};
    const toml::value root = toml::parse(in, std::string(file_name));
    flattener out(text);
    out.table(root, "", "");
    return out.take();
  } catch (const toml::syntax_error& x) {
    const auto [place, reason] = place_and_text(x);
    return failure{ec::bad_config, show_place(text, file_name, place, plain_reason(reason)), ""};
  } catch (const std::exception& x) {  // what toml11 throws beside syntax errors: numbers it cannot hold, bytes it cannot decode
    return failure{ec::bad_config, std::string(file_name) + ": " + plain_reason(x.what()), ""};
  }
}

}  // namespace doorstep
