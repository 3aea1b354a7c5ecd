// SPDX-License-Identifier: Apache-2.0
// What the person does with messages, from several devices, and retention, with a virtual clock.
#include "actors/mailbox.hpp"
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class inbox_actors_test : public house_in_a_bottle {
protected:
  inbox_actors_test() {
    options_.delivery.window = 8;
    options_.delivery.ack_timeout = milliseconds{60'000};
    options_.delivery.passivate_after = milliseconds{5000};
    anchor_clock();
  }
  static address alice() { return address::user("alice").value(); }
  client_device& connect_counting() {
    client::connect request;
    request.counts = true;
    return connect("alice", request);
  }
  void publish_some(int count) {
    for (int i = 0; i < count; ++i) publish_to("alice", std::to_string(next_++));
  }
  sequence seq(std::size_t i) const { return log_.messages_of(alice(), {}, SIZE_MAX).at(i)->seq; }
  void mark(client_device& x, inbox_mark what, std::vector<std::size_t> which, request_id id = 0, bool on = true) {
    std::vector<sequence> seqs;
    seqs.reserve(which.size());
    for (const auto i : which) seqs.push_back(seq(i));
    say(x, client::mark{id, what, on, {}, {{alice(), seqs}}});
  }
  void mark_up_to(client_device& x, inbox_mark what, std::size_t i, request_id id = 0, bool on = true) {
    say(x, client::mark{id, what, on, {{alice(), seq(i)}}, {}});
  }
  void mark_all(client_device& x, inbox_mark what, request_id id = 0) { say(x, client::mark{id, what, true, {}, {}, true}); }
  static std::pair<std::uint64_t, std::uint64_t> counts(const client_device& x) { return {x.seen->unread.back(), x.seen->unseen.back()}; }
  server::history history_of(client_device& x, history_query query = {}) {
    x.seen->histories.clear();
    say(x, client::history{9, alice(), query});
    return x.seen->histories.empty() ? server::history{} : x.seen->histories.back();
  }
  /// Names of the states of a message of the page.
  static std::string states(const server::past& x) {
    std::string out;
    for (std::size_t i = 0; i < inbox_marks_max; ++i)
      if (x.states[i]) out += (out.empty() ? "" : " ") + std::string(name(static_cast<inbox_mark>(i)));
    return out;
  }
  int next_ = 0;
};

TEST_F(inbox_actors_test, every_device_is_told_the_counts_after_any_sequence_of_changes) {
  auto& phone = connect_counting();
  auto& laptop = connect_counting();
  publish_some(6);
  EXPECT_EQ(counts(laptop), std::pair(6ul, 6ul));
  mark_all(phone, inbox_mark::seen);
  EXPECT_EQ(counts(laptop), std::pair(6ul, 0ul));
  mark(phone, inbox_mark::read, {1, 3});
  EXPECT_EQ(counts(laptop), std::pair(4ul, 0ul));
  mark(laptop, inbox_mark::read, {3}, 0, false);
  EXPECT_EQ(counts(phone), std::pair(5ul, 0ul));
  mark(laptop, inbox_mark::archived, {0, 1});
  EXPECT_EQ(counts(phone), std::pair(4ul, 0ul));
  mark(phone, inbox_mark::archived, {0}, 0, false);
  EXPECT_EQ(counts(phone), std::pair(5ul, 0ul)) << "it is unread again, as it was";
  publish_some(1);
  EXPECT_EQ(counts(phone), std::pair(6ul, 1ul));
  mark_up_to(phone, inbox_mark::read, 4);
  EXPECT_EQ(counts(laptop), std::pair(2ul, 1ul));
  mark_all(laptop, inbox_mark::read);
  EXPECT_EQ(counts(phone), std::pair(0ul, 0ul));
  EXPECT_EQ(counts(phone), counts(laptop));
}

TEST_F(inbox_actors_test, read_on_one_device_clears_the_badge_of_another_that_was_offline) {
  auto& phone = connect_counting();
  publish_some(3);
  EXPECT_EQ(counts(phone), std::pair(3ul, 3ul));
  disconnect(phone);
  auto& laptop = connect_counting();
  mark_all(laptop, inbox_mark::read, 4);
  EXPECT_THAT(laptop.seen->done, ElementsAre(4));
  disconnect(laptop);
  pass(milliseconds{5001});
  ASSERT_EQ(boxes().size(), 0U);
  auto& again = connect_counting();
  EXPECT_EQ(counts(again), std::pair(0ul, 0ul));
  EXPECT_EQ(again.seen->pushes.size(), 3u) << "reading is not acking";
}

TEST_F(inbox_actors_test, acking_is_not_reading) {
  auto& phone = connect_counting();
  publish_some(2);
  ack_up_to(phone, "alice", seq(1));
  pass(milliseconds{5000});
  EXPECT_EQ(counts(phone), std::pair(2ul, 2ul));
}

TEST_F(inbox_actors_test, a_change_is_answered_once_it_is_stored) {
  auto& phone = connect_counting();
  publish_some(2);
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  mark_up_to(phone, inbox_mark::read, 0, 4);
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->done, IsEmpty());
  EXPECT_EQ(counts(phone), std::pair(2ul, 2ul)) << "what may be lost is not shown";
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_THAT(phone.seen->done, ElementsAre(4));
  EXPECT_EQ(counts(phone), std::pair(1ul, 1ul));
  EXPECT_TRUE(store_.inbox_of(alice())[inbox_mark::read].at(seq(0)));
}

