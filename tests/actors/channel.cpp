// SPDX-License-Identifier: Apache-2.0
// Channels from publish to receipt: who reads which, acks that concern several owners, a failing channel, rest, drain, rules and tokens that change.
#include "actors/memberships.hpp"
#include "tests/actors/channel_fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST_F(channel_test, one_stored_message_goes_to_all_who_are_there_and_each_acks_for_itself) {
  for (int i = 0; i < 50; ++i) come("u" + std::to_string(i));
  const auto before = log_.end_offset(shard_id{0});
  send("everybody", "1");
  EXPECT_EQ(log_.end_offset(shard_id{0}), before + 1);
  for (const auto& x : clients_) EXPECT_THAT(x.seen->events(), ElementsAre("1"));
  const auto seq = clients_[0].seen->pushes[0].what->seq;
  ack(clients_[0], "all", seq);
  ASSERT_EQ(clients_[0].seen->receipts.size(), 1U);
  EXPECT_EQ(clients_[0].seen->receipts[0].id, 5U);
  EXPECT_EQ(clients_[0].seen->receipts[0].up_to, (seq_by_address{{address::all(), seq}}));
  EXPECT_EQ(record("all", "u0").acked.floor(), seq);
  EXPECT_LT(record("all", "u1").acked.floor(), seq);
  EXPECT_EQ(counts_.channel_pushed.value(), 50);
  pass(milliseconds{1000});
  pass(milliseconds{100});
  EXPECT_EQ(clients_[0].seen->pushes.size(), 1U);
  EXPECT_EQ(clients_[1].seen->pushes.size(), 2U);
}

TEST_F(channel_test, a_role_sees_its_own_rendering_and_nobody_without_the_role_any) {
  auto &admin = come("ann", {"admin"}), &viewer = come("vic", {"viewer"}), &buyer = come("bob"), &nobody = come("ned");
  EXPECT_THAT(addresses(admin), ElementsAre("user:ann", "role:admin", "all"));
  send("sold", "1");
  ASSERT_THAT(admin.seen->events(), ElementsAre("1"));
  EXPECT_EQ(admin.seen->pushes[0].what->what->data, R"({"price":7})");
  ASSERT_THAT(viewer.seen->events(), ElementsAre("1"));
  EXPECT_EQ(viewer.seen->pushes[0].what->what->data, "");
  EXPECT_THAT(buyer.seen->events(), ElementsAre("1"));
  EXPECT_THAT(nobody.seen->events(), IsEmpty());
}

TEST_F(channel_test, who_comes_back_gets_what_was_sent_meanwhile_and_a_first_time_reader_does_not) {
  disconnect(come("ann", {"admin"}));
  send("sold", "1");
  auto &ann = come("ann", {"admin"}), &new_one = come("nic", {"admin"});
  ASSERT_THAT(ann.seen->events(), ElementsAre("1"));
  EXPECT_FALSE(ann.seen->pushes[0].redelivered);
  EXPECT_THAT(new_one.seen->events(), IsEmpty());
}

TEST_F(channel_test, ids_of_several_owners_in_one_ack_get_one_receipt_once_all_is_durable) {
  auto& ann = come("bob", {"admin"});
  send("sold", "1");
  send("everybody", "2");
  ASSERT_EQ(ann.seen->pushes.size(), 3U);
  std::vector<std::string> ids;
  for (const auto& x : ann.seen->pushes) ids.push_back(x.what->id);
  ids.emplace_back("nobodys");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  ack_ids(ann, ids);
  pass(milliseconds{300});
  EXPECT_THAT(ann.seen->receipts, IsEmpty());
  store_.fail_with(std::nullopt);
  pass(milliseconds{600});
  pass(milliseconds{600});
  ASSERT_EQ(ann.seen->receipts.size(), 1U);
  EXPECT_EQ(ann.seen->receipts[0].id, 5U);
  EXPECT_THAT(ann.seen->receipts[0].ids, UnorderedElementsAre(ids[0], ids[1], ids[2], ids[3]));
  pass(milliseconds{5000});
  EXPECT_EQ(ann.seen->pushes.size(), 3U);
}

TEST_F(channel_test, acks_without_a_request_id_are_gathered_into_few_writes) {
  auto& ann = come("ann");
  const auto version = record("all", "ann").version;
  for (int i = 0; i < 5; ++i) {
    send("everybody", std::to_string(i));
    ack(ann, "all", ann.seen->pushes.back().what->seq, {}, 0);
  }
  EXPECT_EQ(record("all", "ann").version, version);
  pass(options_.delivery.ack_linger);
  EXPECT_EQ(record("all", "ann").version, version + 1);
  EXPECT_EQ(record("all", "ann").acked.floor(), ann.seen->pushes.back().what->seq);
}

