// SPDX-License-Identifier: Apache-2.0
// Counts that are one sum over mailbox and channels, marks that concern several owners, acks that the user's other sessions are told of.
#include "tests/actors/channel_fixture.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class channel_counts_test : public channel_test {
protected:
  channel_counts_test() { options_.delivery.receipt_delay = milliseconds{200}; }
  client_device& come_counting(const std::string& user, std::vector<std::string> roles = {}) {
    client::connect request;
    request.counts = true;
    return come(user, std::move(roles), request);
  }
  static std::pair<std::uint64_t, std::uint64_t> told(const client_device& x) {
    return x.seen->unread.empty() ? std::pair<std::uint64_t, std::uint64_t>{999, 999} : std::pair{x.seen->unread.back(), x.seen->unseen.back()};
  }
  static std::pair<std::uint64_t, std::uint64_t> are(std::uint64_t unread, std::uint64_t unseen) { return {unread, unseen}; }
  void mark(client_device& x, inbox_mark what, seq_by_address up_to, request_id id = 5) {
    say(x, client::mark{id, what, true, std::move(up_to), {}, false});
  }
  void mark_all(client_device& x, inbox_mark what, bool on = true, request_id id = 6) { say(x, client::mark{id, what, on, {}, {}, true}); }
};

TEST_F(channel_counts_test, counts_are_the_sum_over_mailbox_and_channels_on_every_session_that_wants_them) {
  auto &tab = come_counting("bob", {"admin"}), &phone = come_counting("bob", {"admin"}), &plain = come("bob", {"admin"});
  EXPECT_EQ(told(tab), are(0, 0));
  send("sold", "1");  // user:bob and role:admin
  send("everybody", "2");
  for (auto* x : {&tab, &phone}) EXPECT_EQ(told(*x), are(3, 3));
  EXPECT_THAT(plain.seen->unread, IsEmpty());
  const auto seq = tab.seen->pushes.back().what->seq;
  mark(tab, inbox_mark::seen, {{address::all(), seq}});
  for (auto* x : {&tab, &phone}) EXPECT_EQ(told(*x), are(3, 2));
  mark(phone, inbox_mark::read, {{address::all(), seq}});
  for (auto* x : {&tab, &phone}) EXPECT_EQ(told(*x), are(2, 2));
  auto& late = come_counting("bob", {"admin"});
  EXPECT_EQ(late.seen->unread.size(), 1U);
  EXPECT_EQ(told(late), are(2, 2));
}

TEST_F(channel_counts_test, all_marks_mailbox_and_channels_and_is_done_once_all_of_it_is_durable) {
  auto &tab = come_counting("bob", {"admin"}), &phone = come_counting("bob", {"admin"});
  send("sold", "1");
  send("everybody", "2");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  mark_all(tab, inbox_mark::read);
  pass(milliseconds{100});
  EXPECT_THAT(tab.seen->done, IsEmpty());
  EXPECT_EQ(told(phone), are(3, 3));
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 6; ++i) pass(milliseconds{500});
  EXPECT_THAT(tab.seen->done, ElementsAre(6U));
  for (auto* x : {&tab, &phone}) EXPECT_EQ(told(*x), are(0, 0));
  send("everybody", "3");
  EXPECT_EQ(told(tab), are(1, 1)) << "what comes later is not marked";
  mark_all(phone, inbox_mark::read, false, 7);
  EXPECT_THAT(phone.seen->done, ElementsAre(7U));
  EXPECT_EQ(told(tab), are(4, 4));
}

TEST_F(channel_counts_test, up_to_of_several_addresses_is_one_mark_with_one_answer_or_refused_as_a_whole) {
  auto& tab = come_counting("bob", {"admin"});
  send("sold", "1");
  send("everybody", "2");
  const auto top = tab.seen->pushes.back().what->seq;
  const auto bob = address::user("bob").value();
  mark(tab, inbox_mark::read, {{bob, top}, {address::all(), top}, {address::parse("role:viewer").value(), top}});
  ASSERT_EQ(tab.seen->errors.size(), 1U);
  EXPECT_EQ(tab.seen->errors[0].what.code, ec::forbidden);
  EXPECT_EQ(told(tab), are(3, 3));
  mark(tab, inbox_mark::read, {{bob, top}, {address::all(), top}}, 8);
  EXPECT_THAT(tab.seen->done, ElementsAre(8U));
  EXPECT_EQ(told(tab), are(1, 1));
}