TEST_F(inbox_actors_test, single_messages_wait_for_a_store_that_cannot_be_read) {
  auto& phone = connect_counting();
  publish_some(2);
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  mark(phone, inbox_mark::read, {0}, 4);
  mark_all(phone, inbox_mark::archived, 5);
  pass(milliseconds{3000});
  EXPECT_THAT(phone.seen->done, IsEmpty());
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_THAT(phone.seen->done, ElementsAre(4, 5));
  EXPECT_EQ(counts(phone), std::pair(0ul, 0ul));
}

TEST_F(inbox_actors_test, nothing_can_be_marked_that_does_not_exist_yet_or_belongs_to_somebody_else) {
  auto& phone = connect_counting();
  publish_some(1);
  say(phone, client::mark{4, inbox_mark::read, true, {{alice(), sequence{1'000'000}}}, {}});
  EXPECT_EQ(counts(phone), std::pair(0ul, 0ul));
  publish_some(1);
  EXPECT_EQ(counts(phone), std::pair(1ul, 1ul));
  say(phone, client::mark{5, inbox_mark::read, true, {{address::user("bob").value(), seq(1)}}, {}});
  say(phone, client::mark{6, inbox_mark::read, true, {}, {{address::user("bob").value(), {seq(1)}}}});
  ASSERT_EQ(phone.seen->errors.size(), 2u);
  EXPECT_EQ(phone.seen->errors[0].what.code, ec::forbidden);
  EXPECT_EQ(phone.seen->errors[1].what.code, ec::forbidden);
  EXPECT_EQ(counts(phone), std::pair(1ul, 1ul));
}

TEST_F(inbox_actors_test, history_shows_states_with_times_and_pages_by_seq) {
  auto& phone = connect_counting();
  publish_some(5);
  ack_up_to(phone, "alice", seq(2));
  pass(options_.delivery.ack_linger);
  mark(phone, inbox_mark::read, {1});
  mark(phone, inbox_mark::archived, {4});
  mark_up_to(phone, inbox_mark::seen, 3);
  history_query query;
  query.limit = 4;
  auto page = history_of(phone, query);
  ASSERT_EQ(page.messages.size(), 4u);
  EXPECT_TRUE(page.more);
  EXPECT_FALSE(page.gone);
  EXPECT_EQ(states(page.messages[0]), "delivered seen");
  EXPECT_EQ(states(page.messages[1]), "delivered seen read");
  EXPECT_EQ(states(page.messages[3]), "seen");
  EXPECT_GT(page.messages[0].states[0]->value, 1'600'000'000'000);
  query.after = page.messages.back().what->seq;
  page = history_of(phone, query);
  ASSERT_EQ(page.messages.size(), 1u);
  EXPECT_EQ(states(page.messages[0]), "archived");
}

