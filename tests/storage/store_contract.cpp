// SPDX-License-Identifier: Apache-2.0
// What every message store promises, beside its log or on the log's own table. Inbox, history and retention: inbox_contract.cpp.
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>

#include <string>

namespace doorstep::test {
namespace {

class store_contract : public store_test {};

TEST_P(store_contract, a_user_nobody_wrote_to_has_an_empty_mailbox) {
  const auto box = load(*at, user("nobody")).value();
  EXPECT_EQ(box.record.version, 0u);
  EXPECT_EQ(box.record.user, user("nobody"));
  EXPECT_TRUE(box.page.messages.empty());
  EXPECT_FALSE(box.page.more);
  EXPECT_EQ(box.unread, 0u);
}

TEST_P(store_contract, a_mailbox_starts_after_its_floor_with_the_messages_whole) {
  const auto seqs = keep({entry_for("alice", "1"), entry_for("bob", "1"), entry_for("alice", "2"), entry_for("alice", "3")});
  write(*at, {{}, {record("alice", 1, seqs[0], {seqs[3]})}, {}, {}}).value();
  const auto box = load(*at, user("alice")).value();
  EXPECT_EQ(box.record.version, 1u);
  EXPECT_EQ(box.record.acked, cursor(seqs[0], {seqs[3]}));
  ASSERT_THAT(event_ids(box.page.messages), testing::ElementsAre("2", "3"));
  const auto& second = *box.page.messages[0];
  EXPECT_EQ(second.seq, seqs[2]);
  EXPECT_EQ(second.id, message_id("/test", "2", user("alice")));
  EXPECT_EQ(second.what->data, R"({"n":"2"})");
  EXPECT_EQ(second.appended, unix_ms{1'000'000});
}

TEST_P(store_contract, a_message_says_where_it_came_from_also_after_the_next_start) {
  const auto from = std::make_shared<const origin_partition>(origin_partition{"shop orders", 2, "orders", 3});
  keep({entry_from(from, 17, 17, "alice"), entry_for("alice", "over http"), entry_from(from, 18, 17, "bob")});
  const auto check = [&] {
    const auto page = load(*at, user("alice")).value().page;
    ASSERT_EQ(page.messages.size(), 2u);
    ASSERT_TRUE(page.messages[0]->from);
    EXPECT_EQ(*page.messages[0]->from, *from);
    EXPECT_EQ(page.messages[0]->from_offset, 17);
    EXPECT_FALSE(page.messages[1]->from);
    EXPECT_EQ(page.messages[1]->from_offset, -1);
    EXPECT_EQ(read(*at, user("bob"), {}).value().messages.at(0)->from_offset, 18);
  };
  check();
  if (GetParam().starts_with("memory")) return;
  at.reset();
  at = make_engines(GetParam(), options);
  check();
  keep({entry_from(from, 19, 17, "bob")});
  EXPECT_EQ(read(*at, user("bob"), {}).value().messages.at(1)->from_offset, 19);
}

TEST_P(store_contract, pages_follow_each_other_in_seq_order_without_gap_or_repeat) {
  std::vector<log_entry> entries;
  for (int i = 0; i < 25; ++i) {
    entries.push_back(entry_for("alice", std::to_string(i)));
    entries.push_back(entry_for("bob", std::to_string(i)));
  }
  keep(std::move(entries));
  std::vector<std::string> found;
  sequence after;
  for (bool more = true; more;) {
    const auto page = read(*at, user("alice"), after, 10).value();
    ASSERT_LE(page.messages.size(), 10u);
    ASSERT_FALSE(page.messages.empty());
    for (const auto& x : page.messages) {
      ASSERT_GT(x->seq, after);
      after = x->seq;
      found.push_back(x->what->id);
    }
    more = page.more;
  }
  ASSERT_EQ(found.size(), 25u);
  for (int i = 0; i < 25; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i)], std::to_string(i));
}

TEST_P(store_contract, a_page_that_ends_exactly_at_the_end_says_there_is_no_more) {
  keep({entry_for("alice", "1"), entry_for("alice", "2")});
  EXPECT_FALSE(read(*at, user("alice"), {}, 2).value().more);
  EXPECT_TRUE(read(*at, user("alice"), {}, 1).value().more);
}