TEST_F(channel_test, an_address_that_is_not_the_sessions_is_refused_counted_and_changes_nothing) {
  auto &ann = come("ann", {"admin"}), &vic = come("vic", {"viewer"});
  send("sold", "1");
  const auto seq = ann.seen->pushes[0].what->seq;
  for (const auto* to : {"role:admin", "user:ann"}) ack(vic, to, seq);
  say(vic, client::subscribe{6, address::parse("role:admin").value()});
  say(vic, client::history{7, address::parse("role:admin").value(), {}});
  ASSERT_EQ(vic.seen->errors.size(), 4U);
  for (const auto& x : vic.seen->errors) EXPECT_EQ(x.what.code, ec::forbidden);
  EXPECT_EQ(counts_.commands_forbidden.value(), 4);
  EXPECT_FALSE(record("role:admin", "ann").acked.is_acked(seq));
  EXPECT_EQ(record("role:admin", "vic").version, 0U);
}

TEST_F(channel_test, a_topic_is_joined_by_subscribe_where_that_is_allowed_and_left_again) {
  auto& ann = come("ann");
  say(ann, client::subscribe{3, address::parse("topic:secret").value()});
  ASSERT_EQ(ann.seen->errors.size(), 1U);
  say(ann, client::subscribe{4, address::parse("topic:news.eu").value()});
  ASSERT_EQ(ann.seen->joined.size(), 1U);
  EXPECT_EQ(ann.seen->joined[0].id, 4U);
  send("news", "1");
  EXPECT_THAT(ann.seen->events(), ElementsAre("1"));
  ack(ann, "topic:news.eu", ann.seen->pushes[0].what->seq);
  EXPECT_EQ(ann.seen->receipts.size(), 1U);
  say(ann, client::unsubscribe{5, address::parse("topic:news.eu").value()});
  send("news", "2");
  EXPECT_THAT(ann.seen->events(), ElementsAre("1"));
}

TEST_F(channel_test, an_ack_that_waits_for_a_channel_which_is_left_is_refused_and_not_forgotten) {
  auto& ann = come("ann", {"admin"});
  send("sold", "1");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  ack(ann, "role:admin", ann.seen->pushes[0].what->seq);
  EXPECT_THAT(ann.seen->errors, IsEmpty());
  ann.handler->refreshed(9, identity{"ann"});
  settle();
  ASSERT_EQ(ann.seen->errors.size(), 1U);
  EXPECT_EQ(ann.seen->errors[0].id, 5U);
  EXPECT_EQ(ann.seen->errors[0].what.code, ec::unavailable);
  store_.fail_with(std::nullopt);
}

TEST_F(channel_test, a_receipt_that_waits_when_the_mailbox_fails_is_sent_all_the_same) {
  auto& bob = come("bob");
  send("sold", "1");
  ASSERT_EQ(bob.seen->pushes.size(), 1U);
  ack(bob, "user:bob", bob.seen->pushes[0].what->seq, {}, 0);
  pass(options_.delivery.ack_linger);
  ASSERT_TRUE(store_.record_of(address::user("bob").value()).acked.is_acked(bob.seen->pushes[0].what->seq));
  ASSERT_THAT(bob.seen->receipts, IsEmpty()) << "it waits for a frame to ride on";
  // Without a message that would be pushed again, and take the receipt along.
  caf::anon_send_exit(boxes().at(0), caf::exit_reason::unhandled_exception);
  settle();
  ASSERT_EQ(counts_.actor_restarts.value(), 1);
  ASSERT_THAT(bob.seen->receipts, IsEmpty());
  pass(options_.delivery.receipt_delay);
  ASSERT_EQ(bob.seen->receipts.size(), 1U);
  EXPECT_EQ(bob.seen->receipts[0].up_to[0].first.text(), "user:bob");
}

