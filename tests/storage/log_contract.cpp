// SPDX-License-Identifier: Apache-2.0
// What every mailbox log promises. A new implementation joins at the bottom.
#include "storage/message_log.hpp"

#include "tests/support/engines.hpp"
#include "tests/support/kafka_peer.hpp"
#include "tests/support/mongo_peer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace doorstep::test {
namespace {

class log_contract : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (GetParam() != "kafka") return;
    if (shared_kafka().empty()) DOORSTEP_PEER_MISSING("DOORSTEP_TEST_KAFKA names no broker");
    use_kafka(options, shared_kafka(), folder);
  }
  void TearDown() override {
    at.reset();
    if (!options.log.brokers.empty()) kafka_peer(options.log.brokers).delete_topic(options.log.topic);
  }
  void reopen() {
    at.reset();
    open();
  }
  void open() { at = make_engines(GetParam(), options); }
  shard_id shard_of_user(const std::string& id) const { return shard_of(user(id), at->log->shard_count()); }

  scratch_folder folder;
  config options = test_config(folder);
  std::unique_ptr<engines> at;
};

/// What logs promise that judge replays and duplicates at append. For the others the stores (store_contract) and the SHARD (tests/actors) promise it.
class judging_log : public log_contract {};

std::vector<std::string> event_ids(const std::vector<logged>& records) {
  std::vector<std::string> out;
  for (const auto& x : records) out.push_back(x.what->what->id);
  return out;
}

TEST_P(log_contract, an_entry_gets_the_next_seq_of_its_shard) {
  open();
  const auto shard = shard_of_user("alice");
  EXPECT_EQ(at->log->end_offset(shard), 0u);
  const auto first = append(*at, {entry_for("alice", "1"), entry_for("alice", "2")}).value();
  const auto second = append(*at, {entry_for("alice", "3")}).value();
  EXPECT_EQ(first[0].seq, sequence::at(at->log->generation(), 0));
  EXPECT_EQ(first[1].seq, sequence::at(at->log->generation(), 1));
  EXPECT_EQ(second[0].seq, sequence::at(at->log->generation(), 2));
  EXPECT_EQ(at->log->end_offset(shard), 3u);
  EXPECT_EQ(at->log->queued(), 0u);
}

TEST_P(judging_log, the_same_message_within_the_window_is_a_duplicate_without_a_seq) {
  open();
  const auto verdicts = append(*at, {entry_for("alice", "1"), entry_for("alice", "1"), entry_for("bob", "1")}).value();
  EXPECT_EQ(verdicts[0].what, verdict::appended);
  EXPECT_EQ(verdicts[1].what, verdict::duplicate);
  EXPECT_EQ(verdicts[1].seq, sequence{});
  EXPECT_EQ(verdicts[2].what, verdict::appended) << "the same event to another address is another message";
  EXPECT_EQ(append(*at, {entry_for("alice", "1")}).value()[0].what, verdict::duplicate);
}