TEST_P(store_contract, complete_to_covers_what_was_stored_before_the_read) {
  const auto seqs = keep({entry_for("alice", "1"), entry_for("alice", "2")});
  EXPECT_GE(read(*at, user("alice"), {}, 1).value().complete_to, seqs[1]);
  EXPECT_GE(load(*at, user("alice")).value().page.complete_to, seqs[1]);
}

TEST_P(store_contract, two_messages_of_one_millisecond_are_two_messages) {
  keep({entry_for("alice", "1", 5'000), entry_for("alice", "2", 5'000)});
  EXPECT_THAT(event_ids(read(*at, user("alice"), {}).value().messages), testing::ElementsAre("1", "2"));
}

TEST_P(store_contract, an_older_cursor_never_replaces_a_newer_one) {
  write(*at, {{}, {record("alice", 5, {50})}, {}, {}}).value();
  write(*at, {{}, {record("alice", 4, {90})}, {}, {}}).value();
  EXPECT_EQ(load(*at, user("alice")).value().record.acked.floor(), sequence{50});
  write(*at, {{}, {record("alice", 7, {70}), record("alice", 6, {60})}, {}, {}}).value();
  const auto now = load(*at, user("alice")).value().record;
  EXPECT_EQ(now.version, 7u);
  EXPECT_EQ(now.acked.floor(), sequence{70});
}

TEST_P(store_contract, a_cursor_keeps_horizon_and_what_the_person_read) {
  auto x = record("alice", 1, {3}, {{5}, {9}});
  x.horizon = {{40}, true};
  x.read_upto = {2};
  write(*at, {{}, {x}, {}, {}}).value();
  const auto found = load(*at, user("alice")).value().record;
  EXPECT_EQ(found.acked, x.acked);
  EXPECT_EQ(found.horizon, x.horizon);
  EXPECT_EQ(found.read_upto, x.read_upto);
}

TEST_P(store_contract, a_cursor_keeps_its_holes_as_the_ranges_they_are) {
  auto x = record("alice", 1, {3});
  x.acked = cursor::with_ranges({3}, {{{5}, {6}}, {{9}, {1'000'000}}});
  write(*at, {{}, {x}, {}, {}}).value();
  EXPECT_EQ(load(*at, user("alice")).value().record.acked, x.acked);
}

TEST_P(store_contract, what_is_owed_is_counted_in_messages_and_bytes_without_the_holes_however_small_the_page) {
  std::vector<log_entry> entries;
  for (int i = 0; i < 20; ++i) {
    entries.push_back(entry_for("alice", std::to_string(10 + i)));
    entries.push_back(entry_for("bob", std::to_string(i)));
  }
  const auto bytes = content_bytes(entries[0].what.get());
  ASSERT_GT(bytes, 10u);
  const auto seqs = keep(std::move(entries));
  auto x = record("alice", 1, seqs[4]);  // 3 of hers
  x.acked.ack(seqs[8]);
  x.acked.cover(seqs[14], seqs[20]);  // 3 more
  write(*at, {{}, {x}, {}, {}}).value();
  for (const std::size_t limit : {100u, 17u, 2u, 0u}) {
    const auto owed = load(*at, user("alice"), limit).value().owed;
    EXPECT_EQ(owed.messages, 13u) << limit;
    EXPECT_EQ(owed.bytes, 13 * bytes) << limit;
  }
}

TEST_P(store_contract, how_a_message_is_delivered_stays_with_it_and_with_its_dead_letter) {
  auto special = entry_for("alice", "1");
  special.terms = std::make_shared<const delivery_terms>(delivery_terms{delivery_terms::ordering::latest, "cart", milliseconds{5}, 0, 3});
  keep({special, entry_for("alice", "2")});
  const auto page = read(*at, user("alice"), {}).value();
  ASSERT_EQ(page.messages.size(), 2u);
  ASSERT_TRUE(page.messages[0]->terms);
  EXPECT_EQ(page.messages[0]->terms->order, delivery_terms::ordering::latest);
  EXPECT_EQ(page.messages[0]->terms->key, "cart");
  EXPECT_EQ(page.messages[0]->terms->max_attempts, 0u);
  EXPECT_EQ(page.messages[1]->terms, nullptr);
  dead_letter dead;
  dead.id = "a";
  dead.to = user("alice");
  dead.what = special.what;
  dead.terms = special.terms;
  write(*at, {{}, {}, {dead}, {}}).value();
  const auto letters = dead_letters(*at).value();
  ASSERT_TRUE(letters.at(0).terms);
  EXPECT_EQ(letters[0].terms->ttl, milliseconds{5});
}

