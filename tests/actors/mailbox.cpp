// SPDX-License-Identifier: Apache-2.0
// MAILBOX and SHARD with a virtual clock: delivery, retry, rest, death.
#include "actors/mailbox.hpp"
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;

class mailbox_test : public house_in_a_bottle {
protected:
  mailbox_test() {
    options_.delivery.window = 4;
    options_.delivery.ack_timeout = milliseconds{1000};
    options_.delivery.retry_base = milliseconds{100};
    options_.delivery.retry_max = milliseconds{200};
    options_.delivery.passivate_after = milliseconds{5000};
  }
};

TEST_F(mailbox_test, a_message_goes_to_the_session_and_its_ack_comes_back_as_a_receipt_once_it_is_stored) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ASSERT_THAT(phone.seen->events(), ElementsAre("1"));
  EXPECT_EQ(phone.seen->pushes[0].attempt, 1U);
  EXPECT_FALSE(phone.seen->pushes[0].redelivered);

  const auto seq = phone.seen->pushes[0].what->seq;
  ack_up_to(phone, "alice", seq, 7);
  ASSERT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_EQ(phone.seen->receipts[0].id, 7U);
  EXPECT_TRUE(store_.record_of(address::user("alice").value()).acked.is_acked(seq));
  EXPECT_EQ(counts_.acked.value(), 1);
}

TEST_F(mailbox_test, no_receipt_is_sent_while_the_store_cannot_write_and_one_is_once_it_can) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq, 7);
  pass(milliseconds{3000});
  EXPECT_TRUE(phone.seen->receipts.empty());
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
}

TEST_F(mailbox_test, an_unacked_message_is_sent_again_flagged_with_a_rising_attempt_until_the_ack) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  pass(milliseconds{999});
  EXPECT_EQ(phone.seen->pushes.size(), 1U);
  pass(milliseconds{1});
  pass(milliseconds{100});
  ASSERT_EQ(phone.seen->pushes.size(), 2U);
  EXPECT_EQ(phone.seen->pushes[1].attempt, 2U);
  EXPECT_TRUE(phone.seen->pushes[1].redelivered);
  EXPECT_EQ(phone.seen->pushes[1].what->seq, phone.seen->pushes[0].what->seq);
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  pass(milliseconds{10'000});
  EXPECT_EQ(phone.seen->pushes.size(), 2U);
}

TEST_F(mailbox_test, no_more_than_the_window_is_in_flight_and_the_rest_comes_in_order_as_acks_arrive) {
  auto& phone = connect("alice");
  for (int i = 0; i < 10; ++i) publish_to("alice", std::to_string(i));
  EXPECT_THAT(phone.seen->events(), ElementsAre("0", "1", "2", "3"));
  ack_up_to(phone, "alice", phone.seen->pushes[1].what->seq);
  EXPECT_THAT(phone.seen->events(), ElementsAre("0", "1", "2", "3", "4", "5"));
}

TEST_F(mailbox_test, what_came_while_nobody_was_there_waits_and_comes_in_order_unflagged_then_live) {
  for (int i = 0; i < 3; ++i) publish_to("alice", std::to_string(i));
  auto& phone = connect("alice");
  publish_to("alice", "3");
  EXPECT_THAT(phone.seen->events(), ElementsAre("0", "1", "2", "3"));
  for (const auto& x : phone.seen->pushes) EXPECT_FALSE(x.redelivered);
}

TEST_F(mailbox_test, a_second_device_gets_what_is_unacked_flagged_and_one_ack_serves_both) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  auto& laptop = connect("alice");
  ASSERT_THAT(laptop.seen->events(), ElementsAre("1"));
  EXPECT_TRUE(laptop.seen->pushes[0].redelivered);
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  pass(milliseconds{5000});
  EXPECT_EQ(phone.seen->pushes.size(), 1U);
  EXPECT_EQ(laptop.seen->pushes.size(), 1U);
}

