// SPDX-License-Identifier: Apache-2.0
// Log lines as an operator, or a log shipper, reads them.
#include "runtime/log.hpp"

#include <gmock/gmock.h>
#include <boost/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace doorstep {
namespace {

using testing::MatchesRegex;

std::string written(std::string_view level, std::string_view format, const std::function<void()>& what) {
  testing::internal::CaptureStderr();
  set_log_output(level, format);
  what();
  set_log_output("info", "text");
  return testing::internal::GetCapturedStderr();
}

TEST(log, a_line_is_time_level_component_id_and_fields) {
  const auto line = written("info", "text", [] { log_line(log_level::info, "shard", "opened").with("shard", 3).with("from", 17U); });
  EXPECT_THAT(line, MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z INFO  shard opened shard=3 from=17\n"));
}

TEST(log, the_time_is_utc) {
  setenv("TZ", "Pacific/Kiritimati", 1);
  tzset();
  const auto now = std::time(nullptr);
  const auto line = written("info", "text", [] { log_line(log_level::info, "node", "started"); });
  std::tm parsed{};
  ASSERT_NE(strptime(line.c_str(), "%Y-%m-%dT%H:%M:%S", &parsed), nullptr) << line;
  EXPECT_NEAR(static_cast<double>(timegm(&parsed)), static_cast<double>(now), 5);
  unsetenv("TZ");
  tzset();
}

TEST(log, values_that_would_break_the_line_are_quoted) {
  const auto line = written("info", "text", [] {
    log_line(log_level::warn, "c", "e")
        .with("plain", "a/b:c-d")
        .with("blank", "two words")
        .with("quote", "say \"x\"")
        .with("newline", "a\nfake INFO")
        .with("escape", "\x1b[2J")
        .with("pair", "k=v")
        .with("none", "");
  });
  EXPECT_TRUE(
      line.ends_with("WARN  c e plain=a/b:c-d blank=\"two words\" quote=\"say \\\"x\\\"\" newline=\"a\\nfake INFO\" escape=\"\\u001b[2J\" "
                     "pair=\"k=v\" none=\"\"\n"))
      << line;
}

TEST(log, what_is_no_text_or_steers_a_terminal_is_written_as_what_it_is) {
  const std::pair<std::string, std::string> table[] = {
      {"a\xff", "\"a\\ufffd\""},
      {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
      {"caf\xc3", "\"caf\\ufffd\""},
      {"\xc2\x85x", "\"\\u0085x\""},
      {"\xc2\x9b"
       "31m",
       "\"\\u009b31m\""},
      {"\xe2\x80\xa8", "\"\\u2028\""},
      {"\x7f", "\"\\u007f\""},
      {"caf\xc3\xa9", "caf\xc3\xa9"},
      {"\xf0\x9f\x9a\x80", "\xf0\x9f\x9a\x80"},
  };
  for (const auto& [given, text] : table) {
    const auto& value = given;  // clang 14 captures no structured bindings
    EXPECT_THAT(written("info", "text", [&] { log_line(log_level::info, "c", "e").with("k", value); }), testing::EndsWith(" k=" + text + "\n"));
    const auto line = written("info", "json", [&] { log_line(log_level::info, "c", "e").with("k", value); });
    boost::system::error_code error;
    EXPECT_TRUE(boost::json::parse(line, error).is_object()) << line;
  }
}

TEST(log, a_json_line_is_one_object_with_typed_values) {
  const auto line = written("info", "json", [] {
    log_line(log_level::error, "kafka", "broker-away")
        .with("name", std::string("a \"b\"\n"))
        .with("count", std::numeric_limits<std::uint64_t>::max())
        .with("delta", std::int64_t{-5})
        .with("rate", 0.5)
        .with("never", std::numeric_limits<double>::infinity())
        .with("ok", true);
  });
  ASSERT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const auto object = boost::json::parse(line).as_object();
  EXPECT_EQ(object.at("level"), "error");
  EXPECT_EQ(object.at("component"), "kafka");
  EXPECT_EQ(object.at("event"), "broker-away");
  EXPECT_EQ(object.at("name"), "a \"b\"\n");
  EXPECT_EQ(object.at("count").as_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(object.at("delta").as_int64(), -5);
  EXPECT_EQ(object.at("rate").as_double(), 0.5);
  EXPECT_TRUE(object.at("never").is_null());
  EXPECT_EQ(object.at("ok"), "true");
  EXPECT_TRUE(object.at("time").as_string().ends_with('Z'));
}

TEST(log, lines_below_the_level_are_not_written) {
  const auto all = [] {
    for (const auto level : {log_level::debug, log_level::info, log_level::warn, log_level::error}) log_line(level, "c", "e").with("k", 1);
  };
  const auto count = [&](std::string_view level) {
    const auto text = written(level, "text", all);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(count("debug"), 4);
  EXPECT_EQ(count("info"), 3);
  EXPECT_EQ(count("warn"), 2);
  EXPECT_EQ(count("error"), 1);
  EXPECT_EQ(count("off"), 0);
  EXPECT_FALSE(log_enabled(log_level::debug));
}

TEST(log, lines_of_many_threads_stay_whole) {
  const auto text = written("info", "text", [] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 50; ++i) log_line(log_level::info, "thread", "line").with("text", std::string(200, 'x'));
      });
    }
    for (auto& x : threads) x.join();
  });
  std::size_t lines = 0;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line); ++lines) EXPECT_TRUE(line.ends_with(" INFO  thread line text=" + std::string(200, 'x'))) << line;
  EXPECT_EQ(lines, 200U);
}

TEST(log, a_throttle_lets_one_through_an_interval_and_counts_the_rest) {
  using namespace std::chrono_literals;
  log_throttle throttle(1s);
  const auto start = std::chrono::steady_clock::time_point(100s);
  EXPECT_EQ(throttle.pass(start), 0U);
  EXPECT_EQ(throttle.pass(start + 1ms), std::nullopt);
  EXPECT_EQ(throttle.pass(start + 999ms), std::nullopt);
  EXPECT_EQ(throttle.pass(start + 1s), 2U);
  EXPECT_EQ(throttle.pass(start + 5s), 0U);
}

}  // namespace
}  // namespace doorstep
