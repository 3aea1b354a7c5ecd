// SPDX-License-Identifier: Apache-2.0
// The embedded log beside a store of another kind: what that has goes, what a shard or a replay may still ask for stays.
#include "tests/support/engines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace doorstep::test {
namespace {

class log_retention : public testing::Test {
protected:
  log_retention() { options.log.dedup_window = milliseconds{1'000}; }
  void SetUp() override { open(); }
  void open() { at = make_engines("embedded-log", options); }
  void reopen() {
    at.reset();
    open();
  }
  shard_id shard_of_user(const std::string& who) const { return shard_of(user(who), static_cast<std::uint32_t>(options.log.shards)); }
  void store_everything() {
    for (std::uint32_t i = 0; i < options.log.shards; ++i) at->log->stored(shard_id{i}, at->log->end_offset(shard_id{i}));
  }
  /// A pass, all steps. @returns how many went.
  std::size_t pass(std::int64_t before) {
    std::size_t removed = 0;
    reap_step step{{before}, {}, 100};
    do {
      const answer<reaped> done;
      at->log->reap(step, done.taker());
      const auto x = done.wait().value();
      removed += x.removed;
      step.from = x.next;
    } while (!step.from.empty());
    return removed;
  }
  /// Indexes are written in the log's spare time, and only what they cover goes.
  std::size_t pass_until(std::int64_t before, std::size_t wanted) {
    std::size_t removed = 0;
    for (int i = 0; i < 500 && removed < wanted; ++i) {
      if (i > 0) std::this_thread::sleep_for(milliseconds{10});
      removed += pass(before);
    }
    return removed;
  }
  std::int64_t pages() const {
    sqlite3* db = nullptr;
    sqlite3_open(options.store.path.c_str(), &db);
    sqlite3_stmt* q = nullptr;
    sqlite3_prepare_v2(db, "PRAGMA page_count", -1, &q, nullptr);
    const auto out = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
    sqlite3_finalize(q);
    sqlite3_close(db);
    return out;
  }
  std::vector<std::string> read_from(const std::string& who, std::uint64_t offset, std::size_t count) {
    record_taker taker;
    at->log->open_shard(shard_of_user(who), offset, taker.sink());
    at->log->grant(shard_of_user(who), 1'000);
    std::vector<std::string> out;
    for (const auto& x : taker.wait_for(count)) out.push_back(x.what->what->id);
    at->log->close_shard(shard_of_user(who));
    return out;
  }
  std::vector<log_entry> some(int from, int count, std::int64_t appended, std::size_t pad = 0) {
    std::vector<log_entry> out;
    for (int i = from; i < from + count; ++i) {
      out.push_back(entry_for("alice", std::to_string(i), appended));
      auto what = *out.back().what;
      what.data = '"' + std::string(pad, 'x') + '"';
      what.extensions.emplace_back("expirytime", "1970-01-01T00:00:01Z");
      what.expires = {1'000};
      out.back().what = std::make_shared<const event>(std::move(what));
    }
    return out;
  }

  scratch_folder folder;
  config options = test_config(folder);
  std::unique_ptr<engines> at;
};

TEST_F(log_retention, the_file_does_not_grow_under_steady_load) {
  constexpr int rounds = 30, each = 300;
  std::int64_t settled = 0;
  std::size_t removed = 0;
  for (int round = 0; round < rounds; ++round) {
    append(*at, some(round * each, each, 10'000 * round, 2'000)).value();
    store_everything();
    if (round >= 2) removed += pass_until(10'000 * (round - 1), each);
    if (round == 8) settled = pages();
  }
  EXPECT_GE(removed, static_cast<std::size_t>((rounds - 4) * each));
  EXPECT_LT(pages(), settled * 3 / 2) << "space that became free is used again";
}

TEST_F(log_retention, nothing_goes_that_the_store_does_not_have_or_that_is_within_the_time_given) {
  append(*at, some(0, 50, 1'000)).value();
  append(*at, some(50, 50, 20'000)).value();
  append(*at, some(100, 1, 90'000)).value();
  EXPECT_EQ(pass(50'000), 0u) << "nobody has said what the store has";
  at->log->stored(shard_of_user("alice"), 60);
  EXPECT_EQ(pass_until(10'000, 50), 50u);
  EXPECT_EQ(pass_until(50'000, 10), 10u);
  EXPECT_EQ(pass(50'000), 0u);
  for (int start = 0; start < 2; ++start) {
    const auto rest = read_from("alice", 60, 41);
    ASSERT_EQ(rest.size(), 41u);
    EXPECT_EQ(rest.front(), "60");
    EXPECT_EQ(rest.back(), "100");
    reopen();
    EXPECT_EQ(pass(50'000), 0u) << "until a shard says so again";
  }
  EXPECT_EQ(append(*at, some(101, 1, 91'000)).value()[0].seq, sequence::at(0, 101)) << "offsets go on";
}

TEST_F(log_retention, a_replay_is_recognised_as_long_as_its_source_may_come_with_it) {
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
  options.log.dedup_window = milliseconds{0};  // so that only the origin can tell
  reopen();
  append(*at, {entry_from(orders, 10, 10, "alice"), entry_from(orders, 11, 10, "alice")}).value();
  append(*at, {entry_for("alice", "later", 90'000'000)}).value();
  store_everything();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pass(50'000'000), 0u) << "both are above the floor";
  reopen();
  EXPECT_EQ(append(*at, {entry_from(orders, 10, 10, "alice"), entry_from(orders, 11, 11, "alice")}).value()[1].what, verdict::replay);
  store_everything();
  EXPECT_EQ(pass_until(50'000'000, 1), 1u) << "the floor has risen past the first one";
}

}  // namespace
}  // namespace doorstep::test