TEST_F(mailbox_test, a_mailbox_nobody_uses_is_passivated_and_what_comes_later_is_not_flagged) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  disconnect(phone);
  EXPECT_EQ(boxes().size(), 1U);
  pass(milliseconds{5001});
  EXPECT_EQ(boxes().size(), 0U);
  EXPECT_EQ(counts_.mailboxes_passivated.value(), 1);
  EXPECT_FALSE(store_.record_of(address::user("alice").value()).horizon.open);

  publish_to("alice", "2");
  EXPECT_EQ(boxes().size(), 0U);  // nobody is there: the store has it
  auto& again = connect("alice");
  ASSERT_THAT(again.seen->events(), ElementsAre("2"));
  EXPECT_FALSE(again.seen->pushes[0].redelivered);
}

TEST_F(mailbox_test, a_mailbox_with_a_session_is_never_passivated) {
  connect("alice");
  pass(milliseconds{60'000});
  EXPECT_EQ(boxes().size(), 1U);
}

TEST_F(mailbox_test, a_mailbox_that_dies_is_rebuilt_and_its_sessions_lose_nothing) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ASSERT_EQ(boxes().size(), 1U);
  caf::anon_send_exit(boxes()[0], caf::exit_reason::kill);
  settle();
  publish_to("alice", "2");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  pass(milliseconds{100});
  ASSERT_THAT(phone.seen->events(), ElementsAre("1", "1")) << "one at a time, until it has proved itself";
  EXPECT_TRUE(phone.seen->pushes[1].redelivered);
  ack_up_to(phone, "alice", phone.seen->pushes[1].what->seq, 4);
  ASSERT_THAT(phone.seen->events(), ElementsAre("1", "1", "2"));
  EXPECT_FALSE(phone.seen->closed_with);
  EXPECT_EQ(phone.seen->connected.size(), 1U);
  EXPECT_EQ(counts_.actor_restarts.value(), 1);
  ack_up_to(phone, "alice", phone.seen->pushes[2].what->seq, 5);
  EXPECT_EQ(phone.seen->receipts.size(), 2U);
}

TEST_F(mailbox_test, a_mailbox_that_dies_again_and_again_is_given_up_without_harm_to_others) {
  options_.delivery.mailbox_restarts_max = 3;
  auto& phone = connect("alice");
  auto& other = connect("bob");
  for (int i = 0; i < 3; ++i) {
    for (auto& box : boxes()) {
      auto* self = dynamic_cast<mailbox_self*>(caf::actor_cast<caf::abstract_actor*>(box));
      if (self->state.birth.user.id() == "alice") caf::anon_send_exit(box, caf::exit_reason::kill);
    }
    settle();
    pass(milliseconds{100});
  }
  EXPECT_EQ(phone.seen->closed_with, close_code::internal_error);
  publish_to("bob", "1");
  EXPECT_THAT(other.seen->events(), ElementsAre("1"));
  EXPECT_EQ(fatal_, "");
}

TEST_F(mailbox_test, draining_closes_the_horizon_so_that_what_was_never_pushed_is_not_flagged_later) {
  auto& phone = connect("alice");
  for (int i = 0; i < 6; ++i) publish_to("alice", std::to_string(i));
  bool done = false;
  // With an argument: for a function without one CAF 0.17.6 dereferences a null tuple, which the sanitizer reports.
  auto asker = system_.spawn([&](caf::event_based_actor* self,
                                 const node_actor& who) { self->request(who, caf::infinite, drain{}).then([&](const drained&) { done = true; }); },
                             node_);
  settle();
  EXPECT_TRUE(done);
  EXPECT_EQ(boxes().size(), 0U);
  const auto record = store_.record_of(address::user("alice").value());
  EXPECT_FALSE(record.horizon.open);
  EXPECT_EQ(record.horizon.upto, phone.seen->pushes.back().what->seq);
  pass(milliseconds{100});
  EXPECT_EQ(phone.seen->closed_with, close_code::going_away);
}

TEST_F(mailbox_test, a_mailbox_that_offers_to_go_as_the_drain_begins_does_not_hold_it_up) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  disconnect(phone);
  sched().advance_time(options_.delivery.passivate_after);
  sched().run();  // its horizon is about to be closed
  store_.run();   // and that is durable: the answer is on its way, and with it the offer
  bool done = false;
  auto listener = system_.spawn([&](caf::event_based_actor*, int) -> caf::behavior { return {[&](const drained&) { done = true; }}; }, 0);
  caf::anon_send(shards_[0], begin_drain{caf::actor_cast<caf::strong_actor_ptr>(listener)});
  settle();
  EXPECT_EQ(boxes().size(), 0U);
  EXPECT_TRUE(done);
}

