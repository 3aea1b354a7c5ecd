// SPDX-License-Identifier: Apache-2.0
// kafka_source against a real broker (DOORSTEP_TEST_KAFKA=host:port), and against librdkafka's mock cluster for what a broker cannot be made to do on demand.
#include "storage/kafka_source.hpp"
#include "tests/support/kafka_peer.hpp"
#include "tests/support/source_recorder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>

namespace doorstep {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

std::string unique_name(const std::string& what) {
  static int count = 0;
  return "kafka-source-" + what + "-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

/// A source with its listener; stops when it leaves.
struct member {
  member(const source_config& config, std::size_t flow = 0, bool commits = true) : heard(flow, commits) {
    auto made = make_kafka_source(config, counters);
    if (!made) throw std::runtime_error(to_string(made.error()));
    source = std::move(*made);
    heard.attach(*source);
    source->start(heard);
  }
  ~member() { source->stop(); }
  metrics counters;
  source_recorder heard;
  std::unique_ptr<record_source> source;
};

std::vector<std::int64_t> numbers(std::int64_t from, std::int64_t to) {
  std::vector<std::int64_t> out;
  for (auto i = from; i < to; ++i) out.push_back(i);
  return out;
}

class kafka_source : public testing::Test {
protected:
  void SetUp() override {
    const char* const address = std::getenv("DOORSTEP_TEST_KAFKA");
    if (address == nullptr || *address == '\0') GTEST_SKIP() << "NO KAFKA BROKER: set DOORSTEP_TEST_KAFKA=host:port (scripts/kafka start)";
    config.brokers = address;
    config.group = config.name = topic = unique_name("t");
    config.topics = {topic};
    config.commit_interval = milliseconds{50};
    config.kafka_options = {"topic.metadata.refresh.interval.ms=300"};
    kafka = std::make_unique<kafka_peer>(config.brokers);
  }
  topic_partition at(int partition) const { return {topic, partition}; }

  source_config config;
  std::string topic;
  std::unique_ptr<kafka_peer> kafka;
};

TEST_F(kafka_source, a_record_arrives_whole) {
  kafka->make_topic(topic, 1);
  rd_kafka_producev(kafka->client(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("k\0y", 3),
                    RD_KAFKA_V_VALUE(const_cast<char*>("v"), 1), RD_KAFKA_V_HEADER("a", "1", 1), RD_KAFKA_V_HEADER("b", nullptr, 0),
                    RD_KAFKA_V_HEADER("a", "2", 1), RD_KAFKA_V_TIMESTAMP(1795255200123), RD_KAFKA_V_END);
  kafka->flush();
  rd_kafka_producev(kafka->client(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_END);
  kafka->flush();
  member one(config, 10);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), 2));
  const auto records = one.heard[at(0)].records;
  EXPECT_EQ(records[0].key, std::string("k\0y", 3));
  EXPECT_EQ(records[0].value, "v");
  EXPECT_EQ(records[0].timestamp.value, 1795255200123);
  ASSERT_EQ(records[0].headers.size(), 3U);
  EXPECT_EQ(records[0].headers[1].name, "b");
  EXPECT_EQ(records[0].headers[1].value, "");
  EXPECT_EQ(records[0].headers[2].value, "2");
  EXPECT_EQ(records[1].key, std::nullopt);
  EXPECT_EQ(records[1].value, std::nullopt);
}

TEST_F(kafka_source, every_partition_keeps_its_order) {
  kafka->make_topic(topic, 4);
  for (int p = 0; p < 4; ++p) kafka->produce(topic, p, 0, 5000, 100);
  member one(config, 4096);
  for (int p = 0; p < 4; ++p) {
    ASSERT_TRUE(one.heard.wait_for_records(at(p), 5000)) << p;
    const auto heard = one.heard[at(p)];
    EXPECT_EQ(heard.offsets, numbers(0, 5000));
    EXPECT_EQ(heard.records[4999].key, "4999");
    EXPECT_EQ(heard.committed, -1);
  }
}

TEST_F(kafka_source, without_credit_nothing_comes_and_the_others_are_not_held_up) {
  kafka->make_topic(topic, 3);
  for (int p = 0; p < 3; ++p) kafka->produce(topic, p, 0, 3000);
  config.in_flight_max = 100;
  member one(config);
  ASSERT_TRUE(one.heard.wait([&](source_recorder& x) { return x.partitions_.size() == 3; }));
  one.heard.grant(at(1), 7);
  one.heard.grant(at(2), 3000);
  ASSERT_TRUE(one.heard.wait_for_records(at(2), 3000));
  ASSERT_TRUE(one.heard.wait_for_records(at(1), 7));
  EXPECT_EQ(one.heard[at(0)].offsets.size(), 0U);
  EXPECT_EQ(one.heard[at(1)].offsets, numbers(0, 7));
  one.heard.grant(at(0), 1);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), 1));
  EXPECT_EQ(one.heard[at(0)].offsets, numbers(0, 1));
}

