// SPDX-License-Identifier: Apache-2.0
// What every message store that survives promises about the next start. For MongoDB the next start comes after a kill -9 of a server of the test's own;
// SQLite is opened again, and killed for good in tests/e2e.
#include "storage/message_store.hpp"

#include "tests/support/engines.hpp"
#include "tests/support/mongo_peer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <string>

namespace doorstep::test {
namespace {

class store_durability : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (GetParam() == "mongodb") {
      if (!server.start()) DOORSTEP_PEER_MISSING("scripts/mongodb could not start a server");
      use_mongodb(options, server.uri(), folder);
    }
    at = make_engines(GetParam(), options);
  }
  void start_again() {
    if (GetParam() == "mongodb") {
      server.kill();
      server.restart();
    }
    at.reset();
    at = make_engines(GetParam(), options);
  }
  static message_ptr message_for(const std::string& who, std::uint64_t offset) {
    const auto x = entry_for(who, std::to_string(offset));
    return std::make_shared<const message>(message{x.to, sequence::at(0, offset), x.id, x.what, x.appended, x.requeue});
  }
  shard_id shard_of_user(const std::string& who) const { return shard_of(user(who), static_cast<std::uint32_t>(options.log.shards)); }
  std::uint64_t position_of(shard_id shard) const {
    for (const auto& x : at->store->positions())
      if (x.shard == shard) return x.next_offset;
    return UINT64_MAX;
  }

  scratch_folder folder;
  own_mongodb server{folder};
  config options = test_config(folder);
  std::unique_ptr<engines> at;
};

TEST_P(store_durability, what_was_answered_is_there_after_the_next_start) {
  constexpr std::uint64_t batches = 40, each = 25;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < batches; ++i) {
    store_batch batch;
    for (std::uint64_t n = 0; n < each; ++n) batch.messages.push_back(message_for("alice", next++));
    batch.positions.push_back({shard_of_user("alice"), next});
    batch.cursors.push_back(record("alice", i + 1, sequence::at(0, i * 3), {sequence::at(0, i * 3 + 5)}));
    write(*at, std::move(batch)).value();
  }
  start_again();
  EXPECT_EQ(position_of(shard_of_user("alice")), next);
  const auto box = load(*at, user("alice"), 2000).value();
  EXPECT_EQ(box.record.version, batches);
  const auto floor = (batches - 1) * 3;
  EXPECT_EQ(box.record.acked, cursor(sequence::at(0, floor), {sequence::at(0, floor + 5)}));
  ASSERT_EQ(box.page.messages.size(), next - floor - 1) << "the rest of the mailbox, with no publish since";
  for (std::size_t i = 0; i < box.page.messages.size(); ++i) ASSERT_EQ(box.page.messages[i]->seq, sequence::at(0, floor + 1 + i));
  EXPECT_EQ(box.unread, next);
  EXPECT_EQ(box.page.complete_to, sequence::at(0, next - 1));
}

TEST_P(store_durability, positions_and_cursors_never_go_back) {
  const auto shard = shard_of_user("alice");
  write(*at, {{}, {record("alice", 5, {50})}, {}, {{shard, 100}}}).value();
  write(*at, {{}, {record("alice", 4, {90})}, {}, {{shard, 60}}}).value();
  start_again();
  EXPECT_EQ(position_of(shard), 100u);
  write(*at, {{}, {record("alice", 3, {95})}, {}, {{shard, 70}}}).value();
  start_again();
  EXPECT_EQ(position_of(shard), 100u);
  const auto now = load(*at, user("alice")).value().record;
  EXPECT_EQ(now.version, 5u);
  EXPECT_EQ(now.acked.floor(), sequence{50});
}

TEST_P(store_durability, a_dead_letter_written_again_after_the_next_start_is_kept_once) {
  const dead_letter x{
      "orders/3/17", {}, {12}, dead_reason::malformed, "not \xff text", "orders", "orders", 3, 17, entry_for("x", "17").what, {1}, {2}, 4, 0, false};
  auto second = x;
  second.id = "orders/3/01";
  write(*at, {{}, {}, {x}, {}}).value();
  start_again();
  write(*at, {{}, {}, {x, second}, {}}).value();
  const auto all = dead_letters(*at).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, "orders/3/17") << "in the order of arrival";
  EXPECT_EQ(all[0].detail, "not \xff text");
  EXPECT_EQ(all[1].id, "orders/3/01");
  EXPECT_EQ(at->counts->dead_letters.value(), 2);
}

// A million rows in SQLite, and with DOORSTEP_TEST_ROWS=1000000 in a real MongoDB. The stand-in keeps no order and scans for each page.
#ifdef __SANITIZE_ADDRESS__
constexpr std::uint64_t sqlite_rows = 50'000;
#else
constexpr std::uint64_t sqlite_rows = 1'000'000;
#endif

TEST_P(store_durability, a_user_is_read_page_by_page_among_many_rows) {
  const char* const asked = std::getenv("DOORSTEP_TEST_ROWS");
  const std::uint64_t rows = asked ? std::strtoull(asked, nullptr, 10) : GetParam() == "mongodb" ? 20'000 : sqlite_rows, users = 20;
  std::vector<std::uint64_t> next(options.log.shards), count(users);
  for (std::uint64_t n = 0; n < rows;) {
    store_batch batch;
    for (; batch.messages.size() < 1000 && n < rows; ++n) {
      const auto who = "u" + std::to_string(n % users);
      auto& offset = next[static_cast<std::uint32_t>(shard_of_user(who))];
      batch.messages.push_back(message_for(who, offset++));
      ++count[n % users];
    }
    for (std::uint32_t i = 0; i < next.size(); ++i) batch.positions.push_back({shard_id{i}, next[i]});
    write(*at, std::move(batch)).value();
  }
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t pages = 0;
  for (const std::uint64_t who : {std::uint64_t{3}, users - 1}) {
    const auto name = "u" + std::to_string(who);
    std::uint64_t found = 0;
    sequence after;
    for (bool more = true; more; ++pages) {
      const auto page = read(*at, user(name), after, 500).value();
      for (const auto& x : page.messages) {
        ASSERT_GT(x->seq, after);
        ASSERT_EQ(x->to, user(name));
        after = x->seq;
        ++found;
      }
      more = page.more;
    }
    EXPECT_EQ(found, count[who]);
    EXPECT_EQ(load(*at, user(name), 1).value().unread, count[who]);
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  RecordProperty("milliseconds_a_page", std::to_string(took.count() / static_cast<double>(pages)));
}

INSTANTIATE_TEST_SUITE_P(stores, store_durability, testing::Values("sqlite-store", "mongodb"),
                         [](const auto& info) { return info.param == "mongodb" ? std::string("mongodb") : std::string("sqlite_store"); });

}  // namespace
}  // namespace doorstep::test
