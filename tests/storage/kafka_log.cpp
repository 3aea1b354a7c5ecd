// SPDX-License-Identifier: Apache-2.0
// What only the log in Kafka can get wrong: whose topic it is, how it was made, who else writes into it, and a broker that is away.
#include "storage/kafka_log.hpp"

#include "storage/kafka_log_reader.hpp"
#include "storage/kafka_producer.hpp"
#include "storage/log_record.hpp"
#include "storage/sqlite_store.hpp"
#include "tests/support/engines.hpp"
#include "tests/support/kafka_peer.hpp"
#include "tests/support/mongo_peer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(log_mark, what_is_written_is_read_back_and_other_texts_are_none) {
  const log_mark mark{"abc", 3, 8, "store-1"};
  EXPECT_EQ(mark.text(), "doorstep log=abc generation=3 shards=8 store=store-1");
  const auto read = log_mark::parse(mark.text()).value();
  EXPECT_EQ(read.log_id, "abc");
  EXPECT_EQ(read.generation, 3u);
  EXPECT_EQ(read.shards, 8u);
  EXPECT_EQ(read.store_id, "store-1");
  for (const char* text : {"", "doorstep generation=4", "doorstep log=a generation=x shards=8 store=s", "doorstep log=a shards=8"})
    EXPECT_FALSE(log_mark::parse(text)) << text;
}

class kafka_log_test : public testing::Test {
protected:
  void SetUp() override {
    if (shared_kafka().empty()) DOORSTEP_PEER_MISSING("DOORSTEP_TEST_KAFKA names no broker");
    use_kafka(options, shared_kafka(), folder);
  }
  void TearDown() override {
    at.reset();
    if (!options.log.brokers.empty()) kafka_peer(options.log.brokers).delete_topic(options.log.topic);
  }
  void open() { at = make_engines("kafka", options); }
  void reopen() {
    at.reset();
    open();
  }
  /// What is wrong with a start.
  failure refused() {
    at.reset();
    metrics counts;
    auto log = kafka_log::open(options, counts);
    if (!log) return log.error();
    auto store = open_sqlite_store(options, (*log)->identity(), counts);
    if (!store) return store.error();
    auto claimed = (*log)->claim(**store);
    return claimed ? failure{ec::internal, "nothing", {}} : claimed.error();
  }
  shard_id shard_of_user(const std::string& id) const { return shard_of(user(id), static_cast<std::uint32_t>(options.log.shards)); }
  /// Writes the position that a SHARD would.
  void store_position(const std::string& of, std::uint64_t next_offset) {
    store_batch batch;
    batch.positions.push_back({shard_of_user(of), next_offset});
    write(*at, std::move(batch)).value();
  }
  std::vector<std::string> read_all(const std::string& of, std::size_t count, std::uint64_t from = 0) {
    at->log->open_shard(shard_of_user(of), from, taker.sink());
    at->log->grant(shard_of_user(of), 1000);
    std::vector<std::string> out;
    for (const auto& x : taker.wait_for(count)) out.push_back(x.what->what->id);
    return out;
  }

  scratch_folder folder;
  config options = test_config(folder);
  std::unique_ptr<engines> at;
  record_taker taker;
};

TEST_F(kafka_log_test, the_topic_is_made_with_what_the_check_asks_for) {
  options.log.shards = 3;
  open();
  EXPECT_EQ(at->log->shard_count(), 3u);
  reopen();  // what was made is taken
  EXPECT_EQ(kafka_peer(options.log.brokers).end_of(options.log.topic, 2), 0);
  EXPECT_EQ(kafka_peer(options.log.brokers).end_of(options.log.topic, 3), -1) << "no fourth partition";
}