TEST_F(kafka_source, credit_in_drops_loses_and_repeats_nothing) {
  // in_flight_max 20 pauses and resumes hundreds of times; the grants are all sizes, so that both ways to resume are taken.
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 3000);
  config.in_flight_max = 20;
  member one(config);
  ASSERT_TRUE(one.heard.wait([&](source_recorder& x) { return !x.partitions_.empty(); }));
  std::size_t granted = 0;
  for (std::size_t size = 1; granted < 3000; size = size % 37 + 3) {
    const auto more = std::min(size, 3000 - granted);
    one.heard.grant(at(0), more);
    granted += more;
    ASSERT_TRUE(one.heard.wait_for_records(at(0), granted)) << granted;
    ASSERT_EQ(one.heard[at(0)].offsets.size(), granted);
  }
  EXPECT_EQ(one.heard[at(0)].offsets, numbers(0, 3000));
  EXPECT_FALSE(one.heard[at(0)].over_credit);
}

TEST_F(kafka_source, what_was_committed_survives_a_restart_and_nothing_else_does) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 100);
  std::uint32_t generation = 0;
  {
    member one(config, 1000, false);
    ASSERT_TRUE(one.heard.wait_for_records(at(0), 100));
    generation = one.heard[at(0)].generation;
    one.source->commit(at(0), 40);
    one.source->commit(at(0), 60);
    one.source->commit(at(0), 50);  // late, and lower: the watermark only rises
    one.source->stop();
    EXPECT_EQ(one.heard[at(0)].revoked, 1);
  }
  member two(config, 1000);
  ASSERT_TRUE(two.heard.wait_for_records(at(0), 40));
  EXPECT_EQ(two.heard[at(0)].committed, 60);
  EXPECT_EQ(two.heard[at(0)].generation, generation);
  EXPECT_EQ(two.heard[at(0)].offsets, numbers(60, 100));
}

TEST_F(kafka_source, commits_are_sent_while_it_runs) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 100);
  member one(config, 1000, true);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), 100));
  const auto all_committed = [&] {
    const auto lags = one.source->lags();
    return lags.size() == 1 && lags[0].what == at(0) && lags[0].committed == 100 && lags[0].end == 100;
  };
  const auto until = std::chrono::steady_clock::now() + seconds{10};
  while (!all_committed() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_TRUE(all_committed());
}

TEST_F(kafka_source, two_members_share_and_the_one_that_stays_takes_over_without_skipping) {
  kafka->make_topic(topic, 4);
  const auto produce_all = [&](int from, int count) {
    for (int p = 0; p < 4; ++p) kafka->produce(topic, p, from, count);
  };
  const auto held_count = [](source_recorder& x) {
    return std::count_if(x.partitions_.begin(), x.partitions_.end(), [](const auto& y) { return y.second.held; });
  };
  produce_all(0, 500);
  member two_holder(config, 100);
  for (int p = 0; p < 4; ++p) ASSERT_TRUE(two_holder.heard.wait_for_records(at(p), 500));
  {
    member one(config, 100);
    ASSERT_TRUE(one.heard.wait([&](source_recorder& x) { return held_count(x) == 2; }));
    ASSERT_TRUE(two_holder.heard.wait([&](source_recorder& x) { return held_count(x) == 2; }));
    produce_all(500, 500);
    for (int p = 0; p < 4; ++p) {
      auto& owner = one.heard[at(p)].held ? one.heard : two_holder.heard;
      ASSERT_TRUE(owner.wait([&](source_recorder& x) { return !x.partitions_[at(p)].offsets.empty() && x.partitions_[at(p)].offsets.back() == 999; }))
          << p;
    }
    for (int p = 0; p < 4; ++p) {
      if (one.heard[at(p)].held) {
        EXPECT_EQ(one.heard[at(p)].offsets, numbers(500, 1000));
      }
    }
  }
  ASSERT_TRUE(two_holder.heard.wait([&](source_recorder& x) { return held_count(x) == 4; }));
  produce_all(1000, 500);
  for (int p = 0; p < 4; ++p) {
    ASSERT_TRUE(two_holder.heard.wait([&](source_recorder& x) { return x.partitions_[at(p)].offsets.back() == 1499; })) << p;
    // What the other one had and committed is not handed over again, and nothing behind it is left out.
    auto offsets = two_holder.heard[at(p)].offsets;
    EXPECT_TRUE(offsets == numbers(0, 1500) || (offsets.size() == 1000 && offsets[499] == 499 && offsets[500] == 1000)) << p << " " << offsets.size();
    EXPECT_FALSE(two_holder.heard[at(p)].over_credit);
  }
}