TEST_F(channel_test, acks_that_a_failed_mailbox_was_to_answer_take_no_place_from_later_ones) {
  auto& bob = come("bob", {"admin"});
  send("sold", "1");
  ASSERT_EQ(bob.seen->pushes.size(), 2U);
  const auto& own = bob.seen->pushes[0].what->to.is_user() ? bob.seen->pushes[0] : bob.seen->pushes[1];
  const auto id = own.what->id;
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  for (request_id i = 0; i < memberships::acks_max; ++i) ack_ids(bob, {id}, 1000 + i);
  EXPECT_THAT(bob.seen->receipts, IsEmpty());
  ASSERT_THAT(bob.seen->errors, IsEmpty());
  ack_ids(bob, {id}, 7);
  ASSERT_EQ(bob.seen->errors.size(), 1U);
  EXPECT_EQ(bob.seen->errors[0].what.code, ec::queue_full);
  fail_mailbox_of(bob);
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 4; ++i) pass(milliseconds{500});
  ack_ids(bob, {id}, 8);
  pass(milliseconds{500});
  EXPECT_EQ(bob.seen->errors.size(), 1U) << "there is room again";
  ASSERT_FALSE(bob.seen->receipts.empty());
  EXPECT_EQ(bob.seen->receipts.back().id, 8U);
}

