// SPDX-License-Identifier: Apache-2.0
// What does not work is said once, with its effect, until it works again; and how much may wait for a store.
#include "runtime/outages.hpp"

#include "runtime/log.hpp"
#include "runtime/metrics.hpp"
#include "runtime/store_backlog.hpp"

#include <gmock/gmock.h>

#include <string>

namespace doorstep {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(outages, a_part_that_fails_again_and_again_is_one_line_one_gauge_and_one_reason_with_its_time_and_effect) {
  set_log_output("info", "text");
  metrics x;
  testing::internal::CaptureStderr();
  for (int i = 0; i < 5; ++i) x.away.begin("store", "no server", "acks get no receipt");
  EXPECT_TRUE(x.away.has("store"));
  EXPECT_THAT(x.away.reasons(), ElementsAre(MatchesRegex("store is away since 20..-..-..T..:..:..\\....Z: no server; acks get no receipt")));
  EXPECT_THAT(x.text(), HasSubstr("doorstep_outage{part=\"store\"} 1\n"));
  for (int i = 0; i < 5; ++i) x.away.end("store");
  EXPECT_THAT(x.away.reasons(), IsEmpty());
  EXPECT_THAT(x.text(), HasSubstr("doorstep_outage{part=\"store\"} 0\n"));
  const auto lines = testing::internal::GetCapturedStderr();
  set_log_output("off", "text");
  EXPECT_EQ(count_of(lines, "\n"), 2U) << lines;
  EXPECT_THAT(lines, AllOf(HasSubstr("acks get no receipt"), HasSubstr("ended")));
  EXPECT_EQ(count_of(lines, "WARN") + count_of(lines, "warn"), 2U) << lines;
}

TEST(outages, each_part_has_its_own) {
  metrics x;
  x.away.begin("store", "a", "b");
  x.away.begin("source orders", "c", "d");
  x.away.end("store");
  EXPECT_THAT(x.away.reasons(), ElementsAre(HasSubstr("source orders")));
  EXPECT_FALSE(x.away.has("store"));
}

store_config limits(std::size_t messages, std::size_t bytes) {
  store_config x;
  x.backlog_messages_max = messages;
  x.backlog_bytes_max = bytes;
  return x;
}

TEST(store_backlog, is_full_at_either_limit_and_has_room_again_when_a_quarter_of_it_is_free) {
  metrics counts;
  store_backlog by_count(limits(100, 1'000'000), counts);
  by_count.add(99, 99);
  EXPECT_FALSE(by_count.is_full());
  by_count.add(1, 1);
  EXPECT_TRUE(by_count.is_full());
  EXPECT_THAT(counts.away.reasons(), ElementsAre(AllOf(HasSubstr("intake"), HasSubstr("backlog_messages_max"), HasSubstr("503"))));
  by_count.remove(24, 24);
  EXPECT_TRUE(by_count.is_full());
  by_count.remove(1, 1);
  EXPECT_FALSE(by_count.is_full());
  EXPECT_THAT(counts.away.reasons(), IsEmpty());

  store_backlog by_bytes(limits(100, 1'000), counts);
  by_bytes.add(1, 1'000);
  EXPECT_TRUE(by_bytes.is_full());
  EXPECT_THAT(counts.away.reasons(), ElementsAre(HasSubstr("backlog_bytes_max")));
  EXPECT_EQ(counts.store_backlog.value(), 1);
  EXPECT_EQ(counts.store_backlog_bytes.value(), 1'000);
  EXPECT_EQ(counts.store_backlog_bytes_max.value(), 1'000);
}

}  // namespace
}  // namespace doorstep
