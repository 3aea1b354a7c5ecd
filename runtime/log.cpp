// SPDX-License-Identifier: Apache-2.0
// Log lines to stderr, as text or as one JSON object a line. The line is built here; spdlog stamps the time (UTC) and keeps lines whole. Any thread.
#include "runtime/log.hpp"

#include "runtime/utf8.hpp"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <cmath>
#include <memory>

namespace doorstep {

namespace {

constexpr int level_off = 5;
std::atomic<int> least_level{static_cast<int>(log_level::info)};
std::atomic<bool> json_lines{false};

void set_pattern(spdlog::logger& to, bool json) {
  const char* pattern = json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}" : "%Y-%m-%dT%H:%M:%S.%eZ %v";
  to.set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
}

// Never destroyed: actors and threads may still log while static objects go away.
spdlog::logger& output() {
  static auto* logger = [] {
    auto* x = new spdlog::logger("doorstep", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    x->set_level(spdlog::level::trace);
    set_pattern(*x, false);
    return x;
  }();
  return *logger;
}

constexpr std::array<std::string_view, 5> level_names{"debug", "info", "warn", "error", "audit"};
constexpr std::array<std::string_view, 5> level_columns{"DEBUG", "INFO ", "WARN ", "ERROR", "AUDIT"};
constexpr std::array<spdlog::level::level_enum, 5> spdlog_levels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err,
                                                                 spdlog::level::critical};

/// What a line must not hold as such: it would end the line, or be obeyed by a terminal.
constexpr bool is_unsafe(char32_t x) { return is_control(x) || x == 0x2028 || x == 0x2029; }

void append_quoted(std::string& out, std::string_view value) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (std::size_t at = 0; at < value.size();) {
    const auto from = at;
    char32_t point = 0;
    if (!decode_utf8(value, at, point)) {
      at = from + 1;
      out += "\\ufffd";
    } else if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point == '\n') {
      out += "\\n";
    } else if (is_unsafe(point)) {
      out += "\\u";
      for (const unsigned shift : {12U, 8U, 4U, 0U}) out += digits[(point >> shift) & 15];
    } else {
      out.append(value, from, at - from);
    }
  }
  out += '"';
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (std::size_t at = 0; at < value.size();) {
    char32_t point = 0;
    if (!decode_utf8(value, at, point) || is_unsafe(point) || point == ' ' || point == '"' || point == '\\' || point == '=') return true;
  }
  return false;
}

void append_key(std::string& out, bool json, std::string_view key) {
  if (json) {
    out += ',';
    append_quoted(out, key);
    out += ':';
  } else {
    out.append(" ").append(key).append("=");
  }
}

}  // namespace

void set_log_output(std::string_view level, std::string_view format) {
  int least = level_off;
  for (std::size_t i = 0; i < level_names.size(); ++i) {
    if (level_names[i] == level) least = static_cast<int>(i);
  }
  set_pattern(output(), format == "json");
  json_lines = format == "json";
  least_level = least;
}

bool log_enabled(log_level level) { return static_cast<int>(level) >= least_level.load(std::memory_order_relaxed); }

log_line::log_line(log_level level, std::string_view component, std::string_view id)
    : level_(level), on_(log_enabled(level)), json_(json_lines.load(std::memory_order_relaxed)) {
  if (!on_) return;
  const auto i = static_cast<std::size_t>(level);
  if (json_) {
    text_.append("\"level\":\"").append(level_names[i]).append("\",\"component\":");
    append_quoted(text_, component);
    append_key(text_, true, "event");
    append_quoted(text_, id);
  } else {
    text_.append(level_columns[i]).append(" ").append(component).append(" ").append(id);
  }
}

log_line::~log_line() {
  if (on_) output().log(spdlog_levels[static_cast<std::size_t>(level_)], spdlog::string_view_t(text_.data(), text_.size()));
}

log_line& log_line::with(std::string_view key, std::string_view value) {
  if (!on_) return *this;
  append_key(text_, json_, key);
  if (json_ || needs_quotes(value)) {
    append_quoted(text_, value);
  } else {
    text_ += value;
  }
  return *this;
}

log_line& log_line::with(std::string_view key, std::int64_t value) {
  if (!on_) return *this;
  append_key(text_, json_, key);
  text_ += std::to_string(value);
  return *this;
}

log_line& log_line::with(std::string_view key, std::uint64_t value) {
  if (!on_) return *this;
  append_key(text_, json_, key);
  text_ += std::to_string(value);
  return *this;
}

log_line& log_line::with(std::string_view key, double value) {
  if (!on_) return *this;
  append_key(text_, json_, key);
  text_ += std::isfinite(value) ? fmt::format("{}", value) : std::string("null");
  return *this;
}

std::optional<std::uint64_t> log_throttle::pass(std::chrono::steady_clock::time_point now) {
  auto next = next_.load(std::memory_order_relaxed);
  const auto at = now.time_since_epoch().count();
  if (at < next || !next_.compare_exchange_strong(next, at + interval_.count(), std::memory_order_relaxed)) {
    missed_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return missed_.exchange(0, std::memory_order_relaxed);
}

}  // namespace doorstep