TEST_F(kafka_log_test, a_topic_that_somebody_made_with_the_brokers_defaults_is_refused_with_the_command_that_mends_it) {
  kafka_peer(options.log.brokers).make_topic(options.log.topic, static_cast<int>(options.log.shards));
  const auto why = refused();
  EXPECT_EQ(why.code, ec::bad_config);
  EXPECT_EQ(why.field, "max.message.bytes");
  EXPECT_THAT(why.detail, HasSubstr("kafka-configs.sh --bootstrap-server " + options.log.brokers));
}

TEST_F(kafka_log_test, another_number_of_partitions_is_refused) {
  open();
  at.reset();
  options.log.shards = 5;
  EXPECT_EQ(refused().field, "log.shards");
  options.log.shards = 4;
  options.log.replication = 3;
  EXPECT_EQ(refused().field, "log.replication");
}

TEST_F(kafka_log_test, without_brokers_the_start_is_refused) {
  options.log.brokers.clear();
  EXPECT_EQ(refused().field, "log.brokers");
  options.log.brokers = shared_kafka();
}

TEST_F(kafka_log_test, a_log_belongs_to_one_store) {
  open();
  append(*at, {entry_for("alice", "1")}).value();
  at.reset();
  options.store.path = folder.file("other.db");
  const auto why = refused();
  EXPECT_EQ(why.code, ec::bad_config);
  EXPECT_THAT(why.detail, HasSubstr("belongs to the store"));
  EXPECT_THAT(why.detail, HasSubstr("--set log.generation=1"));
}

TEST_F(kafka_log_test, a_store_belongs_to_one_log) {
  open();
  append(*at, {entry_for("alice", "1")}).value();
  store_position("alice", 1);
  at.reset();
  const auto first = options.log.topic;
  options.log.topic = options.log.group = first + "-other";
  const auto why = refused();
  kafka_peer(options.log.brokers).delete_topic(options.log.topic);
  options.log.topic = options.log.group = first;
  EXPECT_EQ(why.code, ec::bad_config);
  EXPECT_THAT(why.detail, HasSubstr("is ahead of the log"));
}

TEST_F(kafka_log_test, a_topic_that_was_deleted_stops_the_start_until_a_new_generation_begins) {
  open();
  const auto shard = shard_of_user("alice");
  const auto before = append(*at, {entry_for("alice", "1"), entry_for("alice", "2")}).value().back().seq;
  store_position("alice", 2);
  at.reset();
  kafka_peer(options.log.brokers).delete_topic(options.log.topic);
  const auto why = refused();
  EXPECT_EQ(why.code, ec::bad_config);
  EXPECT_THAT(why.detail, HasSubstr("doorstep serve --set log.generation=1"));
  options.log.generation = 1;
  open();
  EXPECT_EQ(at->log->generation(), 1u);
  EXPECT_EQ(at->store->positions().at(static_cast<std::size_t>(shard)).next_offset, 0u);
  const auto after = append(*at, {entry_for("alice", "3")}).value().back().seq;
  EXPECT_GT(after, before);
  EXPECT_EQ(after, sequence::at(1, 0));
  options.log.generation = 0;  // stands in store and log
  reopen();
  EXPECT_EQ(at->log->generation(), 1u);
}

TEST_F(kafka_log_test, the_embedded_engines_refuse_a_file_that_this_log_has_filled_and_the_other_way_round) {
  open();
  at.reset();
  metrics counts;
  auto embedded = options;
  embedded.log.engine = "embedded";
  const auto opened = open_embedded(embedded, counts);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().detail, HasSubstr("log in Kafka"));
  options.store.path = folder.file("embedded.db");
  {
    auto made = make_engines("embedded", options);
    append(*made, {entry_for("alice", "1")}).value();
  }
  EXPECT_THAT(refused().detail, testing::AnyOf(HasSubstr("belongs to another log"), HasSubstr("belongs to the store")));
}