TEST_F(inbox_actors_test, what_expired_says_so_and_is_no_longer_counted) {
  options_.delivery.ttl = milliseconds{1000};
  publish_some(2);
  pass(milliseconds{2000});
  auto& phone = connect_counting();
  EXPECT_EQ(store_.dead().size(), 2u);
  EXPECT_EQ(counts(phone), std::pair(0ul, 0ul));
  const auto page = history_of(phone);
  ASSERT_EQ(page.messages.size(), 2u);
  EXPECT_EQ(states(page.messages[0]), "expired");
  disconnect(phone);
  pass(milliseconds{5001});
  ASSERT_EQ(boxes().size(), 0U);
  EXPECT_EQ(store_.inbox_of(alice())[inbox_mark::expired].ranges().size(), 1u) << "neighbours became one mark";
}

TEST_F(inbox_actors_test, what_a_newer_one_took_the_place_of_says_so_and_is_no_longer_counted) {
  options_.delivery.order = "latest";
  auto& phone = connect_counting();
  publish_some(3);
  pass(milliseconds{5000});
  EXPECT_EQ(counts(phone), std::pair(1ul, 1ul));
  const auto page = history_of(phone);
  ASSERT_EQ(page.messages.size(), 3u);
  EXPECT_EQ(states(page.messages[0]), "superseded");
  EXPECT_EQ(states(page.messages[1]), "superseded");
  EXPECT_EQ(states(page.messages[2]), "");
  disconnect(phone);
  auto& laptop = connect_counting();
  EXPECT_EQ(counts(laptop), std::pair(1ul, 1ul)) << "also in the next life";
}

TEST_F(inbox_actors_test, other_sessions_are_told_what_one_acked) {
  auto& phone = connect("alice");
  auto& laptop = connect("alice");
  publish_some(3);
  ack_up_to(phone, "alice", seq(1), 7);
  pass(options_.delivery.receipt_delay);
  ASSERT_EQ(laptop.seen->receipts.size(), 1u);
  EXPECT_EQ(laptop.seen->receipts[0].id, 0u);
  EXPECT_EQ(laptop.seen->receipts[0].ids.size(), 2u);
  ASSERT_EQ(laptop.seen->receipts[0].up_to.size(), 1u);
  EXPECT_EQ(laptop.seen->receipts[0].up_to[0].second, seq(1));
  EXPECT_EQ(phone.seen->receipts.size(), 1u) << "its own only";
}

TEST_F(inbox_actors_test, a_mailbox_that_only_delivers_carries_no_inbox) {
  auto& phone = connect_counting();
  publish_some(2);
  ack_up_to(phone, "alice", seq(0));
  auto* self = dynamic_cast<mailbox_self*>(caf::actor_cast<caf::abstract_actor*>(boxes().at(0)));
  EXPECT_EQ(self->state.desk, nullptr);
  pass(milliseconds{60'000});
  ack_up_to(phone, "alice", seq(1));
  EXPECT_TRUE(store_.inbox_of(alice())[inbox_mark::delivered].at(seq(1))) << "the time of delivery is noted now and then";
}

TEST_F(inbox_actors_test, retention_removes_what_is_old_and_acked_and_history_says_so) {
  options_.store.retention = milliseconds{3600'000};
  options_.log.dedup_window = milliseconds{1000};
  auto& phone = connect_counting();
  publish_some(4);
  ack_up_to(phone, "alice", seq(2));
  const auto third = seq(2);
  pass(milliseconds{1800'000});
  EXPECT_EQ(counts_.retained_out.value(), 0);
  pass(milliseconds{3600'000});
  EXPECT_EQ(counts_.retained_out.value(), 3);
  const auto page = history_of(phone);
  ASSERT_EQ(page.messages.size(), 1u);
  EXPECT_EQ(page.messages[0].what->what->id, "3");
  ASSERT_TRUE(page.gone);
  EXPECT_EQ(page.gone->upto, third);
  history_query above;
  above.after = third;
  EXPECT_FALSE(history_of(phone, above).gone);
}

}  // namespace
}  // namespace doorstep::test
