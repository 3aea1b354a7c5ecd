// SPDX-License-Identifier: Apache-2.0
// What a scrape sees.
#include "runtime/metrics.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>

namespace doorstep {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(metrics, a_counter_is_exported_under_its_name_with_help_and_type) {
  metrics x;
  x.records_in.add();
  x.records_in.add(41);
  EXPECT_EQ(x.records_in.value(), 42);
  EXPECT_THAT(x.text(), HasSubstr("# HELP doorstep_records_in_total Records read from the source topics.\n"
                                  "# TYPE doorstep_records_in_total counter\n"
                                  "doorstep_records_in_total 42\n"));
}

TEST(metrics, a_gauge_goes_both_ways) {
  metrics x;
  x.sessions.set(5);
  x.sessions.add(-2);
  EXPECT_EQ(x.sessions.value(), 3);
  EXPECT_THAT(x.text(), HasSubstr("doorstep_sessions 3\n"));
}

TEST(metrics, a_histogram_is_in_seconds_with_buckets_from_100_us_to_10_s) {
  metrics x;
  x.push_to_ack.observe(std::chrono::microseconds(50));
  x.push_to_ack.observe(std::chrono::milliseconds(3));
  x.push_to_ack.observe(std::chrono::seconds(60));
  const auto text = x.text();
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_bucket{le=\"0.0001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_bucket{le=\"0.0025\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_bucket{le=\"0.005\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_bucket{le=\"10\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("doorstep_push_to_ack_seconds_sum 60.00305"));
}

TEST(metrics, gauges_with_labels_are_made_once) {
  metrics x;
  x.partition_gauge("doorstep_source_lag_records", "Lag.", "shop", "orders", 3).set(17);
  x.partition_gauge("doorstep_source_lag_records", "Lag.", "shop", "orders", 3).add(1);
  x.partition_gauge("doorstep_source_lag_records", "Lag.", "shop", "orders", 4).set(2);
  x.shard_gauge("doorstep_shard_mailboxes", "Mailboxes.", 7).set(1);
  const auto text = x.text();
  EXPECT_THAT(text, HasSubstr("partition=\"3\""));
  EXPECT_EQ(x.partition_gauge("doorstep_source_lag_records", "Lag.", "shop", "orders", 3).value(), 18);
  EXPECT_THAT(text, HasSubstr("doorstep_shard_mailboxes{shard=\"7\"} 1\n"));
  const std::string help = "# HELP doorstep_source_lag_records ";
  EXPECT_THAT(text.substr(text.find(help) + help.size()), Not(HasSubstr(help)));
}

TEST(metrics, names_follow_prometheus_counters_end_in_total_and_nothing_else_does) {
  const metrics x;
  const auto text = x.text();
  constexpr std::string_view mark = "# TYPE ";
  int counters = 0;
  for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const auto line = text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
    const auto name = line.substr(0, line.find(' '));
    const auto kind = line.substr(name.size() + 1);
    EXPECT_TRUE(name.starts_with("doorstep_")) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos) << name;
    EXPECT_EQ(name.ends_with("_total"), kind == "counter") << name;
    EXPECT_EQ(name.ends_with("_seconds"), kind == "histogram") << name;
    counters += kind == "counter" ? 1 : 0;
  }
  EXPECT_EQ(counters, 62);
}

std::set<std::string> names_in(const std::string& text) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789_";
  std::set<std::string> out;
  for (auto at = text.find("doorstep_"); at != std::string::npos; at = text.find("doorstep_", at + 1)) {
    out.insert(text.substr(at, text.find_first_not_of(letters, at) - at));
  }
  return out;
}

TEST(metrics, alert_rules_and_dashboard_ask_only_for_what_there_is) {
  metrics there;
  (void)there.of_route("a");
  there.away.begin("a part", "why", "effect");
  auto known = names_in(there.text());
  known.insert({"doorstep_source_lag_records", "doorstep_source_credit_records"});  // with labels, from the source
  for (const auto* file : {"conf/alerts.yaml", "conf/dashboard.json"}) {
    std::ifstream in(std::string(DOORSTEP_TREE "/") + file);
    const auto asked = names_in({std::istreambuf_iterator<char>(in), {}});
    EXPECT_GT(asked.size(), 10U) << file;
    for (const auto& name : asked) EXPECT_TRUE(known.contains(name)) << file << " asks for " << name;
  }
}

TEST(metrics, two_instances_do_not_share_anything) {
  metrics a, b;
  a.acked.add();
  EXPECT_EQ(b.acked.value(), 0);
}

TEST(metrics, one_that_was_never_registered_is_harmless) {
  const counter x;
  x.add();
  EXPECT_EQ(x.value(), 0);
}

}  // namespace
}  // namespace doorstep
