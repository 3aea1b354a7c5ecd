// SPDX-License-Identifier: Apache-2.0
// Which settings of the internal topic are refused, and what the operator is told to run.
#include "storage/log_topic.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace doorstep {
namespace {

using testing::HasSubstr;

log_config options() {
  log_config out;
  out.brokers = "k1:9092";
  out.topic = "mail";
  return out;
}

topic_facts as_made(const log_config& by) {
  topic_facts out;
  out.partitions = static_cast<std::uint32_t>(by.shards);
  out.replicas = static_cast<std::uint32_t>(by.replication);
  for (const auto& [name, value] : log_topic_settings(by)) out.settings[name] = value;
  return out;
}

TEST(log_topic, what_is_made_is_safe) {
  for (const std::size_t replication : {1, 2, 3, 5}) {
    auto by = options();
    by.replication = replication;
    const auto topic = as_made(by);
    EXPECT_TRUE(check_log_topic(topic, by)) << replication;
    EXPECT_EQ(topic.settings.at("min.insync.replicas"), replication == 1 ? "1" : "2");
  }
}

TEST(log_topic, every_unsafe_setting_is_refused_with_the_command_that_mends_it) {
  struct unsafe {
    std::string name, value, remedy;
  };
  const std::vector<unsafe> all{
      {"cleanup.policy", "compact", "cleanup.policy=delete"},  {"cleanup.policy", "compact,delete", "cleanup.policy=delete"},
      {"cleanup.policy", "", "cleanup.policy=delete"},         {"retention.ms", "604799999", "retention.ms=604800000"},
      {"retention.bytes", "1000000000", "retention.bytes=-1"}, {"unclean.leader.election.enable", "true", "unclean.leader.election.enable=false"},
      {"min.insync.replicas", "1", "min.insync.replicas=2"},   {"max.message.bytes", "1048588", "max.message.bytes=2228224"},
  };
  for (const auto& x : all) {
    auto topic = as_made(options());
    topic.settings[x.name] = x.value;
    const auto found = check_log_topic(topic, options());
    ASSERT_FALSE(found) << x.name;
    EXPECT_EQ(found.error().code, ec::bad_config);
    EXPECT_EQ(found.error().field, x.name);
    EXPECT_THAT(found.error().detail, HasSubstr(x.name));
    EXPECT_THAT(found.error().detail,
                HasSubstr("kafka-configs.sh --bootstrap-server k1:9092 --alter --entity-type topics --entity-name mail --add-config " + x.remedy));
  }
}

TEST(log_topic, more_than_is_asked_for_is_taken) {
  auto topic = as_made(options());
  topic.replicas = 5;
  topic.settings["retention.ms"] = "-1";
  topic.settings["min.insync.replicas"] = "3";
  topic.settings["max.message.bytes"] = "100000000";
  EXPECT_TRUE(check_log_topic(topic, options()));
}

TEST(log_topic, partitions_and_replicas_must_fit_the_configuration) {
  auto topic = as_made(options());
  topic.partitions = 12;
  const auto partitions = check_log_topic(topic, options());
  ASSERT_FALSE(partitions);
  EXPECT_EQ(partitions.error().field, "log.shards");
  EXPECT_THAT(partitions.error().detail, HasSubstr("--set log.shards=12"));
  topic = as_made(options());
  topic.replicas = 1;
  const auto replicas = check_log_topic(topic, options());
  ASSERT_FALSE(replicas);
  EXPECT_EQ(replicas.error().field, "log.replication");
  EXPECT_THAT(replicas.error().detail, HasSubstr("--set log.replication=1"));
}

}  // namespace
}  // namespace doorstep
