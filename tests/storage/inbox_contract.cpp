// SPDX-License-Identifier: Apache-2.0
// What every message store promises about the inbox: its record, counts by it, places of single messages, history, and retention.
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class inbox_contract : public store_test {
protected:
  static inbox_record inbox_of(const std::string& who, std::uint64_t version) {
    inbox_record out;
    out.user = user(who);
    out.version = version;
    return out;
  }
  void write_inbox(inbox_record x) {
    store_batch batch;
    batch.inboxes.push_back(std::move(x));
    write(*at, batch).value();
    write(*at, std::move(batch)).value();  // safe to write twice
  }
  std::pair<std::uint64_t, std::uint64_t> counts(const std::string& who) {
    const auto box = load(*at, user(who), 2).value();
    return {box.unread, box.unseen};
  }
  static std::vector<log_entry> numbered(const std::string& who, int count, std::int64_t first_appended = 1'000) {
    std::vector<log_entry> out;
    out.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) out.push_back(entry_for(who, std::to_string(i), first_appended + i * 10));
    return out;
  }
  /// All steps of a pass. Each looks at a few only, so that passes have several.
  std::size_t reap_all(std::int64_t before) {
    std::size_t removed = 0;
    reap_step step{{before}, {}, 3};
    do {
      const auto done = reap(*at, step).value();
      removed += done.removed;
      step.from = done.next;
    } while (!step.from.empty());
    return removed;
  }
  /// Every shard has read what there is.
  void move_positions() {
    store_batch batch;
    for (std::uint32_t i = 0; at->log && i < options.log.shards; ++i) batch.positions.push_back({shard_id{i}, at->log->end_offset(shard_id{i})});
    write(*at, std::move(batch)).value();
  }
  /// SQLite only removes what its indexes on disk cover; they follow once something old is in the way. To be called while everything is owed.
  void cover_by_indexes() {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    for (reaped seen; seen.kept == 0;) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "the indexes never reached the first message";
      seen = reap(*at, {{5'000}, {}, 1}).value();
      ASSERT_EQ(seen.removed, 0u);
    }
  }
  void SetUp() override {
    options.log.dedup_window = milliseconds{1'000};
    store_test::SetUp();
  }
};

TEST_P(inbox_contract, an_inbox_record_comes_back_whole_and_an_older_one_never_replaces_it) {
  auto x = inbox_of("alice", 5);
  for (std::size_t i = 0; i < inbox_marks_max; ++i) {
    x.marks[i].cover({i}, {10 + i}, {static_cast<std::int64_t>(100 + i)});
    x.marks[i].cover({20}, {30 + i}, {7});
  }
  write_inbox(x);
  auto older = inbox_of("alice", 4);
  older[inbox_mark::read].cover({}, {99}, {1});
  write_inbox(older);
  EXPECT_EQ(load(*at, user("alice")).value().inbox, x);
  EXPECT_EQ(load(*at, user("bob")).value().inbox.version, 0u);
}

TEST_P(inbox_contract, unread_and_unseen_count_what_no_mark_covers) {
  const auto seqs = keep(numbered("alice", 10));
  keep({entry_for("bob", "1")});
  EXPECT_EQ(counts("alice"), std::pair(10ul, 10ul));
  auto x = inbox_of("alice", 1);
  x[inbox_mark::seen].cover({}, seqs[6], {1});
  x[inbox_mark::read].cover({}, seqs[1], {1});
  x[inbox_mark::read].cover(seqs[7], seqs[8], {1});
  x[inbox_mark::archived].cover(seqs[2], seqs[3], {1});
  x[inbox_mark::delivered].cover({}, seqs[9], {1});
  write_inbox(x);
  EXPECT_EQ(counts("alice"), std::pair(6ul, 2ul)) << "unread 2, 4, 5, 6, 7 and 9; unseen 7 and 9";
  EXPECT_EQ(counts("bob"), std::pair(1ul, 1ul));
}

TEST_P(inbox_contract, counts_are_exact_with_more_separate_marks_than_a_command_holds) {
  const auto seqs = keep(numbered("alice", 300));
  auto x = inbox_of("alice", 1);
  for (std::size_t i = 0; i < seqs.size(); i += 2) x[inbox_mark::read].cover({seqs[i].value - 1}, seqs[i], {1});
  write_inbox(x);
  EXPECT_EQ(counts("alice"), std::pair(150ul, 150ul));
}

TEST_P(inbox_contract, what_an_older_cursor_says_was_read_is_taken_over_until_there_is_an_inbox_record) {
  const auto seqs = keep(numbered("alice", 3));
  auto cursor = record("alice", 1, {});
  cursor.read_upto = seqs[1];
  write(*at, {{}, {cursor}, {}, {}}).value();
  EXPECT_EQ(counts("alice"), std::pair(1ul, 1ul));
  write_inbox(inbox_of("alice", 2));
  EXPECT_EQ(counts("alice"), std::pair(3ul, 3ul));
}

TEST_P(inbox_contract, single_messages_are_located_with_the_one_before_them) {
  const auto seqs = keep({entry_for("alice", "1"), entry_for("bob", "1"), entry_for("alice", "2"), entry_for("alice", "3")});
  const auto places = locate(*at, user("alice"), {seqs[0], seqs[3], {seqs[3].value + 50}}).value();
  ASSERT_EQ(places.found.size(), 2u) << "the last one does not exist";
  EXPECT_EQ(places.found[0].seq, seqs[0]);
  EXPECT_EQ(places.found[0].before, sequence{});
  EXPECT_EQ(places.found[1].seq, seqs[3]);
  EXPECT_EQ(places.found[1].before, seqs[2]);
  EXPECT_GE(places.complete_to, seqs[3]);
  EXPECT_THAT(locate(*at, user("nobody"), {seqs[0]}).value().found, IsEmpty());
}

TEST_P(inbox_contract, history_goes_by_seq_both_ways) {
  const auto seqs = keep(numbered("alice", 10));
  keep({entry_for("bob", "1")});
  history_query query;
  query.limit = 4;
  auto page = history(*at, user("alice"), query).value();
  EXPECT_THAT(event_ids(page.messages), ElementsAre("0", "1", "2", "3"));
  EXPECT_TRUE(page.more);
  query.after = seqs[5];
  page = history(*at, user("alice"), query).value();
  EXPECT_THAT(event_ids(page.messages), ElementsAre("6", "7", "8", "9"));
  EXPECT_FALSE(page.more);
  query = {};
  query.limit = 3;
  query.newest = true;
  EXPECT_THAT(event_ids(history(*at, user("alice"), query).value().messages), ElementsAre("7", "8", "9"));
  query.before = seqs[3];
  page = history(*at, user("alice"), query).value();
  EXPECT_THAT(event_ids(page.messages), ElementsAre("0", "1", "2"));
  EXPECT_FALSE(page.more);
  query.before = seqs[4];
  EXPECT_TRUE(history(*at, user("alice"), query).value().more);
  EXPECT_EQ(page.gone_to, sequence{});
}

TEST_P(inbox_contract, history_goes_by_time_both_ways) {
  keep(numbered("alice", 10));  // 1000, 1010, ...
  history_query query;
  query.since = {1'035};
  query.until = {1'070};
  EXPECT_THAT(event_ids(history(*at, user("alice"), query).value().messages), ElementsAre("4", "5", "6"));
  query.limit = 2;
  EXPECT_THAT(event_ids(history(*at, user("alice"), query).value().messages), ElementsAre("4", "5"));
  query.newest = true;
  query.since = {};
  const auto page = history(*at, user("alice"), query).value();
  EXPECT_THAT(event_ids(page.messages), ElementsAre("5", "6"));
  EXPECT_TRUE(page.more);
  query.since = {9'000};
  query.until = {};
  EXPECT_THAT(history(*at, user("alice"), query).value().messages, IsEmpty());
}

TEST_P(inbox_contract, history_says_what_is_acked_and_what_the_person_did) {
  const auto seqs = keep(numbered("alice", 2));
  auto x = inbox_of("alice", 1);
  x[inbox_mark::read].cover({}, seqs[0], {77});
  store_batch batch;
  batch.inboxes.push_back(x);
  batch.cursors.push_back(record("alice", 1, seqs[0]));
  write(*at, std::move(batch)).value();
  const auto page = history(*at, user("alice")).value();
  EXPECT_TRUE(page.acked.is_acked(seqs[0]));
  EXPECT_FALSE(page.acked.is_acked(seqs[1]));
  EXPECT_EQ(page.inbox, x);
}

TEST_P(inbox_contract, retention_removes_what_is_old_and_acked_and_never_what_is_owed) {
  const auto alices = keep(numbered("alice", 8)), bobs = keep(numbered("bob", 4));
  cover_by_indexes();
  move_positions();
  write(*at, {{}, {record("alice", 1, alices[5], {alices[6]})}, {}, {}}).value();  // 7 is owed, and all of bob's
  EXPECT_EQ(counts("alice").first, 8u);
  EXPECT_EQ(reap_all(1'000), 0u) << "nothing is older than the first one";
  EXPECT_EQ(reap_all(1'035), 4u);
  EXPECT_THAT(event_ids(read(*at, user("alice"), {}).value().messages), ElementsAre("4", "5", "6", "7"));
  EXPECT_EQ(counts("alice").first, 4u);
  EXPECT_EQ(history(*at, user("alice")).value().gone_to, alices[3]);
  EXPECT_EQ(reap_all(5'000), 3u);
  EXPECT_EQ(reap_all(5'000), 0u) << "again changes nothing";
  EXPECT_THAT(event_ids(read(*at, user("alice"), {}).value().messages), ElementsAre("7"));
  EXPECT_THAT(event_ids(load(*at, user("bob")).value().page.messages), ElementsAre("0", "1", "2", "3"));
  EXPECT_EQ(counts("alice").first, 1u);
  EXPECT_EQ(history(*at, user("alice")).value().gone_to, alices[6]);
  const auto places = locate(*at, user("alice"), {alices[6], alices[7]}).value();
  ASSERT_EQ(places.found.size(), 1u);
  EXPECT_EQ(places.found[0].before, sequence{});

  write(*at, {{}, {record("alice", 2, alices[7]), record("bob", 1, bobs[3])}, {}, {}}).value();
  EXPECT_EQ(reap_all(5'000), 5u) << "what was owed goes once it is acked";
  EXPECT_EQ(counts("alice").first + counts("bob").first, 0u);
}

TEST_P(inbox_contract, retention_takes_nothing_that_a_shard_may_read_again) {
  const auto shard = shard_of(user("alice"), static_cast<std::uint32_t>(options.log.shards));
  std::vector<sequence> seqs;
  if (at->store->shares_log()) {
    seqs = keep(numbered("alice", 3));
    store_batch batch;
    batch.positions.push_back({shard, 2});
    write(*at, std::move(batch)).value();
  } else {
    store_batch batch;
    for (int i = 0; i < 3; ++i) {
      const auto x = entry_for("alice", std::to_string(i), 1'000 + i);
      seqs.push_back(sequence::at(0, static_cast<std::uint64_t>(i)));
      batch.messages.push_back(std::make_shared<const message>(message{x.to, seqs.back(), x.id, x.what, x.appended, 0}));
    }
    batch.positions.push_back({shard, 2});
    write(*at, std::move(batch)).value();
  }
  cover_by_indexes();
  write(*at, {{}, {record("alice", 1, seqs[2])}, {}, {}}).value();
  EXPECT_EQ(reap_all(5'000), 2u) << "of the third the shard has not said that it has it";
  store_batch batch;
  batch.positions.push_back({shard, 3});
  write(*at, std::move(batch)).value();
  EXPECT_EQ(reap_all(5'000), 1u);
}

INSTANTIATE_TEST_SUITE_P(stores, inbox_contract, all_stores, store_name);

}  // namespace
}  // namespace doorstep::test
