// SPDX-License-Identifier: Apache-2.0
// What only a store on the other side of a network has: a server that goes and comes back, writes nobody knows the end of, a database of another log.
#include "storage/mongo_store.hpp"

#include "storage/mongo_writer.hpp"
#include "tests/support/engines.hpp"
#include "tests/support/mongo_peer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

namespace doorstep::test {
namespace {

class mongo_store_test : public testing::Test {
protected:
  void SetUp() override {
    if (!server.start()) DOORSTEP_PEER_MISSING("scripts/mongodb could not start a server");
    use_mongodb(options, server.uri(), folder);
  }
  void open() {
    at.reset();
    at = make_engines("mongodb", options);
  }
  log_identity beside(std::uint64_t end = UINT64_MAX) const { return {"a log of the tests", 0, std::vector<std::uint64_t>(options.log.shards, end)}; }
  store_batch one_message() const {
    const auto x = entry_for("alice", "1");
    store_batch out;
    out.messages.push_back(std::make_shared<const message>(message{x.to, sequence::at(0, 0), x.id, x.what, x.appended, x.requeue}));
    out.positions.push_back({shard_of(x.to, static_cast<std::uint32_t>(options.log.shards)), 1});
    return out;
  }

  scratch_folder folder;
  own_mongodb server{folder};
  config options = test_config(folder);
  metrics counts;
  std::unique_ptr<engines> at;
};

TEST_F(mongo_store_test, without_a_server_calls_fail_in_bounded_time_and_work_again_when_it_is_back) {
  open();
  server.kill();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(write(*at, one_message()).error().code, ec::unavailable);
  EXPECT_EQ(load(*at, user("alice")).error().code, ec::unavailable);
  std::vector<answer<stored_page>> many(200);
  for (const auto& x : many) at->store->read(user("alice"), {}, 10, x.taker());
  for (const auto& x : many) EXPECT_EQ(x.wait().error().code, ec::unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(6)) << "they do not wait for the server one after the other";
  server.restart();
  const auto back = std::chrono::steady_clock::now();
  while (!write(*at, one_message())) ASSERT_LT(std::chrono::steady_clock::now() - back, std::chrono::seconds(10));
  write(*at, one_message()).value();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - back;
  RecordProperty("seconds_to_write_again", std::to_string(took.count()));
  const auto box = load(*at, user("alice")).value();
  EXPECT_EQ(box.page.messages.size(), 1u);
  EXPECT_EQ(box.unread, 1u);
}

TEST_F(mongo_store_test, a_cursor_write_that_failed_cannot_land_under_the_next_life) {
  open();
  write(*at, {{}, {record("alice", 4, {40})}, {}, {}}).value();
  server.kill();
  EXPECT_FALSE(write(*at, {{}, {record("alice", 5, {50})}, {}, {}}));
  server.restart();
  result<stored_mailbox> box = load(*at, user("alice"));
  for (const auto back = std::chrono::steady_clock::now(); !box; box = load(*at, user("alice")))
    ASSERT_LT(std::chrono::steady_clock::now() - back, std::chrono::seconds(10));
  EXPECT_EQ(box->record.version, 5u) << "the next life writes above what is in doubt";
  EXPECT_EQ(box->record.acked.floor(), sequence{40});
  write(*at, {{}, {record("alice", 5, {50})}, {}, {}}).value();  // as the server would have applied it, late
  EXPECT_EQ(load(*at, user("alice")).value().record.acked.floor(), sequence{40});
  write(*at, {{}, {record("alice", 6, {60})}, {}, {}}).value();
  EXPECT_EQ(load(*at, user("alice")).value().record.acked.floor(), sequence{60});
}

TEST_F(mongo_store_test, what_was_answered_before_a_kill_in_the_middle_of_the_writes_is_there_and_the_rest_can_be_written_again) {
  open();
  constexpr std::uint64_t batches = 60, each = 50;
  const auto shard = shard_of(user("alice"), static_cast<std::uint32_t>(options.log.shards));
  const auto batch_at = [&](std::uint64_t i) {
    store_batch out;
    for (std::uint64_t n = i * each; n < (i + 1) * each; ++n) {
      const auto x = entry_for("alice", std::to_string(n));
      out.messages.push_back(std::make_shared<const message>(message{x.to, sequence::at(0, n), x.id, x.what, x.appended, x.requeue}));
    }
    out.positions.push_back({shard, (i + 1) * each});
    return out;
  };
  std::vector<answer<void>> answers(batches);
  for (std::uint64_t i = 0; i < batches; ++i) {
    at->store->write(batch_at(i), urgency::now, answers[i].taker());
    if (i == batches / 2) answers[batches / 4].wait().value();
    if (i == batches / 2) server.kill();
  }
  std::vector<std::uint64_t> failed;
  std::uint64_t durable = batches / 4 + 1;
  for (std::uint64_t i = 0; i < batches; ++i) {
    if (i == batches / 4) continue;
    if (answers[i].wait())
      durable = std::max(durable, i + 1);
    else
      failed.push_back(i);
  }
  ASSERT_FALSE(failed.empty());
  server.restart();
  open();
  EXPECT_GE(at->store->positions()[static_cast<std::uint32_t>(shard)].next_offset, durable * each);
  EXPECT_GE(load(*at, user("alice"), 10).value().unread, durable * each);
  for (const auto i : failed) write(*at, batch_at(i)).value();
  const auto page = read(*at, user("alice"), {}, batches * each).value();
  ASSERT_EQ(page.messages.size(), batches * each) << "each once";
  EXPECT_FALSE(page.more);
}

TEST_F(mongo_store_test, a_store_of_another_log_is_refused_with_words_that_help) {
  open();
  store_batch seven;
  seven.positions = {{shard_id{1}, 7}};
  write(*at, std::move(seven)).value();
  at.reset();
  EXPECT_TRUE(open_mongo_store(options, beside(7), counts).has_value());
  auto other = beside();
  other.id = "another log";
  const auto refused = open_mongo_store(options, other, counts);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ec::bad_config);
  EXPECT_THAT(refused.error().detail, testing::HasSubstr("store.database"));
  auto more = beside();
  more.ends.push_back(0);
  EXPECT_EQ(open_mongo_store(options, more, counts).error().code, ec::bad_config);
  EXPECT_EQ(open_mongo_store(options, beside(6), counts).error().code, ec::bad_config) << "the log has lost what the store has seen";
}

TEST_F(mongo_store_test, a_uri_that_cannot_be_used_is_refused_and_not_repeated) {
  options.store.uri = "mongodb://doorstep:swordfish@";
  const auto refused = open_mongo_store(options, beside(), counts);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ec::bad_config);
  EXPECT_THAT(refused.error().detail, testing::Not(testing::HasSubstr("swordfish")));
  options.store.uri.clear();
  EXPECT_EQ(open_mongo_store(options, beside(), counts).error().code, ec::bad_config);
}

TEST(cursors_in_doubt, stay_until_a_newer_version_is_written) {
  cursors_in_doubt doubts;
  cursor_record five, six;
  five.version = 5;
  six.version = 6;
  doubts.add({{user("alice"), &six}, {user("bob"), &six}});
  doubts.add({{user("alice"), &five}});
  EXPECT_EQ(doubts.find(user("alice")), 6u);
  doubts.settle({{user("alice"), &five}});
  EXPECT_EQ(doubts.find(user("alice")), 6u);
  doubts.settle({{user("alice"), &six}});
  EXPECT_EQ(doubts.find(user("alice")), std::nullopt);
  doubts.settle(user("bob"), 6);
  EXPECT_EQ(doubts.find(user("bob")), std::nullopt);
}

}  // namespace
}  // namespace doorstep::test