TEST_F(kafka_source, rewind_hands_over_again_also_when_it_is_paused) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 2000);
  config.in_flight_max = 100;
  member one(config);
  ASSERT_TRUE(one.heard.wait([&](source_recorder& x) { return !x.partitions_.empty(); }));
  std::vector<std::int64_t> expected;
  std::int64_t next = 0;
  for (const std::int64_t back : {0, 150, 151, 0, 10, 700, 3, 999}) {
    one.heard.grant(at(0), 300);
    for (int i = 0; i < 300; ++i) expected.push_back(next++);
    ASSERT_TRUE(one.heard.wait_for_records(at(0), expected.size()));
    ASSERT_EQ(one.heard[at(0)].offsets, expected);
    one.source->rewind(at(0), back);
    next = back;
  }
  one.heard.grant(at(0), 5000);
  for (; next < 2000; ++next) expected.push_back(next);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), expected.size()));
  EXPECT_EQ(one.heard[at(0)].offsets, expected);
}

TEST_F(kafka_source, a_missing_topic_is_waited_for) {
  config.topics = {topic, topic + "-later"};
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 1);
  member one(config, 10);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), 1));
  kafka->make_topic(topic + "-later", 1);
  kafka->produce(topic + "-later", 0, 0, 5);
  EXPECT_TRUE(one.heard.wait_for_records({topic + "-later", 0}, 5));
}

TEST_F(kafka_source, a_topic_made_anew_is_another_generation) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 10);
  std::uint32_t generation = 0;
  {
    member one(config, 100);
    ASSERT_TRUE(one.heard.wait_for_records(at(0), 10));
    generation = one.heard[at(0)].generation;
  }
  // Kafka forgets the group's commits with the topic. Where it would not, the commit lies behind the end of the new one.
  kafka->delete_topic(topic);
  kafka->make_topic(topic, 1);
  // The broker takes away the former topic when it comes to it; what is produced before would go with it.
  const auto until = std::chrono::steady_clock::now() + seconds{20};
  while (kafka->end_of(topic, 0) != 0 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  kafka->produce(topic, 0, 0, 5);
  ASSERT_EQ(kafka->end_of(topic, 0), 5);
  commit_as(config.brokers, config.group, at(0), 10, "doorstep generation=" + std::to_string(generation));
  member two(config, 100);
  ASSERT_TRUE(two.heard.wait_for_records(at(0), 5));
  const auto heard = two.heard[at(0)];
  EXPECT_EQ(heard.offsets, numbers(0, 5));
  EXPECT_EQ(heard.assigned, 2);  // first as the commit said, then anew
  EXPECT_EQ(heard.revoked, 1);
  EXPECT_EQ(heard.generations[0], generation);
  EXPECT_GT(heard.generations[1], generation);
  EXPECT_EQ(heard.committed, -1);
}

TEST_F(kafka_source, a_commit_that_is_not_ours_begins_a_generation_and_its_offset_counts) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 10);
  commit_as(config.brokers, config.group, at(0), 4, "");
  std::uint32_t generation = 0;
  {
    member one(config, 100, false);
    ASSERT_TRUE(one.heard.wait_for_records(at(0), 6));
    EXPECT_EQ(one.heard[at(0)].offsets, numbers(4, 10));
    EXPECT_EQ(one.heard[at(0)].committed, 4);
    generation = one.heard[at(0)].generation;
    EXPECT_GT(generation, 1'700'000'000U);
  }
  member two(config, 100);  // nothing was acked, but the generation was kept before the first record was handed over
  ASSERT_TRUE(two.heard.wait_for_records(at(0), 6));
  EXPECT_EQ(two.heard[at(0)].generation, generation);
}

TEST_F(kafka_source, what_retention_removed_is_passed_over) {
  kafka->make_topic(topic, 1);
  kafka->produce(topic, 0, 0, 100);
  commit_as(config.brokers, config.group, at(0), 10, "doorstep generation=7");
  kafka->delete_records_below(topic, 0, 50);
  member one(config, 1000);
  ASSERT_TRUE(one.heard.wait_for_records(at(0), 50));
  EXPECT_EQ(one.heard[at(0)].offsets, numbers(50, 100));
  EXPECT_EQ(one.heard[at(0)].generation, 7U);
}

