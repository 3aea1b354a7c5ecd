// SPDX-License-Identifier: Apache-2.0
// A cursor for each device of a user (delivery.ack_scope = "device"), with a virtual clock.
#include "runtime/devices.hpp"
#include "actors/mailbox.hpp"
#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

#include <chrono>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

class devices_test : public house_in_a_bottle {
protected:
  explicit devices_test(bool store_shares_log = true) : house_in_a_bottle(store_shares_log) {
    options_.delivery.ack_scope = "device";
    options_.delivery.window = 8;
    options_.delivery.ack_timeout = milliseconds{60'000};
    options_.delivery.passivate_after = milliseconds{5000};
    options_.delivery.device_ttl = 24h;
    options_.delivery.expiry_interval = milliseconds{60'000};
    anchor_clock();
  }
  static address alice() { return address::user("alice").value(); }
  static address box(const std::string& device) { return device_box(alice(), device); }
  client_device& connect_as(const std::string& device, bool counts = false) {
    client::connect request;
    request.device = device;
    request.counts = counts;
    return connect("alice", std::move(request));
  }
  void ack_all(client_device& x) { ack_up_to(x, "alice", x.seen->pushes.back().what->seq); }
  std::vector<std::string> devices() const {
    std::vector<std::string> out;
    for (const auto& x : store_.devices_of(alice())) out.emplace_back(device_of(x.user).value());
    return out;
  }
  static std::vector<bool> flags(const client_device& x) {
    std::vector<bool> out;
    for (const auto& p : x.seen->pushes) out.push_back(p.redelivered);
    return out;
  }
  mailbox_actor box_named(const address& name) {
    for (auto& x : boxes())
      if (dynamic_cast<mailbox_self*>(caf::actor_cast<caf::abstract_actor*>(x))->state.birth.box == name) return x;
    throw std::runtime_error("no such mailbox");
  }
  void kill(const address& name) {
    caf::anon_send_exit(box_named(name), caf::exit_reason::kill);
    settle();
  }
  /// Until nobody who is not needed is in memory: the user's own mailbox goes after those of the devices.
  void rest() {
    for (int i = 0; i < 4; ++i) pass(options_.delivery.passivate_after + milliseconds{1});
  }
  void hours_later(int count) {
    for (int i = 0; i < count * 6; ++i) pass(milliseconds{10min});
  }
};

class devices_beside_a_store_test : public devices_test {
protected:
  devices_beside_a_store_test() : devices_test(false) {}
};

TEST_F(devices_test, every_device_has_to_ack_each_message_and_no_ack_serves_another) {
  auto& phone = connect_as("phone");
  auto& laptop = connect_as("laptop");
  publish_to("alice", "1");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  EXPECT_THAT(laptop.seen->events(), ElementsAre("1"));
  EXPECT_FALSE(laptop.seen->pushes[0].redelivered);
  ack_all(phone);
  ASSERT_EQ(phone.seen->receipts.size(), 1U);
  EXPECT_THAT(laptop.seen->receipts, IsEmpty()) << "what another device acked is its own affair";
  for (int i = 0; i < 10; ++i) pass(milliseconds{10'000});
  EXPECT_EQ(phone.seen->pushes.size(), 1U);
  ASSERT_GT(laptop.seen->pushes.size(), 1U);
  EXPECT_TRUE(laptop.seen->pushes.back().redelivered);
  ack_all(laptop);
  EXPECT_EQ(store_.record_of(box("phone")).acked.floor(), store_.record_of(box("laptop")).acked.floor());
  EXPECT_EQ(store_.record_of(alice()).version, 0U);
}

TEST_F(devices_test, a_device_is_greeted_when_the_store_knows_it_and_not_before) {
  clients_.emplace_back();
  auto& phone = clients_.back();
  open(phone);
  client::connect request;
  request.device = "phone";
  phone.handler->connected(request, identity{"alice", {}});
  publish_to("alice", "1");
  EXPECT_THAT(devices(), ElementsAre("phone"));
  EXPECT_EQ(phone.seen->connected.size(), 1U);
  EXPECT_EQ(counts_.devices_registered.value(), 1);

  clients_.emplace_back();
  auto& laptop = clients_.back();
  open(laptop);
  request.device = "laptop";
  laptop.handler->connected(request, identity{"alice", {}});
  sched().run();
  store_.run();  // both mailboxes are loaded
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  settle();
  EXPECT_THAT(laptop.seen->connected, IsEmpty());
  publish_to("alice", "2");
  EXPECT_THAT(laptop.seen->events(), IsEmpty());
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2"));
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_EQ(laptop.seen->connected.size(), 1U);
  EXPECT_THAT(laptop.seen->events(), ElementsAre("2"));
  EXPECT_THAT(devices(), ElementsAre("laptop", "phone"));
}

TEST_F(devices_test, the_first_device_gets_what_came_before_it_and_a_later_one_begins_where_it_comes) {
  publish_to("alice", "1");
  auto& phone = connect_as("phone");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  EXPECT_THAT(flags(phone), ElementsAre(false));
  auto& laptop = connect_as("laptop");
  EXPECT_THAT(laptop.seen->events(), IsEmpty());
  EXPECT_EQ(laptop.seen->connected[0].addresses[0].second, phone.seen->pushes[0].what->seq);
  publish_to("alice", "2");
  EXPECT_THAT(laptop.seen->events(), ElementsAre("2"));
  disconnect(laptop);
  disconnect(phone);
  pass(milliseconds{6000});
  publish_to("alice", "3");
  EXPECT_THAT(connect_as("laptop").seen->events(), ElementsAre("2", "3"));
  EXPECT_THAT(connect_as("phone").seen->events(), ElementsAre("1", "2", "3"));
}

TEST_F(devices_test, tabs_of_one_device_share_a_cursor_and_so_do_clients_that_do_not_say_which_they_are) {
  auto& one = connect_as("");
  auto& two = connect("alice");
  auto& phone = connect_as("phone");
  publish_to("alice", "1");
  ack_all(one);
  pass(options_.delivery.receipt_delay);
  ASSERT_EQ(two.seen->receipts.size(), 1U) << "told what the other tab acked";
  EXPECT_EQ(two.seen->receipts[0].ids.size(), 1U);
  EXPECT_THAT(phone.seen->receipts, IsEmpty());
  EXPECT_THAT(devices(), ElementsAre("", "phone"));
}

TEST_F(devices_test, a_device_name_with_a_control_character_is_refused) {
  auto& bad = connect_as(std::string("a\x1f") + "b");
  EXPECT_EQ(bad.seen->closed_with, close_code::protocol_error);
  EXPECT_THAT(devices(), IsEmpty());
  EXPECT_FALSE(connect_as("caf\xc3\xa9 \xf0\x9f\x98\x80").seen->closed_with);
}

TEST_F(devices_test, the_device_that_is_one_too_many_is_refused_until_one_is_forgotten_and_nobody_loses_anything) {
  options_.delivery.devices_max = 2;
  auto& phone = connect_as("phone");
  connect_as("laptop");
  auto& third = connect_as("tablet");
  EXPECT_EQ(third.seen->closed_with, close_code::too_many_devices);
  EXPECT_THAT(third.seen->connected, IsEmpty());
  EXPECT_EQ(counts_.devices_refused.value(), 1);
  EXPECT_THAT(devices(), ElementsAre("laptop", "phone"));
  EXPECT_EQ(boxes().size(), 3U) << "two devices, and the user's";
  publish_to("alice", "1");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1"));
  EXPECT_FALSE(connect_as("phone").seen->closed_with) << "it is there already";
  disconnect(phone);
  disconnect(clients_[1]);
  disconnect(clients_[3]);
  hours_later(30);
  EXPECT_FALSE(connect_as("tablet").seen->closed_with);
}

TEST_F(devices_test, what_the_person_does_on_one_device_is_seen_on_all) {
  auto& phone = connect_as("phone", true);
  auto& laptop = connect_as("laptop", true);
  for (const auto* id : {"1", "2", "3"}) publish_to("alice", id);
  EXPECT_EQ(phone.seen->unread.back(), 3U);
  EXPECT_EQ(laptop.seen->unread.back(), 3U);
  say(phone, client::mark{4, inbox_mark::read, true, {{alice(), phone.seen->pushes[0].what->seq}}, {}});
  EXPECT_THAT(phone.seen->done, ElementsAre(4U));
  EXPECT_EQ(phone.seen->unread.back(), 2U);
  EXPECT_EQ(laptop.seen->unread.back(), 2U);
  say(laptop, client::mark{5, inbox_mark::seen, true, {}, {}, true});
  EXPECT_EQ(phone.seen->unseen.back(), 0U);
  ack_all(phone);
  EXPECT_EQ(laptop.seen->unread.back(), 2U) << "an ack says nothing about reading";
  EXPECT_EQ(connect_as("tablet", true).seen->unread, std::vector<std::uint64_t>{2});
  EXPECT_EQ(store_.record_of(alice()).version, 0U) << "the user's own record is left alone";
  disconnect(phone);
  disconnect(laptop);
  disconnect(clients_[2]);
  rest();
  EXPECT_THAT(boxes(), IsEmpty());
  EXPECT_EQ(connect_as("phone", true).seen->unread.back(), 2U);
}

TEST_F(devices_test, history_says_delivered_when_one_of_the_devices_has_it) {
  auto& phone = connect_as("phone");
  auto& laptop = connect_as("laptop");
  publish_to("alice", "1");
  publish_to("alice", "2");
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  disconnect(phone);
  const auto is_delivered = [&](std::size_t i) {
    laptop.seen->histories.clear();
    say(laptop, client::history{9, alice(), {}});
    return laptop.seen->histories.at(0).messages.at(i).states[static_cast<std::size_t>(inbox_mark::delivered)].has_value();
  };
  pass(milliseconds{6000});
  EXPECT_TRUE(is_delivered(0));
  EXPECT_FALSE(is_delivered(1));
  ack_all(laptop);
  EXPECT_TRUE(is_delivered(1));
}

TEST_F(devices_test, a_mailbox_that_dies_is_rebuilt_whichever_it_is_and_nobody_misses_anything) {
  auto& phone = connect_as("phone", true);
  auto& laptop = connect_as("laptop", true);
  publish_to("alice", "1");
  ack_all(phone);
  ack_all(laptop);
  kill(alice());
  publish_to("alice", "2");
  pass(milliseconds{100});
  EXPECT_THAT(laptop.seen->events(), ElementsAre("1", "2"));
  EXPECT_THAT(flags(laptop), ElementsAre(false, false)) << "the mailbox of the device has not failed";
  EXPECT_EQ(laptop.seen->unread.back(), 2U);
  kill(box("phone"));
  publish_to("alice", "3");
  EXPECT_THAT(phone.seen->events().back(), "2");
  pass(milliseconds{100});
  EXPECT_THAT(phone.seen->events(), testing::Contains("2"));
  for (int i = 0; i < 3; ++i) ack_all(phone);
  ack_all(laptop);
  EXPECT_THAT(laptop.seen->events(), testing::IsSupersetOf({"1", "2", "3"}));
  EXPECT_THAT(phone.seen->events(), testing::IsSupersetOf({"1", "2", "3"}));
  EXPECT_EQ(laptop.seen->events().size(), 3U);
  EXPECT_EQ(phone.seen->unread.back(), 3U);
  EXPECT_EQ(laptop.seen->unread.back(), 3U);
  say(laptop, client::mark{5, inbox_mark::read, true, {}, {}, true});
  EXPECT_EQ(phone.seen->unread.back(), 0U);
  EXPECT_FALSE(phone.seen->closed_with || laptop.seen->closed_with);
  EXPECT_EQ(counts_.actor_restarts.value(), 2);
}

TEST_F(devices_test, the_flag_is_each_devices_own_over_a_rest_and_a_failure) {
  auto& phone = connect_as("phone");
  connect_as("laptop");
  disconnect(clients_[1]);
  publish_to("alice", "1");
  disconnect(phone);
  rest();
  EXPECT_THAT(boxes(), IsEmpty());
  EXPECT_THAT(flags(connect_as("laptop")), ElementsAre(false)) << "it never had it";
  EXPECT_THAT(flags(connect_as("phone")), ElementsAre(true));
}

TEST_F(devices_test, the_users_own_mailbox_stays_while_a_device_has_one_and_goes_after_it) {
  auto& phone = connect_as("phone");
  EXPECT_EQ(boxes().size(), 2U);
  pass(milliseconds{60'000});
  EXPECT_EQ(boxes().size(), 2U);
  disconnect(phone);
  rest();
  EXPECT_THAT(boxes(), IsEmpty());
  EXPECT_EQ(counts_.mailboxes.value(), 0);
}

TEST_F(devices_test, a_drain_ends_all_of_a_users_mailboxes_and_closes_each_devices_horizon) {
  auto& phone = connect_as("phone");
  connect_as("laptop");
  publish_to("alice", "1");
  bool done = false;
  auto asker = system_.spawn([&](caf::event_based_actor* self,
                                 const node_actor& who) { self->request(who, caf::infinite, drain{}).then([&](const drained&) { done = true; }); },
                             node_);
  settle();
  EXPECT_TRUE(done);
  EXPECT_THAT(boxes(), IsEmpty());
  for (const auto& x : store_.devices_of(alice())) EXPECT_EQ(x.horizon, (push_horizon{phone.seen->pushes[0].what->seq, false}));
  pass(milliseconds{100});
  EXPECT_EQ(phone.seen->closed_with, close_code::going_away);
}

TEST_F(devices_test, a_silent_device_is_forgotten_one_that_stays_connected_is_not) {
  auto& phone = connect_as("phone");
  connect_as("laptop");
  publish_to("alice", "1");
  ack_all(phone);
  disconnect(clients_[1]);
  hours_later(23);
  EXPECT_THAT(devices(), ElementsAre("laptop", "phone"));
  hours_later(3);
  EXPECT_THAT(devices(), ElementsAre("phone"));
  EXPECT_EQ(counts_.devices_forgotten.value(), 1);
  hours_later(48);
  EXPECT_THAT(devices(), ElementsAre("phone")) << "nothing came for it, but it is there";
  disconnect(phone);
  hours_later(23);
  EXPECT_THAT(devices(), ElementsAre("phone"));
}

TEST_F(devices_test, a_store_that_is_away_when_a_connected_device_is_to_be_noted_delays_that_and_nothing_spins) {
  connect_as("phone");
  const auto seen = store_.record_of(box("phone")).seen;
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  for (int i = 0; i < 12; ++i) pass(milliseconds{10min});
  EXPECT_EQ(store_.record_of(box("phone")).seen, seen);
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_GT(store_.record_of(box("phone")).seen, seen);
}

TEST_F(devices_test, when_the_last_device_is_forgotten_the_next_one_gets_what_it_had_not_acked) {
  auto& phone = connect_as("phone");
  publish_to("alice", "1");
  publish_to("alice", "2");
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq);
  disconnect(phone);
  hours_later(30);
  EXPECT_THAT(devices(), IsEmpty());
  publish_to("alice", "3");
  auto& tablet = connect_as("tablet");
  EXPECT_THAT(tablet.seen->events(), ElementsAre("2", "3"));
  EXPECT_THAT(flags(tablet), ElementsAre(true, false)) << "2 was pushed to a device of this user";
  ack_all(tablet);
  EXPECT_THAT(connect_as("phone").seen->events(), IsEmpty()) << "a new one now";
}

TEST_F(devices_test, a_message_that_one_device_acked_and_the_others_gave_up_is_one_dead_letter_and_comes_to_all_again) {
  options_.delivery.max_attempts = 1;
  auto& phone = connect_as("phone");
  auto& laptop = connect_as("laptop");
  auto& tablet = connect_as("tablet");
  publish_to("alice", "1");
  const auto id = phone.seen->pushes[0].what->id;
  ack_all(phone);
  say(laptop, client::nack{1, {id}, "cannot render", {}});
  say(tablet, client::nack{1, {id}, "no disk", {}});
  ASSERT_EQ(store_.dead().size(), 1U);
  EXPECT_EQ(store_.dead()[0].detail, "device laptop: cannot render");
  EXPECT_TRUE(store_.record_of(box("tablet")).acked.is_acked(phone.seen->pushes[0].what->seq));
  EXPECT_EQ(phone.seen->closed_with, std::nullopt);
  auto again = *phone.seen->pushes[0].what;
  log_entry entry;
  entry.to = again.to;
  entry.id = again.id;
  entry.what = again.what;
  entry.appended = wall_now();
  entry.requeue = 1;
  parts_.log.append({entry}, admission::credited, [](const result<std::vector<appended>>&) {});
  settle();
  for (const auto* x : {&phone, &laptop, &tablet}) {
    ASSERT_EQ(x->seen->pushes.size(), 2U);
    EXPECT_EQ(x->seen->pushes[1].what->id, id);
    EXPECT_TRUE(x->seen->pushes[1].redelivered);
  }
}

TEST_F(devices_test, what_is_past_its_time_is_given_up_for_each_device_there_or_not_and_is_unread_no_more) {
  auto& phone = connect_as("phone", true);
  disconnect(connect_as("laptop"));
  auto x = made_event("1", "alice");
  x.expires = {parts_.clock.time_at(sched().clock().now()).value + 30'000};
  ASSERT_TRUE(publish({x}));
  publish_to("alice", "2");
  EXPECT_EQ(phone.seen->unread.back(), 2U);
  pass(milliseconds{70'000});
  pass(milliseconds{70'000});
  ASSERT_EQ(store_.dead().size(), 1U);
  const auto seq = store_.dead()[0].seq;
  EXPECT_TRUE(store_.record_of(box("laptop")).acked.is_acked(seq));
  EXPECT_EQ(phone.seen->unread.back(), 1U);
  disconnect(phone);
  pass(milliseconds{70'000});
  pass(milliseconds{70'000});
  EXPECT_TRUE(store_.record_of(box("phone")).acked.is_acked(seq));
  EXPECT_EQ(store_.dead().size(), 1U);
}

TEST_F(devices_test, what_is_past_its_time_while_there_is_no_device_is_given_up_for_the_user) {
  auto x = made_event("1", "alice");
  x.expires = {parts_.clock.time_at(sched().clock().now()).value + 30'000};
  ASSERT_TRUE(publish({x}));
  publish_to("alice", "2");
  pass(milliseconds{70'000});
  pass(milliseconds{70'000});
  EXPECT_EQ(store_.dead().size(), 1U);
  EXPECT_THAT(boxes(), IsEmpty());
  EXPECT_THAT(connect_as("phone").seen->events(), ElementsAre("2"));
}

TEST_F(devices_test, the_look_names_no_device_that_is_not_loaded_and_reaches_each_that_is) {
  connect_as("phone");
  publish_to("alice", "1");
  std::string report;
  auto asker = system_.spawn(
      [&](caf::event_based_actor* self, const shard_actor& who) {
        self->request(who, caf::infinite, look_at_mailbox{box("phone")}).then([&](const mailbox_report& x) { report = x.json; });
      },
      shards_[0]);
  settle();
  EXPECT_NE(report.find(R"("in_flight":[{)"), std::string::npos) << report;
}

TEST_F(devices_beside_a_store_test, what_the_store_does_not_have_yet_reaches_a_device_that_comes_meanwhile) {
  auto& phone = connect_as("phone");
  publish_to("alice", "1");
  auto& laptop = connect_as("laptop");
  publish_to("alice", "2");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "2"));
  EXPECT_THAT(laptop.seen->events(), testing::Contains("2"));
  ack_all(phone);
  ack_all(laptop);
  EXPECT_TRUE(store_.record_of(box("laptop")).acked.is_acked(phone.seen->pushes[1].what->seq));
}

}  // namespace
}  // namespace doorstep::test