TEST_F(mailbox_test, acks_for_somebody_elses_address_are_refused_and_change_nothing) {
  auto& mallory = connect("mallory");
  publish_to("alice", "1");
  ack_up_to(mallory, "alice", sequence{1000});
  ASSERT_EQ(mallory.seen->errors.size(), 1U);
  EXPECT_EQ(mallory.seen->errors[0].what.code, ec::forbidden);
  EXPECT_EQ(counts_.commands_forbidden.value(), 1);
  auto& phone = connect("alice");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
}

TEST_F(mailbox_test, what_is_said_before_the_mailbox_is_loaded_is_heard_after) {
  publish_to("alice", "1");
  const auto id = message_id("/test", "1", address::user("alice").value());
  clients_.emplace_back();
  auto& phone = clients_.back();
  open(phone);
  phone.handler->connected({}, identity{"alice", {}});
  phone.handler->commands({client::ack{3, {}, {id}}});
  settle();
  ASSERT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_THAT(phone.seen->receipts[0].ids, ElementsAre(id));
}

TEST_F(mailbox_test, a_receipt_nobody_waits_for_rides_on_the_next_push) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq, 0);
  pass(options_.delivery.ack_linger);
  EXPECT_TRUE(phone.seen->receipts.empty());
  publish_to("alice", "2");
  EXPECT_EQ(phone.seen->receipts.size(), 1U);
  ack_up_to(phone, "alice", phone.seen->pushes[1].what->seq, 0);
  pass(options_.delivery.ack_linger);
  pass(options_.delivery.receipt_delay);
  EXPECT_EQ(phone.seen->receipts.size(), 2U);
}

TEST_F(mailbox_test, acks_nobody_waits_for_are_written_together_and_one_with_an_id_at_once) {
  auto& phone = connect("alice");
  const auto before = versions();
  for (const auto* id : {"1", "2", "3"}) {
    publish_to("alice", id);
    ack_up_to(phone, "alice", phone.seen->pushes.back().what->seq, 0);
  }
  EXPECT_EQ(versions(), before);
  pass(options_.delivery.ack_linger);
  EXPECT_EQ(versions(), before + 1);
  publish_to("alice", "4");
  ack_up_to(phone, "alice", phone.seen->pushes.back().what->seq, 9);
  EXPECT_EQ(versions(), before + 2);
}

TEST_F(mailbox_test, what_was_acked_is_written_when_the_last_session_leaves) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  const auto before = versions();
  ack_up_to(phone, "alice", phone.seen->pushes.back().what->seq, 0);
  EXPECT_EQ(versions(), before);
  disconnect(phone);
  EXPECT_GT(versions(), before);
}

TEST_F(mailbox_test, unread_counts_follow_messages_and_reading) {
  client::connect request;
  request.counts = true;
  auto& phone = connect("alice", request);
  publish_to("alice", "1");
  publish_to("alice", "2");
  ASSERT_FALSE(phone.seen->unread.empty());
  EXPECT_EQ(phone.seen->unread.back(), 2U);
  say(phone, client::mark{4, inbox_mark::read, true, {{address::user("alice").value(), phone.seen->pushes[0].what->seq}}, {}});
  EXPECT_EQ(phone.seen->unread.back(), 1U);
  say(phone, client::mark{5, inbox_mark::read, true, {{address::user("alice").value(), phone.seen->pushes[1].what->seq}}, {}});
  EXPECT_EQ(phone.seen->unread.back(), 0U);
}

}  // namespace
}  // namespace doorstep::test