TEST_P(judging_log, the_same_message_after_the_window_is_appended_again) {
  options.log.dedup_window = milliseconds(5000);
  open();
  append(*at, {entry_for("alice", "1", 100'000)}).value();
  EXPECT_EQ(append(*at, {entry_for("alice", "1", 104'999)}).value()[0].what, verdict::duplicate);
  EXPECT_EQ(append(*at, {entry_for("alice", "1", 105'000)}).value()[0].what, verdict::appended);
  EXPECT_EQ(append(*at, {entry_for("alice", "1", 105'001)}).value()[0].what, verdict::duplicate);
}

TEST_P(judging_log, a_message_taken_back_from_the_dead_letters_is_no_duplicate) {
  open();
  auto again = entry_for("alice", "1");
  again.requeue = 1;
  const auto verdicts = append(*at, {entry_for("alice", "1"), again, again}).value();
  EXPECT_EQ(verdicts[1].what, verdict::appended);
  EXPECT_EQ(verdicts[2].what, verdict::duplicate);
}

TEST_P(judging_log, what_a_router_appends_again_is_a_replay_without_a_seq) {
  open();
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
  append(*at, {entry_from(orders, 10, 10, "alice"), entry_from(orders, 10, 10, "bob"), entry_from(orders, 11, 10, "alice")}).value();
  // the restarted router makes a partition value of its own
  const auto again = std::make_shared<const origin_partition>(*orders);
  const auto verdicts = append(*at, {entry_from(again, 10, 10, "alice"), entry_from(again, 11, 10, "alice"), entry_from(again, 12, 12, "alice"),
                                     entry_from(again, 11, 12, "carol")})
                            .value();
  EXPECT_EQ(verdicts[0].what, verdict::replay);
  EXPECT_EQ(verdicts[1].what, verdict::replay);
  EXPECT_EQ(verdicts[2].what, verdict::appended);
  EXPECT_EQ(verdicts[3].what, verdict::replay) << "below the floor everything was durable";
  EXPECT_EQ(verdicts[3].seq, sequence{});
}

TEST_P(judging_log, a_record_that_failed_and_comes_after_later_ones_is_no_replay) {
  open();
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
  append(*at, {entry_from(orders, 131, 130, "alice"), entry_from(orders, 150, 130, "alice")}).value();
  EXPECT_EQ(append(*at, {entry_from(orders, 130, 130, "alice")}).value()[0].what, verdict::appended);
}

TEST_P(log_contract, a_shard_gets_records_in_log_order_and_never_more_than_granted) {
  open();
  record_taker taker;
  const auto shard = shard_of_user("alice");
  at->log->open_shard(shard, 0, taker.sink());
  append(*at, {entry_for("alice", "1"), entry_for("alice", "2"), entry_for("alice", "3")}).value();
  EXPECT_TRUE(taker.taken().empty());
  at->log->grant(shard, 2);
  at->run();
  EXPECT_THAT(event_ids(taker.wait_for(2)), testing::ElementsAre("1", "2"));
  EXPECT_EQ(taker.next_offset(), 2u);
  append(*at, {entry_for("alice", "4")}).value();
  EXPECT_EQ(taker.taken().size(), 2u);
  at->log->grant(shard, 10);
  at->run();
  EXPECT_THAT(event_ids(taker.wait_for(4)), testing::ElementsAre("1", "2", "3", "4"));
  append(*at, {entry_for("alice", "5")}).value();
  EXPECT_EQ(taker.wait_for(5).back().what->what->id, "5") << "with credit in hand it comes by itself";
}

TEST_P(log_contract, a_shard_opened_late_starts_where_it_says) {
  open();
  append(*at, {entry_for("alice", "1"), entry_for("alice", "2"), entry_for("alice", "3")}).value();
  record_taker taker;
  const auto shard = shard_of_user("alice");
  at->log->open_shard(shard, 1, taker.sink());
  at->log->grant(shard, 100);
  at->run();
  const auto records = taker.wait_for(2);
  EXPECT_THAT(event_ids(records), testing::ElementsAre("2", "3"));
  EXPECT_EQ(records[0].what->seq, sequence::at(at->log->generation(), 1));
  EXPECT_EQ(records[0].what->to, user("alice"));
  EXPECT_EQ(records[0].what->id, message_id("/test", "2", user("alice")));
  EXPECT_EQ(records[0].what->what->data, R"({"n":"2"})");
  EXPECT_EQ(records[0].what->appended, unix_ms{1'000'000});
}

TEST_P(log_contract, the_seam_between_what_was_there_and_what_comes_has_no_gap_and_no_repeat) {
  open();
  constexpr int before = 700, after = 2000;
  for (int i = 0; i < before; i += 100) {
    std::vector<log_entry> batch;
    for (int j = 0; j < 100; ++j) batch.push_back(entry_for("alice", std::to_string(i + j)));
    append(*at, std::move(batch)).value();
  }
  record_taker taker;
  const auto shard = shard_of_user("alice");
  at->log->open_shard(shard, 0, taker.sink());
  // credit comes in small pieces while records are appended
  std::thread granting([&] {
    for (int i = 0; i < before + after; i += 3) at->log->grant(shard, 3);
  });
  for (int i = 0; i < after; ++i) {
    at->log->append({entry_for("alice", std::to_string(before + i))}, admission::credited, [](auto) {});
    if (i % 7 == 0) at->run();
  }
  granting.join();
  at->run();
  const auto records = taker.wait_for(before + after);
  ASSERT_EQ(records.size(), static_cast<std::size_t>(before + after));
  for (std::size_t i = 0; i < records.size(); ++i) ASSERT_EQ(records[i].what->seq, sequence::at(at->log->generation(), i));
}

TEST_P(log_contract, a_closed_shard_gets_nothing_and_can_be_opened_again) {
  open();
  const auto shard = shard_of_user("alice");
  record_taker first, second;
  at->log->open_shard(shard, 0, first.sink());
  at->log->grant(shard, 100);
  append(*at, {entry_for("alice", "1")}).value();
  first.wait_for(1);
  at->log->close_shard(shard);
  append(*at, {entry_for("alice", "2")}).value();
  at->log->grant(shard, 100);
  at->run();
  at->log->open_shard(shard, 0, second.sink());
  at->log->grant(shard, 100);
  at->run();
  EXPECT_THAT(event_ids(second.wait_for(2)), testing::ElementsAre("1", "2"));
  EXPECT_EQ(first.taken().size(), 1u);
}

TEST_P(log_contract, a_record_for_the_dead_letters_keeps_its_reason) {
  open();
  auto entry = entry_for("x", "orders/3/17");
  entry.to = address::dead_letters();
  entry.reason = dead_reason::no_route;
  entry.detail = "it names nobody";
  append(*at, {entry}).value();
  for (const std::uint64_t round : {0, 1}) {  // the second reads what was appended before it was opened
    record_taker taker;
    const auto shard = shard_of(address::dead_letters(), at->log->shard_count());
    at->log->open_shard(shard, 0, taker.sink());
    at->log->grant(shard, 1);
    at->run();
    const auto records = taker.wait_for(1);
    EXPECT_EQ(records[0].reason, dead_reason::no_route) << round;
    EXPECT_EQ(records[0].detail, "it names nobody");
    EXPECT_TRUE(records[0].what->to.is_dead_letters());
    at->log->close_shard(shard);
  }
}

TEST_P(log_contract, a_full_queue_turns_bounded_callers_away_and_takes_credited_ones) {
  options.log.queue_entries_max = 3;
  options.log.kafka_options = {"linger.ms=200"};
  open();
  EXPECT_EQ(at->log->queue_max(), 3u);
  // a batch that alone is over the limit is taken by an empty queue, else nobody could ever publish it
  std::vector<log_entry> batch;
  for (int i = 0; i < 20'001; ++i) batch.push_back(entry_for("alice", std::to_string(i)));
  const answer<std::vector<appended>> verdicts, more;
  EXPECT_TRUE(at->log->append(std::move(batch), admission::bounded, verdicts.taker()));
  EXPECT_FALSE(at->log->append({entry_for("bob", "1")}, admission::bounded, [](auto) { FAIL() << "called for an append that was not taken"; }));
  EXPECT_TRUE(at->log->append({entry_for("bob", "2")}, admission::credited, more.taker()));
  at->run();
  EXPECT_EQ(verdicts.wait().value().size(), 20'001u);
  EXPECT_EQ(more.wait().value()[0].what, verdict::appended);
}

TEST_P(log_contract, stopping_writes_what_is_queued_and_refuses_the_rest) {
  open();
  const answer<std::vector<appended>> before, after;
  at->log->append({entry_for("alice", "1")}, admission::credited, before.taker());
  at->log->stop();
  ASSERT_TRUE(before.ready());
  EXPECT_EQ(before.wait().value()[0].what, verdict::appended);
  EXPECT_TRUE(at->log->append({entry_for("alice", "2")}, admission::credited, after.taker()));
  EXPECT_EQ(after.wait().error().code, ec::stopping);
}

TEST_P(log_contract, what_a_log_that_does_not_judge_hands_over_names_its_origin) {
  open();
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 5, "orders", 3});
  append(*at, {entry_from(orders, 10, 9, "alice")}).value();
  record_taker taker;
  at->log->open_shard(shard_of_user("alice"), 0, taker.sink());
  at->log->grant(shard_of_user("alice"), 1);
  at->run();
  const auto came_from = taker.wait_for(1)[0].came_from;
  ASSERT_EQ(came_from.from == nullptr, at->log->judges_duplicates());
  if (!came_from.from) return;
  EXPECT_EQ(*came_from.from, *orders);
  EXPECT_EQ(came_from.offset, 10);
  EXPECT_EQ(came_from.floor, 9);
}

TEST_P(log_contract, two_messages_of_one_millisecond_keep_their_order) {
  open();
  std::vector<log_entry> batch;
  std::vector<std::string> expected;
  for (int i = 0; i < 50; ++i) {
    batch.push_back(entry_for("alice", std::to_string(i), 1'000'000));
    expected.push_back(std::to_string(i));
  }
  append(*at, std::move(batch)).value();
  record_taker taker;
  at->log->open_shard(shard_of_user("alice"), 0, taker.sink());
  at->log->grant(shard_of_user("alice"), 100);
  at->run();
  EXPECT_EQ(event_ids(taker.wait_for(50)), expected);
}

/// On a disk.
class lasting_log : public log_contract {};

TEST_P(lasting_log, what_was_appended_is_there_after_a_reopening_for_an_old_cursor_and_without_a_new_publish) {
  open();
  const auto shard = shard_of_user("alice");
  append(*at, {entry_for("alice", "1"), entry_for("alice", "2"), entry_for("alice", "3")}).value();
  const auto generation = at->log->generation();
  reopen();
  EXPECT_EQ(at->log->end_offset(shard), 3u);
  EXPECT_EQ(at->log->generation(), generation);
  record_taker taker;
  at->log->open_shard(shard, 1, taker.sink());
  at->log->grant(shard, 100);
  EXPECT_THAT(event_ids(taker.wait_for(2)), testing::ElementsAre("2", "3"));
  EXPECT_EQ(append(*at, {entry_for("alice", "4")}).value()[0].seq, sequence::at(generation, 3));
  EXPECT_EQ(taker.wait_for(3).back().what->what->id, "4");
}

const auto by_name = [](const auto& info) { return info.param; };
INSTANTIATE_TEST_SUITE_P(logs, log_contract, testing::Values("memory", "embedded", "kafka"), by_name);
INSTANTIATE_TEST_SUITE_P(logs, judging_log, testing::Values("memory", "embedded"), by_name);
INSTANTIATE_TEST_SUITE_P(logs, lasting_log, testing::Values("embedded", "kafka"), by_name);

}  // namespace
}  // namespace doorstep::test
