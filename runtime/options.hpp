// SPDX-License-Identifier: Apache-2.0
// The option table: one row an option, from which the TOML reader, the environment, the flags, conf/doorstep.toml and
// docs/configuration.md are made. Private to the configuration sources. Pure, any thread.
#pragma once

#include "runtime/config.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace doorstep {

enum class option_kind : std::uint8_t { text, boolean, count, size, duration, texts, choice };

/// Where an option's value lives. `row` counts for `[[sources]]` only.
using option_field = std::variant<std::string*, bool*, std::size_t*, milliseconds*, std::vector<std::string>*>;

/// What is wrong with a text, as the end of a sentence ("is not host:port"); empty when nothing is.
using option_check = std::string (*)(std::string_view);

struct option {
  std::string_view name;  ///< "http.listen"; of a source "sources.brokers", without the number
  option_kind kind;
  std::string_view sentence;
  option_field (*field)(config&, std::size_t row);
  std::int64_t least = 0, most = 0;  ///< counts, bytes or milliseconds
  std::span<const std::string_view> choices = {};
  std::span<const std::string_view> planned = {};  ///< choices of a later version
  option_check check = nullptr;                    ///< of a text, or of each of the texts
  bool secret = false;                             ///< never shown, neither in errors nor in logs

  std::string_view section() const { return name.substr(0, name.find('.')); }
  std::string_view key() const { return name.substr(name.find('.') + 1); }
  bool of_source() const { return section() == "sources"; }
};

/// A value as it was written, before it is known what it should be.
struct other_value {
  std::string_view kind;  ///< "a float", "a table"
};
using option_value = std::variant<bool, std::int64_t, std::string, std::vector<std::string>, other_value>;

std::span<const option> all_options();
/// The part of it that says who may come in.
std::span<const option> identity_options();
/// By the table's name ("sources.brokers").
const option* find_option(std::string_view name);
/// Sections in the order they are written: "http", "internal", ...
std::vector<std::string_view> option_sections();
std::string_view section_sentence(std::string_view section);

/// Gives the option its value. @returns what is wrong with it, as a sentence without its place; nothing when it was taken.
std::optional<std::string> set_option(const option& which, config& in, std::size_t row, const option_value& value);
/// The same from the text of a flag or an environment variable; lists are separated by commas.
std::optional<std::string> set_option_text(const option& which, config& in, std::size_t row, std::string_view text);

/// The value as TOML writes it: `"127.0.0.1:8000"`, `32`, `["a", "b"]`.
std::string option_text(const option& which, config& in, std::size_t row);
/// "1 to 10000", "\"text\" or \"json\"", or empty where everything is allowed.
std::string option_range(const option& which);
std::string_view kind_name(option_kind kind);

/// The nearest of `names` to a mistyped one; empty when none is near.
std::string_view nearest_name(std::string_view typed, std::span<const std::string_view> names);

}  // namespace doorstep
