// SPDX-License-Identifier: Apache-2.0
// What every message store promises about channels: cursors of their readers, retention by age, and how far it has gone.
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {
namespace {

using testing::ElementsAre;

class reader_contract : public store_test {
protected:
  void SetUp() override {
    options.log.dedup_window = milliseconds{1'000};
    store_test::SetUp();
  }
  const address admins = address::parse("role:admin").value();

  std::vector<cursor_record> cursors(std::vector<address> keys) { return test::cursors(*at, std::move(keys)).value(); }
  stored_page page(const address& of, sequence after = {}) { return read(*at, of, after).value(); }
  void put(const address& key, sequence floor, std::uint64_t version) {
    store_batch batch;
    batch.cursors.push_back({key, cursor(floor, {}), {floor, true}, {}, version});
    write(*at, batch).value();
    write(*at, std::move(batch)).value();  // safe to write twice
  }
  std::vector<log_entry> numbered(const address& to, int count, std::int64_t first_appended) const {
    std::vector<log_entry> out;
    for (int i = 0; i < count; ++i) {
      out.push_back(entry_for("x", std::to_string(i), first_appended + i * 10));
      out.back().to = to;
      out.back().id = std::string(to.text()) + '/' + std::to_string(i);
    }
    return out;
  }
  void move_positions() {
    store_batch batch;
    for (std::uint32_t i = 0; at->log && i < options.log.shards; ++i) batch.positions.push_back({shard_id{i}, at->log->end_offset(shard_id{i})});
    write(*at, std::move(batch)).value();
  }
};

TEST_P(reader_contract, cursors_of_many_readers_are_read_in_one_question_in_its_order) {
  const auto alice = reader_key(admins, "alice"), bob = reader_key(admins, "bob"), other = reader_key(address::all(), "alice");
  put(alice, {10}, 1);
  put(other, {20}, 1);
  put(alice, {15}, 3);
  put(alice, {11}, 2);  // late
  const auto found = cursors({other, bob, alice});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].acked.floor(), sequence{20});
  EXPECT_EQ(found[1].version, 0u);
  EXPECT_EQ(found[2].acked.floor(), sequence{15});
  EXPECT_EQ(found[2].version, 3u);
  EXPECT_TRUE(found[2].horizon.open);
  EXPECT_EQ(load(*at, user("alice"), 10).value().record.version, 0u) << "a reader's cursor is not the user's own";
}

TEST_P(reader_contract, messages_of_a_channel_go_by_their_age_whoever_has_not_acked_and_the_store_says_how_far) {
  const auto seqs = keep(numbered(admins, 6, 1'000));
  move_positions();
  EXPECT_EQ(page(admins).messages.size(), 6u);
  EXPECT_EQ(page(admins).gone_to, sequence{});
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  std::size_t removed = 0;
  while (removed < 3) {  // SQLite only removes what its indexes on disk cover, and those follow
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    removed += reap(*at, {{1'025}, {}, 100}).value().removed;
  }
  EXPECT_EQ(removed, 3u);
  const auto left = page(admins);
  EXPECT_THAT(event_ids(left.messages), ElementsAre("3", "4", "5"));
  EXPECT_EQ(left.gone_to, seqs[2]);
  EXPECT_EQ(page(address::all()).gone_to, sequence{}) << "another channel has lost nothing";
  const auto past = history(*at, admins, {{}, {}, {}, {}, 10, false, reader_key(admins, "alice")}).value();
  EXPECT_EQ(past.gone_to, seqs[2]);
}

TEST_P(reader_contract, history_of_a_channel_says_the_states_of_the_reader_who_asks) {
  const auto seqs = keep(numbered(admins, 3, 1'000));
  put(reader_key(admins, "alice"), seqs[1], 1);
  const auto of = [&](const std::string& who) { return history(*at, admins, {{}, {}, {}, {}, 10, false, reader_key(admins, who)}).value(); };
  EXPECT_EQ(of("alice").messages.size(), 3u);
  EXPECT_TRUE(of("alice").acked.is_acked(seqs[1]));
  EXPECT_FALSE(of("bob").acked.is_acked(seqs[0]));
}

INSTANTIATE_TEST_SUITE_P(stores, reader_contract, all_stores, store_name);

}  // namespace
}  // namespace doorstep::test
