// SPDX-License-Identifier: Apache-2.0
// One structured line a fact: time, level, component, stable kebab id, key=value. Any thread; spdlog stays in the .cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace doorstep {

enum class log_level : std::uint8_t { debug, info, warn, error };

/// `level` one of debug, info, warn, error, off; `format` text or json. Lines go to stderr.
void set_log_output(std::string_view level, std::string_view format);
bool log_enabled(log_level level);

/// Built in one expression, written at its end: `log_line(log_level::info, "shard", "opened").with("shard", 3);`
/// Values with blanks or quotes are quoted. Never payloads, never tokens.
class log_line {
public:
  log_line(log_level level, std::string_view component, std::string_view id);
  ~log_line();
  log_line(const log_line&) = delete;
  log_line& operator=(const log_line&) = delete;

  log_line& with(std::string_view key, std::string_view value);
  log_line& with(std::string_view key, const char* value) { return with(key, std::string_view(value)); }
  log_line& with(std::string_view key, const std::string& value) { return with(key, std::string_view(value)); }
  log_line& with(std::string_view key, std::int64_t value);
  log_line& with(std::string_view key, std::uint64_t value);
  log_line& with(std::string_view key, int value) { return with(key, static_cast<std::int64_t>(value)); }
  log_line& with(std::string_view key, unsigned value) { return with(key, static_cast<std::uint64_t>(value)); }
  log_line& with(std::string_view key, double value);
  log_line& with(std::string_view key, bool value) { return with(key, std::string_view(value ? "true" : "false")); }

private:
  log_level level_;
  bool on_;
  std::string component_, id_, fields_;
};

}  // namespace doorstep