TEST_F(channel_test, while_the_store_is_away_a_session_is_greeted_without_the_channels_that_cannot_be_read) {
  come("ann");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  auto& second = come("ann", {"admin"});
  EXPECT_THAT(second.seen->connected, IsEmpty());
  pass(milliseconds{10'000});
  ASSERT_EQ(second.seen->connected.size(), 1U);
  EXPECT_THAT(addresses(second), ElementsAre("user:ann", "all"));
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 20; ++i) pass(milliseconds{500});
  ASSERT_EQ(second.seen->joined.size(), 1U);
  send("sold", "1");
  EXPECT_THAT(second.seen->events(), ElementsAre("1"));
}

TEST_F(channel_test, a_topic_that_the_token_names_may_be_subscribed_to_until_a_refresh_takes_it_away) {
  auto& ann = come("ann");
  identity who{"ann"};
  who.topics = {"secret.*"};
  const auto topic = address::parse("topic:secret.plan").value();
  say(ann, client::subscribe{3, topic});
  ASSERT_EQ(ann.seen->errors.size(), 1U) << "the token does not name it yet";
  ann.handler->refreshed(4, who);
  settle();
  say(ann, client::subscribe{5, topic});
  ASSERT_EQ(ann.seen->joined.size(), 1U);
  say(ann, client::subscribe{6, address::parse("role:admin").value()});
  say(ann, client::subscribe{7, address::parse("topic:other").value()});
  ASSERT_EQ(ann.seen->errors.size(), 3U);
  for (const auto& x : ann.seen->errors) EXPECT_EQ(x.what.code, ec::forbidden);
  say(ann, client::subscribe{8, address::parse("topic:news.eu").value()});
  ann.handler->refreshed(9, identity{"ann"});
  settle();
  ASSERT_EQ(ann.seen->left.size(), 1U);
  EXPECT_EQ(ann.seen->left[0].addresses, std::vector{topic}) << "what channels.topics allows stays";
  send("secret", "1");
  send("news", "2");
  EXPECT_THAT(ann.seen->events(), ElementsAre("2"));
}

TEST_F(channel_test, a_refreshed_token_with_other_roles_changes_what_is_read_at_once) {
  auto& ann = come("ann", {"admin"});
  identity other{"ann"};
  other.roles = {"viewer"};
  ann.handler->refreshed(8, other);
  settle();
  ASSERT_EQ(ann.seen->left.size(), 1U);
  EXPECT_EQ(ann.seen->left[0].addresses, std::vector{address::parse("role:admin").value()});
  ASSERT_EQ(ann.seen->joined.size(), 1U);
  send("sold", "1");
  ASSERT_EQ(ann.seen->pushes.size(), 1U);
  EXPECT_EQ(ann.seen->pushes[0].what->to.text(), "role:viewer");
}

TEST_F(channel_test, a_channel_that_fails_is_made_anew_and_its_readers_lose_nothing) {
  auto &ann = come("ann"), &ben = come("ben");
  ben.seen->poison = {"1"};
  send("everybody", "1");
  EXPECT_EQ(counts_.actor_restarts.value(), 1);
  ben.seen->poison = {};
  pass(milliseconds{50});
  ASSERT_FALSE(ben.seen->pushes.empty());
  EXPECT_TRUE(ben.seen->pushes[0].redelivered);
  ack(ben, "all", ben.seen->pushes.back().what->seq);
  EXPECT_EQ(ben.seen->receipts.size(), 1U);
  send("everybody", "2");
  EXPECT_EQ(ann.seen->events().back(), "2");
  EXPECT_FALSE(ann.seen->pushes.back().redelivered);
}

TEST_F(channel_test, a_channel_that_nobody_reads_leaves_memory_and_what_comes_later_is_not_flagged) {
  auto& ann = come("ann");
  send("everybody", "1");
  disconnect(ann);
  settle();
  pass(milliseconds{2'000});
  pass(milliseconds{6'000});
  EXPECT_THAT(channels(), IsEmpty());
  send("everybody", "2");
  auto& again = come("ann");
  ASSERT_THAT(again.seen->events(), ElementsAre("1", "2"));
  EXPECT_TRUE(again.seen->pushes[0].redelivered);
  EXPECT_FALSE(again.seen->pushes[1].redelivered);
}

TEST_F(channel_test, a_drain_saves_what_readers_acked) {
  auto& ann = come("ann");
  send("everybody", "1");
  const auto seq = ann.seen->pushes[0].what->seq;
  ack(ann, "all", seq, {}, 0);
  caf::anon_send(shards_[0], begin_drain{});
  settle();
  EXPECT_EQ(record("all", "ann").acked.floor(), seq);
  EXPECT_THAT(channels(), IsEmpty());
}

TEST_F(channel_test, history_of_a_channel_tells_the_states_of_who_asks) {
  auto& ann = come("ann");
  send("everybody", "1");
  send("everybody", "2");
  ack(ann, "all", ann.seen->pushes[0].what->seq);
  say(ann, client::history{7, address::all(), {}});
  ASSERT_EQ(ann.seen->histories.size(), 1U);
  const auto& page = ann.seen->histories[0].messages;
  ASSERT_EQ(page.size(), 2U);
  EXPECT_TRUE(page[0].states[static_cast<std::size_t>(inbox_mark::delivered)]);
  EXPECT_FALSE(page[1].states[static_cast<std::size_t>(inbox_mark::delivered)]);
}

TEST_F(channel_test, marks_of_a_channel_are_the_users_own_durable_and_seen_in_its_history) {
  auto &ann = come("ann"), &ben = come("ben");
  for (const auto* id : {"1", "2", "3"}) send("everybody", id);
  const auto seq = [&](std::size_t i) { return ann.seen->pushes[i].what->seq; };
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  say(ann, client::mark{5, inbox_mark::read, true, {{address::all(), seq(1)}}, {}, false});
  say(ann, client::mark{6, inbox_mark::archived, true, {}, {{address::all(), {seq(2)}}}, false});
  EXPECT_THAT(ann.seen->done, IsEmpty());
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 4; ++i) pass(milliseconds{500});
  EXPECT_THAT(ann.seen->done, ElementsAre(5U, 6U));
  const auto states = [&](client_device& x) {
    say(x, client::history{7, address::all(), {}});
    std::vector<std::string> out;
    for (const auto& one : x.seen->histories.back().messages) {
      out.emplace_back();
      for (const auto mark : {inbox_mark::read, inbox_mark::archived})
        out.back() += one.states[static_cast<std::size_t>(mark)] ? std::string(name(mark)) : "";
    }
    return out;
  };
  EXPECT_THAT(states(ann), ElementsAre("read", "read", "archived"));
  EXPECT_THAT(states(ben), ElementsAre("", "", ""));
  say(ann, client::mark{8, inbox_mark::read, false, {}, {{address::all(), {seq(0)}}}, false});
  EXPECT_THAT(states(ann), ElementsAre("", "read", "archived"));
  say(ann, client::mark{10, inbox_mark::read, true, {{address::parse("role:admin").value(), seq(1)}}, {}, false});
  ASSERT_EQ(ann.seen->errors.size(), 1U);
  EXPECT_EQ(ann.seen->errors[0].what.code, ec::forbidden);
}

TEST_F(channel_test, the_inbox_is_one_list_over_mailbox_and_channels_by_the_time_of_the_append) {
  auto& ann = come("bob", {"admin"});
  send("everybody", "1");
  send("sold", "2");
  send("everybody", "3");
  client::history all{7, {}, {}, true};
  say(ann, all);
  const auto ids = [&] {
    std::vector<std::string> out;
    for (const auto& x : ann.seen->histories.back().messages) out.push_back(x.what->what->id + " " + std::string(x.what->to.text()));
    return out;
  };
  ASSERT_EQ(ann.seen->histories.size(), 1U);
  EXPECT_THAT(ids(), ElementsAre("1 all", "2 user:bob", "2 role:admin", "3 all"));
  EXPECT_FALSE(ann.seen->histories[0].more);
  all.what.limit = 2;
  say(ann, all);
  EXPECT_THAT(ids(), ElementsAre("1 all", "2 user:bob"));
  EXPECT_TRUE(ann.seen->histories[1].more);
  all.what.newest = true;
  say(ann, all);
  EXPECT_THAT(ids(), ElementsAre("2 role:admin", "3 all"));
}

TEST_F(channel_test, who_comes_while_the_log_of_a_former_life_is_still_read_is_sent_nothing_that_it_acked_there) {
  auto& ann = come("ann");
  for (const char* id : {"1", "2", "3", "4"}) send("everybody", id);
  ack(ann, "all", ann.seen->pushes[0].what->seq);
  ack_ids(ann, {ann.seen->pushes[2].what->id});
  const auto floor = record("all", "ann").acked.floor();
  ASSERT_EQ(floor, ann.seen->pushes[0].what->seq);
  ASSERT_TRUE(record("all", "ann").acked.is_acked(ann.seen->pushes[2].what->seq));
  disconnect(ann);
  // The shard dies with its position not stored, and another one reads its log from the beginning.
  for (const auto& who : channels()) caf::anon_send_exit(who, caf::exit_reason::kill);
  for (const auto& box : boxes()) caf::anon_send_exit(box, caf::exit_reason::kill);
  caf::anon_send_exit(shards_[0], caf::exit_reason::kill);
  settle();
  auto make_shard = &shard;
  shards_[0] = spawn_on(system_, nullptr, make_shard, &parts_, shard_birth{shard_id{0}, 0, writer_});
  caf::anon_send(shards_[0], alarm{});
  clients_.emplace_back();
  auto& again = clients_.back();
  open(again);
  again.handler->connected({}, identity{"ann"});
  while (sched().run() > 0 || store_.run()) {}
  settle();
  ASSERT_EQ(again.seen->connected.size(), 1U);
  EXPECT_EQ(again.seen->connected[0].addresses.back(), (std::pair{address::all(), floor}));
  EXPECT_THAT(again.seen->events(), ElementsAre("2", "4"));
  EXPECT_TRUE(again.seen->pushes[0].redelivered);
  EXPECT_GE(record("all", "ann").acked.floor(), floor);
}

class no_channels_test : public channel_test {
protected:
  no_channels_test() { rules_ = "[[routes]]\nto = \"user:bob\"\n"; }
};

TEST_F(no_channels_test, a_session_reads_no_channel_until_a_rule_names_one) {
  auto& ann = come("ann", {"admin"});
  EXPECT_THAT(addresses(ann), ElementsAre("user:ann"));
  EXPECT_THAT(channels(), IsEmpty());
  const auto table = table_of("[[routes]]\nto = \"role:admin\"\n");
  parts_.routes->announce(table);
  caf::anon_send(router_, use_routes{table});
  caf::anon_send(ann.actor, join_channels{});
  settle();
  ASSERT_EQ(ann.seen->joined.size(), 1U);
  send("x", "1");
  EXPECT_THAT(ann.seen->events(), ElementsAre("1"));
}

class channel_store_behind_test : public channel_test {
protected:
  channel_store_behind_test() : channel_test(false, {}) {}
};

TEST_F(channel_store_behind_test, a_reader_that_comes_while_the_store_lags_misses_nothing) {
  auto& ann = come("ann");
  send("everybody", "1");
  ack(ann, "all", ann.seen->pushes[0].what->seq);
  disconnect(ann);
  pass(milliseconds{6'000});
  pass(milliseconds{6'000});
  auto& ben = come("ben");
  store_.fail_with(failure{ec::unavailable, "away", {}});
  send("everybody", "2");
  EXPECT_THAT(ben.seen->events(), ElementsAre("2"));
  clients_.emplace_back();
  auto& again = clients_.back();
  open(again);
  again.handler->connected({}, identity{"ann"});
  settle();
  store_.fail_with(std::nullopt);
  for (int i = 0; i < 4; ++i) pass(milliseconds{1'000});
  EXPECT_EQ(again.seen->events().front(), "2");
}

class channel_judged_by_store_test : public channel_test {
protected:
  channel_judged_by_store_test() : channel_test(false, judged_by_reader()) {}
  static memory_log_options judged_by_reader() {
    memory_log_options x;
    x.judges = false;
    return x;
  }
};

TEST_F(channel_judged_by_store_test, a_channel_message_is_pushed_once_the_store_has_judged_it_and_a_duplicate_never) {
  auto& ann = come("ann");
  send("everybody", "1");
  send("everybody", "1");
  send("everybody", "2");
  EXPECT_THAT(ann.seen->events(), ElementsAre("1", "2"));
}

}  // namespace
}  // namespace doorstep::test