TEST_F(kafka_log_test, a_record_that_somebody_else_wrote_goes_to_the_dead_letters_and_a_newer_one_stops_its_shard_alone) {
  options.log.shards = 2;
  open();
  kafka_peer peer(options.log.brokers);
  const auto shard = static_cast<int>(shard_of_user("alice"));
  append(*at, {entry_for("alice", "1")}).value();
  peer.produce(options.log.topic, shard, 7, 1);
  append(*at, {entry_for("alice", "2")}).value();
  EXPECT_EQ(read_all("alice", 3).size(), 3u);
  const auto records = taker.taken();
  EXPECT_TRUE(records[1].what->to.is_dead_letters());
  EXPECT_THAT(records[1].detail, HasSubstr("ds-v"));
  EXPECT_EQ(records[2].what->what->id, "2");

  auto newer = encode_log_record({entry_for("alice", "3")});
  newer.headers[0].value = "2";
  struct : producer_events {
    void delivered(void*, std::int32_t, const result<std::int64_t>& offset) override { landed = offset.has_value(); }
    void producer_trouble(bool, const std::string&) override {}
    bool landed = false;
  } events;
  auto producer = kafka_producer::make("a newer Doorstep", {{"bootstrap.servers", options.log.brokers}}, events).value();
  ASSERT_FALSE(producer->produce(options.log.topic, shard, newer, nullptr));
  while (!events.landed) producer->poll(milliseconds{50});
  append(*at, {entry_for("alice", "4")}).value();
  std::string neighbour;
  for (int i = 0; neighbour.empty(); ++i)
    if (shard_of_user("n" + std::to_string(i)) != shard_of_user("alice")) neighbour = "n" + std::to_string(i);
  append(*at, {entry_for(neighbour, "5")}).value();
  record_taker other;
  at->log->open_shard(shard_of_user(neighbour), 0, other.sink());
  at->log->grant(shard_of_user(neighbour), 10);
  EXPECT_EQ(other.wait_for(1)[0].what->what->id, "5");
  EXPECT_EQ(taker.taken().size(), 3u) << "nothing at or after the record that nobody here can read";
  EXPECT_EQ(taker.next_offset(), 3u);
}

TEST_F(kafka_log_test, what_is_too_large_is_told_to_publishers_and_holds_up_no_source) {
  options.log.record_bytes_max = 1024;
  open();
  auto big = entry_for("alice", "1");
  event what = *big.what;
  what.data = '"' + std::string(300 * 1024, 'x') + '"';
  big.what = std::make_shared<const event>(what);
  const answer<std::vector<appended>> published;
  ASSERT_TRUE(at->log->append({entry_for("alice", "0"), big}, admission::bounded, published.taker()));
  EXPECT_EQ(published.wait().error().code, ec::too_large);
  EXPECT_EQ(at->log->queued(), 0u);
  EXPECT_EQ(at->log->end_offset(shard_of_user("alice")), 0u) << "all or none";
  big.came_from = {std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3}), 17, 17};
  append(*at, {big}).value();
  const auto shard = shard_of(address::dead_letters(), static_cast<std::uint32_t>(options.log.shards));
  at->log->open_shard(shard, 0, taker.sink());
  at->log->grant(shard, 10);
  const auto dead = taker.wait_for(1)[0];
  EXPECT_TRUE(dead.what->to.is_dead_letters());
  EXPECT_EQ(dead.what->what->extension("originoffset"), "17");
  EXPECT_EQ(dead.came_from.offset, 17);
}

TEST_F(kafka_log_test, a_group_with_a_member_is_refused_by_a_store_in_a_file) {
  open();
  at.reset();
  struct : kafka_events {
    void gained(std::vector<topic_partition> x) override { joined = !x.empty(); }
    void losing(std::vector<topic_partition>, bool) override {}
    void trouble(bool, const std::string&) override {}
    void ended(const std::string&) override {}
    bool joined = false;
  } events;
  auto member = kafka_client::make("a member", {{"bootstrap.servers", options.log.brokers}, {"group.id", options.log.group}}, events).value();
  member->subscribe({options.log.topic}).value();
  for (int i = 0; i < 100 && !events.joined; ++i) member->poll(milliseconds{100});
  ASSERT_TRUE(events.joined);
  EXPECT_EQ(refused().field, "log.group");
  member->close();
}