TEST_F(channel_counts_test, nothing_of_before_somebody_began_counts_and_what_comes_while_he_is_away_does) {
  send("everybody", "0");
  auto& first = come_counting("ann");
  EXPECT_EQ(told(first), are(0, 0));
  send("everybody", "1");
  EXPECT_EQ(told(first), are(1, 1));
  disconnect(first);
  for (int i = 0; i < 3; ++i) pass(milliseconds{6'000});
  EXPECT_THAT(channels(), IsEmpty());
  send("everybody", "2");
  auto& again = come_counting("ann");
  EXPECT_EQ(told(again), are(2, 2));
  mark_all(again, inbox_mark::seen);
  EXPECT_EQ(told(again), are(2, 0));
  say(again, client::history{7, address::all(), {}});
  const auto& page = again.seen->histories.back().messages;
  ASSERT_EQ(page.size(), 3U);
  EXPECT_FALSE(page[0].states[static_cast<std::size_t>(inbox_mark::read)]) << "nobody has read it";
}

TEST_F(channel_counts_test, a_window_that_is_full_does_not_keep_what_came_from_being_counted) {
  auto& tab = come_counting("ann");
  for (int i = 0; i < 50; ++i) send("everybody", std::to_string(i));
  EXPECT_LT(tab.seen->pushes.size(), 50U);
  EXPECT_EQ(told(tab), are(50, 50));
}

TEST_F(channel_counts_test, a_channel_that_is_left_counts_no_more_and_one_that_is_joined_does) {
  auto& tab = come_counting("bob", {"admin"});
  send("sold", "1");
  EXPECT_EQ(told(tab), are(2, 2));
  tab.handler->refreshed(9, identity{"bob"});
  settle();
  EXPECT_EQ(told(tab), are(1, 1));
  identity admin{"bob"};
  admin.roles = {"admin"};
  tab.handler->refreshed(10, admin);
  settle();
  EXPECT_EQ(told(tab), are(2, 2));
}

TEST_F(channel_counts_test, counts_wait_for_a_store_that_is_away_and_are_never_of_a_part) {
  come("ann");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  auto& tab = come_counting("ann");
  pass(milliseconds{10'000});
  EXPECT_EQ(tab.seen->connected.size(), 1U);
  EXPECT_THAT(tab.seen->unread, IsEmpty());
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 20; ++i) pass(milliseconds{500});
  EXPECT_EQ(told(tab), are(0, 0));
}

TEST_F(channel_counts_test, other_sessions_of_the_user_are_told_of_an_ack_once_it_is_durable_and_strangers_are_not) {
  auto &tab = come("ann"), &phone = come("ann"), &ben = come("ben");
  send("everybody", "1");
  send("everybody", "2");
  const auto first = tab.seen->pushes[0].what;
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  ack_ids(tab, {first->id});
  pass(milliseconds{500});
  EXPECT_THAT(phone.seen->receipts, IsEmpty());
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 4; ++i) pass(milliseconds{500});
  ASSERT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_EQ(phone.seen->receipts[0].id, 0U);
  EXPECT_THAT(phone.seen->receipts[0].ids, ElementsAre(first->id));
  EXPECT_EQ(phone.seen->receipts[0].up_to, (seq_by_address{{address::all(), first->seq}}));
  EXPECT_EQ(tab.seen->receipts.size(), 1U);
  EXPECT_THAT(ben.seen->receipts, IsEmpty());
  const auto second = tab.seen->pushes[1].what;
  ack(phone, "all", second->seq, {}, 0);
  pass(options_.delivery.ack_linger);
  pass(options_.delivery.receipt_delay);
  ASSERT_EQ(tab.seen->receipts.size(), 2U);
  EXPECT_THAT(tab.seen->receipts[1].ids, ElementsAre(second->id));
}

TEST_F(channel_counts_test, a_dead_letter_of_one_reader_counts_no_more_for_it_and_its_history_says_so) {
  options_.delivery.max_attempts = 1;
  auto &ann = come_counting("ann"), &ben = come_counting("ben");
  send("everybody", "1");
  send("everybody", "2");
  const auto first = ann.seen->pushes[0].what;
  say(ann, client::nack{7, {first->id}, "cannot render", {}});
  for (int i = 0; i < 4; ++i) pass(milliseconds{100});
  ASSERT_EQ(store_.dead().size(), 1U);
  EXPECT_EQ(told(ann), are(1, 1));
  EXPECT_EQ(told(ben), are(2, 2));
  say(ann, client::history{7, address::all(), {}});
  const auto& page = ann.seen->histories.back().messages;
  EXPECT_TRUE(page[0].states[static_cast<std::size_t>(inbox_mark::dead)]);
  EXPECT_FALSE(page[0].states[static_cast<std::size_t>(inbox_mark::delivered)]);
  EXPECT_FALSE(page[1].states[static_cast<std::size_t>(inbox_mark::dead)]);
}

TEST_F(channel_counts_test, a_poisoned_message_does_not_count) {
  auto &ann = come_counting("ann"), &ben = come_counting("ben");
  for (auto* x : {&ann, &ben}) x->seen->poison = {"1"};
  send("everybody", "1");
  for (int i = 0; i < 10; ++i) pass(milliseconds{100});
  send("everybody", "2");
  ASSERT_EQ(store_.dead().size(), 1U);
  for (auto* x : {&ann, &ben}) EXPECT_EQ(told(*x), are(1, 1));
}

TEST_F(channel_counts_test, a_poisoned_message_stays_given_up_for_who_comes_long_after) {
  auto &ann = come_counting("ann"), &ben = come("ben");
  disconnect(ben);
  for (int i = 0; i < 3; ++i) pass(milliseconds{1'000});
  ann.seen->poison = {"1"};
  send("everybody", "1");
  for (int i = 0; i < 10; ++i) pass(milliseconds{100});
  disconnect(ann);
  pass(options_.delivery.mailbox_restart_window);
  for (int i = 0; i < 3; ++i) pass(milliseconds{6'000});
  EXPECT_THAT(channels(), IsEmpty());
  const auto restarts = counts_.actor_restarts.value();
  send("everybody", "2");
  client::connect request;
  request.counts = true;
  clients_.emplace_back();
  auto& again = clients_.back();
  again.seen->poison = {"1"};
  open(again);
  again.handler->connected(request, identity{"ben"});
  settle();
  EXPECT_THAT(again.seen->events(), ElementsAre("2"));
  EXPECT_EQ(told(again), are(1, 1));
  EXPECT_EQ(counts_.actor_restarts.value(), restarts);
}

class channel_counts_behind_test : public channel_test {
protected:
  channel_counts_behind_test() : channel_test(false, {}) { options_.channels.recent_messages_max = 64; }
};

TEST_F(channel_counts_behind_test, what_has_left_memory_and_is_not_in_the_store_yet_is_waited_for) {
  come("ann");
  store_.fail_with(failure{ec::unavailable, "away", {}});
  for (int i = 0; i < 200; ++i) send("everybody", std::to_string(i));
  client::connect request;
  request.counts = true;
  auto& again = come("ann", {}, request);
  pass(milliseconds{500});
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 20; ++i) pass(milliseconds{500});
  ASSERT_FALSE(again.seen->unread.empty());
  EXPECT_EQ(again.seen->unread.back(), 200U);
}

class channel_counts_expiry_test : public channel_counts_test {
protected:
  channel_counts_expiry_test() { options_.delivery.ttl = milliseconds{2'000}; }
};

TEST_F(channel_counts_expiry_test, a_message_past_its_time_does_not_count_any_more) {
  anchor_clock();
  auto& tab = come_counting("ann");
  send("everybody", "1");
  EXPECT_EQ(told(tab), are(1, 1));
  for (int i = 0; i < 6; ++i) pass(milliseconds{500});
  EXPECT_EQ(told(tab), are(0, 0));
}

TEST_F(channel_counts_test, any_sequence_of_marks_and_messages_counts_as_the_history_says) {
  std::mt19937 random(7);
  const auto any = [&](unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random); };
  std::vector<client_device*> tabs{&come_counting("bob", {"admin"}), &come_counting("bob", {"admin"})};
  const std::vector<address> owners{address::user("bob").value(), address::parse("role:admin").value(), address::all()};
  const auto top = [&] { return sequence::at(log_.generation(), log_.end_offset(shard_id{0})); };
  for (int step = 0; step < 120; ++step) {
    auto& tab = *tabs[any(2)];
    const auto what = std::array{inbox_mark::seen, inbox_mark::read, inbox_mark::archived}[any(3)];
    switch (any(5)) {
      case 0: send("sold", std::to_string(step)); break;
      case 1: send("everybody", std::to_string(step)); break;
      case 2: mark(tab, what, {{owners[any(3)], sequence{top().value - any(6)}}}); break;
      case 3: mark_all(tab, what, any(3) != 0); break;
      default: {
        auto where = owners[any(3)];
        say(tab, client::history{3, where, {}});
        const auto& page = tab.seen->histories.back().messages;
        if (!page.empty())
          say(tab, client::mark{4, what, any(2) == 0, {}, {{where, {page[any(static_cast<unsigned>(page.size()))].what->seq}}}, false});
      }
    }
    for (int i = 0; i < 3; ++i) pass(milliseconds{20});
    client::history all{7, {}, {}, true};
    all.what.limit = 1000;
    say(tab, all);
    std::pair<std::uint64_t, std::uint64_t> expected{};
    for (const auto& x : tab.seen->histories.back().messages) {
      const auto is = [&](inbox_mark one) { return x.states[static_cast<std::size_t>(one)].has_value(); };
      if (is(inbox_mark::read) || is(inbox_mark::archived)) continue;
      ++expected.first;
      expected.second += is(inbox_mark::seen) ? 0U : 1U;
    }
    for (const auto* x : tabs) ASSERT_EQ(told(*x), expected) << "step " << step;
  }
}

}  // namespace
}  // namespace doorstep::test
