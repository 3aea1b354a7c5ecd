// SPDX-License-Identifier: Apache-2.0
// What a store beside a log that judges neither replays nor duplicates promises: the verdict on duplicates, durably, and a place for what a SHARD knows of origins.
#include "storage/message_store.hpp"

#include "storage/origin_text.hpp"
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class judging_store : public store_test {
protected:
  void configure() override {
    options.log.shards = 1;
    options.log.dedup_window = milliseconds{24 * 3600 * 1000};
  }
  void reopen() {
    if (GetParam() == "memory-store") return;
    at.reset();
    at = make_engines(GetParam(), options);
  }

  /// As the log hands it over: with the next seq.
  message_ptr logged_as(const log_entry& x) {
    return std::make_shared<const message>(message{x.to, sequence::at(0, next_offset++), x.id, x.what, x.appended, x.requeue});
  }
  message_ptr logged_as(const std::string& who, const std::string& event_id, std::int64_t appended_ms = 1'000'000) {
    return logged_as(entry_for(who, event_id, appended_ms));
  }
  /// Writes them with the position behind them. @returns the seqs of the duplicates.
  std::vector<sequence> judge(std::vector<message_ptr> messages, std::vector<origin_position> origins = {}) {
    std::vector<sequence> out;
    store_batch batch;
    batch.messages = std::move(messages);
    batch.positions.push_back({shard_id{0}, next_offset, std::move(origins)});
    batch.duplicates = [&](const std::vector<message_ptr>& x) {
      for (const auto& m : x) out.push_back(m->seq);
    };
    write(*at, std::move(batch)).value();
    return out;
  }
  std::vector<std::string> stored(const std::string& who) {
    std::vector<std::string> out;
    for (const auto& x : read(*at, user(who), {}).value().messages) out.push_back(x->what->id + "@" + std::to_string(x->seq.offset()));
    return out;
  }

  std::uint64_t next_offset = 0;
};

TEST_P(judging_store, the_same_message_within_the_window_is_named_and_not_stored) {
  const auto first = logged_as("alice", "1"), twice = logged_as("alice", "1"), other = logged_as("bob", "1");
  EXPECT_THAT(judge({first, twice, other}), ElementsAre(twice->seq)) << "within one batch; the same event to another address is another message";
  const auto later = logged_as("alice", "1");
  EXPECT_THAT(judge({later, logged_as("alice", "2")}), ElementsAre(later->seq));
  EXPECT_THAT(stored("alice"), ElementsAre("1@0", "2@4"));
  EXPECT_THAT(stored("bob"), ElementsAre("1@2"));
  EXPECT_EQ(at->store->identity().log_id.empty(), false);
}

TEST_P(judging_store, the_verdict_outlives_the_process) {
  EXPECT_THAT(judge({logged_as("alice", "1"), logged_as("alice", "2")}), IsEmpty());
  reopen();
  const auto again = logged_as("alice", "2");
  EXPECT_THAT(judge({again, logged_as("alice", "3")}), ElementsAre(again->seq));
  EXPECT_THAT(stored("alice"), ElementsAre("1@0", "2@1", "3@3"));
}

TEST_P(judging_store, a_message_that_is_written_again_is_no_duplicate_of_itself) {
  const auto first = logged_as("alice", "1"), second = logged_as("alice", "2"), twice = logged_as("alice", "1");
  EXPECT_THAT(judge({first, second, twice}), ElementsAre(twice->seq));
  EXPECT_THAT(judge({first, second, twice}), ElementsAre(twice->seq)) << "the answer to the first one was lost";
  reopen();
  EXPECT_THAT(judge({second, twice}), ElementsAre(twice->seq));
  EXPECT_THAT(stored("alice"), ElementsAre("1@0", "2@1"));
}

TEST_P(judging_store, after_the_window_it_is_another_message) {
  constexpr std::int64_t day = 24LL * 3600 * 1000;
  EXPECT_THAT(judge({logged_as("alice", "1", 1'000)}), IsEmpty());
  const auto within = logged_as("alice", "1", day + 999);
  EXPECT_THAT(judge({within}), ElementsAre(within->seq));
  EXPECT_THAT(judge({logged_as("alice", "1", day + 1'000)}), IsEmpty());
  const auto within_that = logged_as("alice", "1", day + 1'001);
  EXPECT_THAT(judge({within_that}), ElementsAre(within_that->seq));
  EXPECT_THAT(stored("alice"), ElementsAre("1@0", "1@2"));
}

TEST_P(judging_store, a_message_taken_back_from_the_dead_letters_is_no_duplicate) {
  auto again = entry_for("alice", "1");
  again.requeue = 1;
  const auto first = logged_as("alice", "1"), requeued = logged_as(again), twice = logged_as(again);
  EXPECT_THAT(judge({first, requeued, twice}), ElementsAre(twice->seq));
}

TEST_P(judging_store, where_nobody_asks_nothing_is_judged) {
  store_batch batch;
  batch.messages = {logged_as("alice", "1"), logged_as("alice", "1")};
  write(*at, std::move(batch)).value();
  EXPECT_THAT(stored("alice"), ElementsAre("1@0", "1@1"));
}

TEST_P(judging_store, what_a_shard_knows_of_origins_comes_back_with_its_position) {
  const origin_partition orders{"my orders", 7, "orders", 3}, bills{"bills", 0, "bills", 0};
  judge({logged_as("alice", "1")}, {{orders, 10, 0}, {bills, 5, 0, {{6, "user:alice"}, {7, "user:b\xc3\xb6rg 2"}}}});
  judge({logged_as("alice", "2")}, {{orders, 12, 1}});
  if (GetParam() != "memory-store") {
    store_batch late;  // of a former owner
    late.positions.push_back({shard_id{0}, 1, {{orders, 11, 0}}});
    write(*at, std::move(late)).value();
  }
  reopen();
  const auto position = at->store->positions().at(0);
  EXPECT_EQ(position.next_offset, 2u);
  std::vector<std::string> found;
  for (const auto& x : position.origins) found.push_back(origin_state(x));
  EXPECT_THAT(found, testing::UnorderedElementsAre("my%20orders 7 orders 3 12 1", "bills 0 bills 0 5 0\n6 user:alice\n7 user:b\xc3\xb6rg 2"));
}

INSTANTIATE_TEST_SUITE_P(stores, judging_store, testing::Values("memory-store", "sqlite-store", "mongodb"), [](const auto& info) {
  auto name = info.param;
  for (auto& c : name)
    if (c == '-') c = '_';
  return name;
});

TEST(origin_text, what_is_written_is_read_back_and_other_texts_are_none) {
  const origin_position x{{"a b%", 3, "t.x", 9}, 41, 7, {{41, "user:x y"}, {42, "dead-letters:records"}}};
  const auto read = origin_from_state(origin_state(x)).value();
  EXPECT_EQ(read.from, x.from);
  EXPECT_EQ(read.floor, 41);
  EXPECT_EQ(read.rescan, 7u);
  EXPECT_EQ(read.above, x.above);
  for (const char* text : {"", "a 1 b 2", "a 1 b 2 3", "a 1 b 2 3 x", "a 1 b 2 3 4\n", "a 1 b 2 3 4\n5", "a 1 b 2 3 4\nuser:a", "a 1 b 2 3 4 5"})
    EXPECT_EQ(origin_from_state(text).has_value(), std::string(text) == "a 1 b 2 3 4\n") << text;
}

}  // namespace
}  // namespace doorstep::test