TEST_P(store_contract, unread_counts_messages_above_what_the_person_read) {
  const auto seqs = keep({entry_for("alice", "1"), entry_for("alice", "2"), entry_for("bob", "1"), entry_for("alice", "3")});
  EXPECT_EQ(load(*at, user("alice")).value().unread, 3u);
  auto x = record("alice", 1, seqs[3]);
  x.read_upto = seqs[1];
  write(*at, {{}, {x}, {}, {}}).value();
  EXPECT_EQ(load(*at, user("alice")).value().unread, 1u) << "acked is not read";
}

TEST_P(store_contract, a_write_that_may_wait_becomes_durable_all_the_same) {
  write(*at, {{}, {record("alice", 1, {7})}, {}, {}}, urgency::soon).value();
  EXPECT_EQ(load(*at, user("alice")).value().record.acked.floor(), sequence{7});
}

TEST_P(store_contract, a_dead_letter_written_twice_is_kept_once_and_pages_go_on_after_an_id) {
  dead_letter x{"orders/3/17", {}, {12}, dead_reason::malformed, "not JSON", "orders", "orders", 3, 17, entry_for("x", "17").what, {1}, {2}, 4};
  auto later = x;
  later.detail = "another story";
  auto second = x;
  second.id = "orders/3/18";
  second.to = user("alice");
  second.reason = dead_reason::max_attempts;
  write(*at, {{}, {}, {x}, {}}).value();
  write(*at, {{}, {}, {later, second}, {}}).value();
  const auto all = dead_letters(*at).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, "orders/3/17");
  EXPECT_EQ(all[0].detail, "not JSON");
  EXPECT_EQ(all[0].offset, 17);
  EXPECT_EQ(all[0].attempts, 4u);
  EXPECT_TRUE(all[0].to.empty());
  EXPECT_EQ(all[0].what->id, "17");
  EXPECT_EQ(all[1].to, user("alice"));
  EXPECT_EQ(all[1].reason, dead_reason::max_attempts);
  const auto rest = dead_letters(*at, {"orders/3/17", 10}).value();
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].id, "orders/3/18");
  EXPECT_EQ(dead_letters(*at, {"", 1}).value().size(), 1u);
}

dead_letter dead_of(const std::string& id, std::uint32_t requeue = 0) {
  dead_letter out;
  out.id = id;
  out.to = user("alice");
  out.seq = {12};
  out.reason = dead_reason::nacked;
  out.topic = "orders";
  out.what = entry_for("alice", id).what;
  out.last = {1'000};
  out.requeue = requeue;
  return out;
}

store_batch change_of(const std::string& id, std::uint32_t requeue, dead_letter_change::to what) {
  store_batch out;
  out.dead_changes.push_back({id, requeue, what});
  return out;
}

std::vector<std::string> ids_of(const std::vector<dead_letter>& letters) {
  std::vector<std::string> out;
  for (const auto& x : letters) out.push_back(x.id);
  return out;
}

TEST_P(store_contract, a_dead_letter_is_requeued_by_compare_and_set_and_gives_way_when_it_dies_again) {
  write(*at, {{}, {}, {dead_of("a")}, {}}).value();
  write(*at, change_of("a", 1, dead_letter_change::to::requeued)).value();
  EXPECT_FALSE(dead_letters(*at).value()[0].requeued) << "it did not die as number 1";
  write(*at, change_of("a", 0, dead_letter_change::to::requeued)).value();
  write(*at, change_of("a", 0, dead_letter_change::to::requeued)).value();
  EXPECT_TRUE(dead_letters(*at).value()[0].requeued);
  write(*at, {{}, {}, {dead_of("a")}, {}}).value();  // written twice
  EXPECT_TRUE(dead_letters(*at).value()[0].requeued);
  write(*at, {{}, {}, {dead_of("a", 1)}, {}}).value();
  const auto again = dead_letters(*at).value();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].requeue, 1u);
  EXPECT_FALSE(again[0].requeued);
}

