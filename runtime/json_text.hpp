// SPDX-License-Identifier: Apache-2.0
// JSON kept as text: one pass of Boost.JSON says whether it is valid, then values are cut out as the producer wrote them. No DOM. Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// Deeper nesting is refused.
constexpr unsigned json_depth_max = 128;

/// Empty when `text` is one JSON value (RFC 8259) with blanks around it at most, else what is wrong and where.
std::string fault_of_json(std::string_view text);

// What follows takes text that fault_of_json() found valid.

std::string_view trim_json(std::string_view text);
/// Line breaks can stand only between the tokens of valid JSON; there they become blanks, because frames and log records hold one value a line.
std::string one_line_json(std::string_view text);
/// The value of a JSON string token, quotes included in `token`.
std::string json_string_value(std::string_view token);
void append_json_string(std::string& out, std::string_view utf8);

/// Goes through the members of an object or the elements of an array.
class json_reader {
public:
  /// @param container an object or array, trimmed.
  explicit json_reader(std::string_view container) : rest_(container.substr(1)), is_object_(container.front() == '{') {}
  /// @returns false at the end.
  bool next();
  std::string key() const { return json_string_value(key_); }
  std::string_view key_token() const { return key_; }
  /// As written, without blanks around it.
  std::string_view value() const { return value_; }

private:
  std::string_view rest_, key_, value_;
  bool is_object_;
};

/// The value that an RFC 6901 pointer names, or none. "" is the whole text.
std::optional<std::string_view> json_at(std::string_view text, std::string_view pointer);

}  // namespace doorstep