TEST(kafka_source_without_broker, an_unreachable_broker_is_told_once_and_stop_does_not_wait_for_it) {
  source_config config;
  config.name = "unreachable";
  config.brokers = "127.0.0.1:1";
  config.topics = {"nothing"};
  member one(config, 10);
  ASSERT_TRUE(one.heard.wait([](source_recorder& x) { return !x.reachable_.empty(); }));
  const auto before = std::chrono::steady_clock::now();
  one.source->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds{5});
  ASSERT_EQ(one.heard.reachable_.size(), 1U);
  EXPECT_FALSE(one.heard.reachable_[0].first);
  EXPECT_THAT(one.heard.reachable_[0].second, HasSubstr("127.0.0.1:1"));
}

TEST(kafka_source_without_broker, an_option_that_librdkafka_does_not_know_is_named) {
  source_config config;
  config.name = "orders";
  config.brokers = "127.0.0.1:1";
  config.topics = {"orders"};
  metrics counters;
  for (const auto& [option, field] : {std::pair{"no.such.option=1", "no.such.option"}, std::pair{"fetch.wait.max.ms=soon", "fetch.wait.max.ms"}}) {
    config.kafka_options = {option};
    const auto made = make_kafka_source(config, counters);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ec::bad_config);
    EXPECT_EQ(made.error().field, field);
    EXPECT_THAT(made.error().detail, HasSubstr("orders"));
  }
}

/// One broker of librdkafka's own, in memory.
class mock_kafka : public testing::Test {
protected:
  void SetUp() override {
    cluster = rd_kafka_mock_cluster_new(host.client(), 1);
    rd_kafka_mock_topic_create(cluster, "orders", 1, 1);
    kafka = std::make_unique<kafka_peer>(rd_kafka_mock_cluster_bootstraps(cluster));
    config.name = "mock";
    config.brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    config.topics = {"orders"};
    config.commit_interval = milliseconds{20};
    config.session_timeout = milliseconds{4000};  // the mock does not know LeaveGroup: a member is missed only after this
  }
  void TearDown() override {
    kafka.reset();
    rd_kafka_mock_cluster_destroy(cluster);
  }
  kafka_peer host{"127.0.0.1:1"};
  rd_kafka_mock_cluster_t* cluster = nullptr;
  std::unique_ptr<kafka_peer> kafka;
  source_config config;
  const topic_partition orders{"orders", 0};
};

TEST_F(mock_kafka, a_broker_that_goes_and_comes_back_is_told_and_reading_goes_on) {
  kafka->produce("orders", 0, 0, 10);
  member one(config, 100);
  ASSERT_TRUE(one.heard.wait_for_records(orders, 10));
  rd_kafka_mock_broker_set_down(cluster, 1);
  ASSERT_TRUE(one.heard.wait([](source_recorder& x) { return x.reachable_.size() == 1; }));
  rd_kafka_mock_broker_set_up(cluster, 1);
  ASSERT_TRUE(one.heard.wait([](source_recorder& x) { return x.reachable_.size() >= 2; }));
  EXPECT_FALSE(one.heard.reachable_[0].first);
  EXPECT_NE(one.heard.reachable_[0].second, "");
  EXPECT_TRUE(one.heard.reachable_[1].first);
  EXPECT_EQ(one.heard.reachable_[1].second, "");
  kafka->produce("orders", 0, 10, 10);
  ASSERT_TRUE(one.heard.wait_for_records(orders, 20));
  EXPECT_EQ(one.heard[orders].offsets, numbers(0, 20));
}

TEST_F(mock_kafka, a_stop_while_the_broker_is_away_takes_seconds_at_most) {
  kafka->produce("orders", 0, 0, 10);
  config.commit_interval = milliseconds{60'000};
  member one(config, 100);
  ASSERT_TRUE(one.heard.wait_for_records(orders, 10));
  rd_kafka_mock_broker_set_down(cluster, 1);
  ASSERT_TRUE(one.heard.wait([](source_recorder& x) { return x.reachable_.size() == 1; }));
  const auto before = std::chrono::steady_clock::now();
  one.source->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds{8});
  EXPECT_EQ(one.heard[orders].revoked, 1);
}

TEST_F(mock_kafka, a_refused_commit_is_sent_again) {
  kafka->produce("orders", 0, 0, 10);
  {
    member one(config, 100, false);
    ASSERT_TRUE(one.heard.wait_for_records(orders, 10));
    constexpr std::int16_t offset_commit = 8;
    rd_kafka_mock_push_request_errors(cluster, offset_commit, 2, RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE);
    one.source->commit(orders, 10);
    const auto committed = [&] {
      const auto lags = one.source->lags();
      return !lags.empty() && lags[0].committed == 10;
    };
    const auto until = std::chrono::steady_clock::now() + seconds{10};
    while (!committed() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(committed());
  }
  member two(config, 100);
  ASSERT_TRUE(two.heard.wait([&](source_recorder& x) { return x.partitions_[orders].held; }));
  EXPECT_EQ(two.heard[orders].committed, 10);
}

}  // namespace
}  // namespace doorstep