TEST_P(store_contract, a_message_that_was_requeued_and_died_again_keeps_its_origin_and_since_when) {
  auto first = dead_of("a");
  first.source = "shop";
  first.partition = 3;
  first.offset = 17;
  first.first = {500};
  auto again = dead_of("a", 1);
  again.topic.clear();
  again.first = {5'000};
  again.last = {9'000};
  again.attempts = 2;
  write(*at, {{}, {}, {first}, {}}).value();
  write(*at, {{}, {}, {again}, {}}).value();
  write(*at, {{}, {}, {again}, {}}).value();  // written twice
  const auto all = dead_letters(*at).value();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].requeue, 1u);
  EXPECT_EQ(all[0].source, "shop");
  EXPECT_EQ(all[0].topic, "orders");
  EXPECT_EQ(all[0].partition, 3);
  EXPECT_EQ(all[0].offset, 17);
  EXPECT_EQ(all[0].first, unix_ms{500});
  EXPECT_EQ(all[0].last, unix_ms{9'000});
  EXPECT_EQ(all[0].attempts, 2u);
}

TEST_P(store_contract, a_dead_letter_is_purged_only_while_it_is_dead) {
  write(*at, {{}, {}, {dead_of("a"), dead_of("b")}, {}}).value();
  write(*at, change_of("a", 0, dead_letter_change::to::requeued)).value();
  write(*at, change_of("a", 0, dead_letter_change::to::purged)).value();
  write(*at, change_of("b", 0, dead_letter_change::to::purged)).value();
  EXPECT_THAT(ids_of(dead_letters(*at).value()), testing::ElementsAre("a"));
}

TEST_P(store_contract, dead_letters_are_found_by_what_they_are) {
  auto other = dead_of("b");
  other.to = user("bob");
  other.topic = "invoices";
  other.reason = dead_reason::expired;
  other.last = {2'000};
  write(*at, {{}, {}, {dead_of("a"), other, dead_of("c")}, {}}).value();
  write(*at, change_of("c", 0, dead_letter_change::to::requeued)).value();
  const auto found = [&](auto change) {
    dead_letter_query query;
    change(query);
    return ids_of(dead_letters(*at, query).value());
  };
  EXPECT_THAT(found([](auto& x) { x.id = "b"; }), testing::ElementsAre("b"));
  EXPECT_THAT(found([](auto& x) { x.address = "user:bob"; }), testing::ElementsAre("b"));
  EXPECT_THAT(found([](auto& x) { x.topic = "orders"; }), testing::ElementsAre("a", "c"));
  EXPECT_THAT(found([](auto& x) { x.reason = dead_reason::expired; }), testing::ElementsAre("b"));
  EXPECT_THAT(found([](auto& x) { x.since = unix_ms{2'000}; }), testing::ElementsAre("b"));
  EXPECT_THAT(found([](auto& x) { x.until = unix_ms{2'000}; }), testing::ElementsAre("a", "c"));
  EXPECT_THAT(found([](auto& x) { x.requeued_too = false; }), testing::ElementsAre("a", "b"));
  EXPECT_THAT(found([](auto& x) { x.topic = "orders", x.after = "a"; }), testing::ElementsAre("c"));
}

TEST_P(store_contract, a_drain_writes_and_is_told_nothing_more) {
  keep({entry_for("alice", "1")});
  at->store->stop_reading();
  EXPECT_EQ(load(*at, user("alice")).error().code, ec::stopping);
  EXPECT_EQ(read(*at, user("alice"), {}).error().code, ec::stopping);
  EXPECT_TRUE(write(*at, {{}, {record("alice", 1, {7})}, {}, {}}).has_value());
}

TEST_P(store_contract, stopping_writes_what_waits_and_refuses_the_rest) {
  if (at->log) at->log->stop();
  const answer<void> before, after;
  at->store->write({{}, {record("alice", 1, {7})}, {}, {}}, urgency::soon, before.taker());
  at->store->stop();
  ASSERT_TRUE(before.ready());
  EXPECT_TRUE(before.wait().has_value());
  at->store->write({{}, {record("alice", 2, {8})}, {}, {}}, urgency::now, after.taker());
  EXPECT_EQ(after.wait().error().code, ec::stopping);
  const answer<stored_mailbox> loaded;
  at->store->load(user("alice"), 1, loaded.taker());
  EXPECT_EQ(loaded.wait().error().code, ec::stopping);
}

INSTANTIATE_TEST_SUITE_P(stores, store_contract, all_stores, store_name);

}  // namespace
}  // namespace doorstep::test
