// SPDX-License-Identifier: Apache-2.0
// One structured line a fact: time, level, component, stable kebab id, key=value. Any thread; spdlog stays in the .cpp.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// `audit` is who did what on purpose; it is written unless everything is off.
enum class log_level : std::uint8_t { debug, info, warn, error, audit };

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
  bool on_, json_;
  std::string text_;
};

/// Lets one line through an interval and counts the rest; for what a client or a broken peer can trigger. Thread-safe.
/// `if (auto missed = throttle.pass()) log_line(...).with("missed", *missed);`
class log_throttle {
public:
  explicit log_throttle(std::chrono::milliseconds interval = std::chrono::seconds(1)) : interval_(interval) {}
  /// @returns how many were held back since the last that passed; nothing when this one is held back too.
  std::optional<std::uint64_t> pass(std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now());

private:
  std::chrono::steady_clock::duration interval_;
  std::atomic<std::chrono::steady_clock::rep> next_{std::chrono::steady_clock::time_point::min().time_since_epoch().count()};
  std::atomic<std::uint64_t> missed_{0};
};

}  // namespace doorstep
