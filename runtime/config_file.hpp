// SPDX-License-Identifier: Apache-2.0
// A TOML file as a flat list of settings with their places, and errors with a caret under the place. Private to the configuration sources;
// toml11 (3.7 and 4.4) is met in config_file.cpp only. Pure, any thread.
#pragma once

#include "runtime/options.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// Columns count bytes from 1. Line 0 = nowhere in a file.
struct file_place {
  std::size_t line = 0;
  std::size_t column = 1;
  std::size_t length = 1;
};

struct file_setting {
  std::string path;       ///< "http.listen", "sources.0.brokers", or a table's own "http", "sources.0"
  bool is_table = false;  ///< then it has no value
  option_value value;
  file_place key, at;               ///< where its name and its value stand
  std::vector<file_place> items{};  ///< of a list of texts
};

/// In the order of the file, tables before what is in them.
/// @returns ec::bad_config with a detail ready to print when it is not TOML.
result<std::vector<file_setting>> read_config_file(std::string_view text, std::string_view file_name);

/// `at` where a text begins, moved to the byte `inside` of it where the text stands in one line as it is, without escapes.
file_place place_inside(std::string_view text, const file_place& at, std::size_t inside);

/// "doorstep.toml:12:3: what", the line, and a caret under the place. The value of a secret option is never shown.
std::string show_place(std::string_view text, std::string_view file_name, const file_place& place, std::string_view what);

}  // namespace doorstep