TEST_F(kafka_log_test, the_group_shows_how_far_the_store_is) {
  open();
  append(*at, {entry_for("alice", "1"), entry_for("alice", "2")}).value();
  at->log->stored(shard_of_user("alice"), 2);
  at.reset();  // the last word is told at the stop
  struct : kafka_events {
    void gained(std::vector<topic_partition>) override {}
    void losing(std::vector<topic_partition>, bool) override {}
    void trouble(bool, const std::string&) override {}
    void ended(const std::string&) override {}
  } events;
  auto client = kafka_client::make("a tool", {{"bootstrap.servers", options.log.brokers}, {"group.id", options.log.group}}, events).value();
  const auto found = client->committed({{options.log.topic, static_cast<std::int32_t>(shard_of_user("alice"))}}, milliseconds{10'000}).value();
  EXPECT_EQ(found[0].offset, 2);
  EXPECT_TRUE(log_mark::parse(found[0].metadata));
}

TEST_F(kafka_log_test, a_record_of_a_newer_major_version_stops_its_shard_visibly_and_no_other) {
  open();
  append(*at, {entry_for("alice", "1")}).value();
  const auto shard = shard_of_user("alice");
  struct : producer_events {
    void delivered(void*, std::int32_t, const result<std::int64_t>& offset) override { landed = offset.has_value(); }
    void producer_trouble(bool, const std::string&) override {}
    bool landed = false;
  } events;
  auto newer = kafka_producer::make("a newer version", {{"bootstrap.servers", options.log.brokers}}, events).value();
  auto record = encode_log_record({entry_for("alice", "2")});
  record.headers.front().value = "2";
  ASSERT_EQ(record.headers.front().name, "ds-v");
  ASSERT_FALSE(newer->produce(options.log.topic, static_cast<std::int32_t>(shard), record, nullptr));
  for (int i = 0; i < 100 && !events.landed; ++i) newer->poll(milliseconds{100});
  ASSERT_TRUE(events.landed);

  record_taker taker;
  EXPECT_EQ(at->log->why_stopped(shard), "");
  at->log->open_shard(shard, 0, taker.sink());
  at->log->grant(shard, 100);
  EXPECT_EQ(taker.wait_for(1)[0].what->what->id, "1");
  for (int i = 0; i < 150 && at->log->why_stopped(shard).empty(); ++i) std::this_thread::sleep_for(milliseconds{100});
  EXPECT_THAT(at->log->why_stopped(shard), HasSubstr("newer Doorstep"));
  const auto part = "log shard " + std::to_string(static_cast<std::uint32_t>(shard));
  ASSERT_TRUE(at->counts->away.has(part));
  EXPECT_THAT(at->counts->away.reasons().at(0), testing::AllOf(HasSubstr(part), HasSubstr("newer Doorstep"), HasSubstr("run that version")));
  EXPECT_THAT(at->counts->text(), HasSubstr("doorstep_outage{part=\"" + part + "\"} 1"));
  const shard_id other{(static_cast<std::uint32_t>(shard) + 1) % static_cast<std::uint32_t>(options.log.shards)};
  EXPECT_EQ(at->log->why_stopped(other), "");
  EXPECT_EQ(taker.taken().size(), 1u);
}

/// A broker of the test's own, which may be stopped.
class own_kafka {
public:
  explicit own_kafka(const scratch_folder& folder) : dir_(folder.file("kafka")) {}
  ~own_kafka() { script("stop"); }
  std::string start() {
    const auto port = std::to_string(free_port());
    return script("start --port " + port) ? "127.0.0.1:" + port : "";
  }
  bool pause() { return script("pause"); }
  bool restart() { return script("restart"); }

private:
  bool script(const std::string& words) const {
    return std::system((std::string(DOORSTEP_TREE) + "/scripts/kafka " + words + " --dir " + dir_ + " >/dev/null 2>&1").c_str()) == 0;
  }
  const std::string dir_;
};

/// Polls for up to a quarter of a minute: the brokers are asked in intervals.
bool log_is(bool away, const metrics& counts) {
  for (int i = 0; i < 150 && counts.away.has("log") != away; ++i) std::this_thread::sleep_for(milliseconds{100});
  return counts.away.has("log") == away;
}

/// A log in a broker of its own, which may be stopped.
class kafka_log_outage : public testing::Test {
protected:
  void SetUp() override {
    const auto brokers = broker.start();
    if (brokers.empty()) DOORSTEP_PEER_MISSING("scripts/kafka cannot start a broker");
    use_kafka(options, brokers, folder);
  }

  scratch_folder folder;
  own_kafka broker{folder};
  config options = test_config(folder);
};

TEST_F(kafka_log_outage, a_broker_that_goes_away_fills_the_bounded_queue_and_gets_everything_in_order_when_it_is_back) {
  options.log.shards = 1;
  options.log.queue_entries_max = 10;
  auto at = make_engines("kafka", options);
  append(*at, {entry_for("alice", "0")}).value();
  record_taker taker;
  at->log->open_shard(shard_id{0}, 0, taker.sink());
  at->log->grant(shard_id{0}, 1000);
  taker.wait_for(1);

  ASSERT_TRUE(broker.pause());
  std::vector<answer<std::vector<appended>>> waiting(12);
  std::vector<std::string> expected{"0"};
  for (int i = 1; i <= 10; ++i) {
    ASSERT_TRUE(at->log->append({entry_for("alice", std::to_string(i))}, admission::bounded, waiting[static_cast<std::size_t>(i)].taker())) << i;
    expected.push_back(std::to_string(i));
  }
  EXPECT_FALSE(at->log->append({entry_for("alice", "11")}, admission::bounded, [](auto) { FAIL() << "called for an append that was not taken"; }));
  ASSERT_TRUE(at->log->append({entry_for("alice", "12")}, admission::credited, waiting[11].taker()));
  expected.emplace_back("12");
  EXPECT_EQ(at->log->queued(), 11u);
  EXPECT_FALSE(waiting[1].ready());
  EXPECT_TRUE(log_is(true, *at->counts)) << "publishers get 503 instead of 429, and the server is not ready";

  ASSERT_TRUE(broker.restart());
  std::vector<std::string> ids;
  for (const auto& x : taker.wait_for(12)) ids.push_back(x.what->what->id);
  EXPECT_EQ(ids, expected);
  for (std::size_t i = 1; i < 12; ++i) EXPECT_TRUE(waiting[i].wait()) << i;
  EXPECT_EQ(at->log->queued(), 0u);
  EXPECT_TRUE(log_is(false, *at->counts));
}

TEST_F(kafka_log_outage, an_idle_log_sees_by_itself_that_the_broker_is_back) {
  auto at = make_engines("kafka", options);
  ASSERT_TRUE(broker.pause());
  EXPECT_TRUE(log_is(true, *at->counts));
  ASSERT_TRUE(broker.restart());
  EXPECT_TRUE(log_is(false, *at->counts)) << "nobody publishes to a server that is not ready";
}

TEST_F(kafka_log_outage, a_stop_with_the_broker_away_ends_and_tells_who_waits) {
  auto at = make_engines("kafka", options);
  append(*at, {entry_for("alice", "0")}).value();
  ASSERT_TRUE(broker.pause());
  const answer<std::vector<appended>> waiting;
  ASSERT_TRUE(at->log->append({entry_for("alice", "1")}, admission::credited, waiting.taker()));
  at->log->stop();
  ASSERT_TRUE(waiting.ready());
  EXPECT_EQ(waiting.wait().error().code, ec::unavailable);
}

}  // namespace
}  // namespace doorstep::test
