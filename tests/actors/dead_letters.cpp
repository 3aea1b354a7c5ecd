// SPDX-License-Identifier: Apache-2.0
// Messages that are given up, and what an operator does with them, with a virtual clock.
#include "actors/dead_letters.hpp"

#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class dead_letters_test : public house_in_a_bottle {
protected:
  dead_letters_test() {
    options_.delivery.window = 4;
    options_.delivery.ack_timeout = milliseconds{1000};
    options_.delivery.retry_base = milliseconds{100};
    options_.delivery.retry_max = milliseconds{200};
    anchor_clock();
  }
  void nack(client_device& x, const std::string& id, std::string reason) {
    say(x, client::nack{0, {id_of(id)}, std::move(reason), {}});
    pass(milliseconds{200});
  }
  static std::string id_of(const std::string& id, const std::string& user = "alice") { return message_id("/test", id, address::user(user).value()); }
  cursor acked_by_alice() const { return store_.record_of(address::user("alice").value()).acked; }
  static dead_letter_filter only(const std::string& id) {
    dead_letter_filter x;
    x.ids = {id};
    return x;
  }
  /// The document, or the name of the failure.
  template <class F>
  std::string ask(F function, dead_letter_filter which) {
    std::string said = "never answered";
    function(parts_, std::move(which), [&](result<std::string> x) { said = x ? *x : std::string(name(x.error().code)); });
    settle();
    return said;
  }
};

TEST_F(dead_letters_test, a_message_nacked_too_often_becomes_a_dead_letter_in_the_batch_that_settles_it) {
  options_.delivery.max_attempts = 2;
  auto& phone = connect("alice");
  publish_to("alice", "1");
  publish_to("alice", "2");
  nack(phone, "1", "ugly");
  EXPECT_TRUE(store_.dead().empty());
  const auto writes = store_.writes();
  nack(phone, "1", "cannot render");
  ASSERT_EQ(store_.dead().size(), 1u);
  EXPECT_EQ(store_.writes(), writes + 1);
  const auto d = store_.dead()[0];
  EXPECT_EQ(d.id, id_of("1"));
  EXPECT_EQ(d.reason, dead_reason::nacked);
  EXPECT_EQ(d.detail, "cannot render");
  EXPECT_EQ(d.attempts, 2u);
  EXPECT_EQ(d.what->id, "1");
  EXPECT_TRUE(acked_by_alice().is_acked(d.seq));
  EXPECT_EQ(counts_.given_up_nacked.value(), 1);
  const auto pushes = phone.seen->pushes.size();
  pass(milliseconds{500});
  EXPECT_EQ(phone.seen->pushes.size(), pushes) << "never pushed again; the other one is not due yet";
}

TEST_F(dead_letters_test, a_dead_letter_names_the_record_it_came_from_and_the_filter_for_its_topic_finds_it) {
  options_.delivery.max_attempts = 1;
  auto& phone = connect("alice");
  const auto from = std::make_shared<const origin_partition>(origin_partition{"shop", 0, "orders", 3});
  log_entry x;
  x.to = address::user("alice").value();
  x.what = std::make_shared<const event>(made_event("1", "alice"));
  x.id = id_of("1");
  x.came_from = {from, 17, 17};
  x.appended = {1'000};
  log_.append({x}, admission::credited, [](const auto&) {});
  settle();
  nack(phone, "1", "no");
  publish_to("alice", "2");
  nack(phone, "2", "no");
  ASSERT_EQ(store_.dead().size(), 2u);
  const auto d = store_.dead()[0];
  EXPECT_EQ(d.source, "shop");
  EXPECT_EQ(d.topic, "orders");
  EXPECT_EQ(d.partition, 3);
  EXPECT_EQ(d.offset, 17);
  EXPECT_EQ(d.first, unix_ms{1'000});
  EXPECT_GT(d.last, d.first);
  EXPECT_EQ(d.attempts, 1u);
  dead_letter_filter by_topic;
  by_topic.topic = "orders";
  const auto found = ask(list_dead_letters, by_topic);
  EXPECT_THAT(found, HasSubstr(id_of("1")));
  EXPECT_THAT(found, HasSubstr(R"("topic":"orders","partition":3,"offset":17)"));
  EXPECT_THAT(found, testing::Not(HasSubstr(id_of("2"))));
}

TEST_F(dead_letters_test, while_the_store_cannot_write_it_is_neither_dead_nor_settled_and_then_both) {
  options_.delivery.max_attempts = 1;
  auto& phone = connect("alice");
  publish_to("alice", "1");
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  nack(phone, "1", "no");
  pass(milliseconds{3000});
  EXPECT_TRUE(store_.dead().empty());
  EXPECT_EQ(counts_.dead.value(), 0);
  EXPECT_FALSE(acked_by_alice().is_acked(phone.seen->pushes[0].what->seq));
  store_.fail_with(std::nullopt);
  pass(milliseconds{1000});
  EXPECT_EQ(store_.dead().size(), 1u);
  EXPECT_EQ(counts_.dead.value(), 1);
  EXPECT_TRUE(acked_by_alice().is_acked(phone.seen->pushes[0].what->seq));
}

TEST_F(dead_letters_test, work_in_progress_is_not_pushed_again) {
  auto& phone = connect("alice");
  publish_to("alice", "1");
  for (int i = 0; i < 5; ++i) {
    pass(milliseconds{900});
    say(phone, client::in_progress{0, {id_of("1")}});
  }
  EXPECT_EQ(phone.seen->pushes.size(), 1u);
}

TEST_F(dead_letters_test, in_strict_order_one_is_in_flight_and_a_retry_holds_up_the_next) {
  options_.delivery.order = "strict";
  auto& phone = connect("alice");
  publish_to("alice", "1");
  publish_to("alice", "2");
  EXPECT_EQ(phone.seen->connected[0].window, 1u);
  nack(phone, "1", "later");
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "1"));
  ack_up_to(phone, "alice", phone.seen->pushes[0].what->seq, 0);
  say(phone, client::ack{1, {}, {id_of("1")}});
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "1", "2"));
}

TEST_F(dead_letters_test, a_message_that_always_throws_is_found_out_and_its_neighbours_are_delivered) {
  options_.delivery.poison_attempts = 3;
  auto& phone = connect("alice");
  auto& other = connect("bob");
  phone.seen->poison = {"2"};
  for (const auto* id : {"1", "2", "3"}) publish_to("alice", id);
  publish_to("bob", "1");
  for (int i = 0; i < 20; ++i) {
    pass(milliseconds{100});
    if (phone.seen->pushes.empty()) continue;
    const auto& newest = phone.seen->pushes.back();
    say(phone, client::ack{0, {}, {newest.what->id}});
  }
  ASSERT_EQ(store_.dead().size(), 1u) << counts_.actor_restarts.value() << " restarts, pushed " << testing::PrintToString(phone.seen->events());
  EXPECT_EQ(store_.dead()[0].reason, dead_reason::poison);
  EXPECT_EQ(store_.dead()[0].what->id, "2");
  EXPECT_EQ(counts_.poisoned.value(), 1);
  EXPECT_EQ(phone.seen->events().back(), "3");
  EXPECT_FALSE(phone.seen->closed_with);
  EXPECT_THAT(other.seen->events(), testing::Each("1"));
  EXPECT_EQ(fatal_, "");
  pass(options_.delivery.mailbox_restart_window);
  for (const auto* id : {"4", "5"}) publish_to("alice", id);
  EXPECT_EQ(phone.seen->events().back(), "5") << "the window is open again";
}

TEST_F(dead_letters_test, a_requeued_message_comes_once_flagged_as_a_new_seq_however_often_it_is_asked_for) {
  options_.delivery.max_attempts = 1;
  auto& phone = connect("alice");
  publish_to("alice", "1");
  nack(phone, "1", "no");
  ASSERT_EQ(store_.dead().size(), 1u);
  EXPECT_THAT(ask(requeue_dead_letters, only(id_of("1"))), HasSubstr("\"requeued\":1"));
  EXPECT_THAT(ask(requeue_dead_letters, only(id_of("1"))), HasSubstr("\"already_requeued\":1"));
  ASSERT_THAT(phone.seen->events(), ElementsAre("1", "1"));
  const auto& again = phone.seen->pushes[1];
  EXPECT_TRUE(again.redelivered);
  EXPECT_EQ(again.attempt, 1u);
  EXPECT_EQ(again.what->id, id_of("1"));
  EXPECT_GT(again.what->seq, phone.seen->pushes[0].what->seq);
  EXPECT_TRUE(store_.dead()[0].requeued);
  // It dies again: one row, dead once more, and it can be taken back once more.
  nack(phone, "1", "still no");
  ASSERT_EQ(store_.dead().size(), 1u);
  EXPECT_FALSE(store_.dead()[0].requeued);
  EXPECT_EQ(store_.dead()[0].requeue, 1u);
  EXPECT_EQ(store_.dead()[0].detail, "still no");
  EXPECT_THAT(ask(requeue_dead_letters, only(id_of("1"))), HasSubstr("\"requeued\":1"));
  EXPECT_EQ(phone.seen->pushes.size(), 3u);
}

TEST_F(dead_letters_test, two_requeues_at_the_same_time_and_one_that_broke_off_after_the_append_make_one_message) {
  options_.delivery.max_attempts = 1;
  auto& phone = connect("alice");
  publish_to("alice", "1");
  nack(phone, "1", "no");
  int answers = 0;
  for (int i = 0; i < 2; ++i) requeue_dead_letters(parts_, only(id_of("1")), [&](const result<std::string>& x) { answers += x ? 1 : 0; });
  settle();
  EXPECT_EQ(answers, 2);
  EXPECT_THAT(phone.seen->events(), ElementsAre("1", "1"));
}

TEST_F(dead_letters_test, a_record_cannot_be_requeued_and_what_is_purged_is_gone) {
  dead_letter record;
  record.id = "t/0/5";
  record.topic = "t";
  record.offset = 5;
  store_batch batch;
  batch.dead.push_back(record);
  store_.write(std::move(batch), urgency::now, [](const result<void>&) {});
  settle();
  EXPECT_EQ(ask(requeue_dead_letters, only("t/0/5")), "unsupported");
  dead_letter_filter by_topic;
  by_topic.topic = "t";
  EXPECT_THAT(ask(requeue_dead_letters, by_topic), HasSubstr("\"not_requeueable\":1"));
  EXPECT_THAT(ask(list_dead_letters, by_topic), HasSubstr("t/0/5"));
  EXPECT_THAT(ask(purge_dead_letters, by_topic), HasSubstr("\"purged\":1"));
  EXPECT_TRUE(store_.dead().empty());
  EXPECT_EQ(ask(requeue_dead_letters, only("t/0/5")), "not-found");
}

TEST_F(dead_letters_test, a_record_is_routed_again_once_the_configuration_is_mended_and_until_then_it_says_why_not) {
  source_config shop;
  shop.name = "shop";
  shop.topics = {"orders"};
  shop.format = "json";
  shop.recipient_key = false;
  shop.recipient_pointer = "/customer";
  options_.sources = {shop};
  const auto from = std::make_shared<const origin_partition>(origin_partition{"shop", 2, "orders", 3});
  const auto take = [&](std::int64_t offset, std::string key, std::string value) {
    source_record record;
    record.offset = offset;
    record.key = key;
    record.value = value;
    const std::vector<header_view> headers{{"trace", "a b"}};
    record.headers = headers;
    record.timestamp = {1'000};
    record.own();
    route_records batch;
    batch.from = from;
    batch.floor = offset;
    batch.records = {record};
    caf::anon_send(router_, std::move(batch));
    settle();
  };
  auto& phone = connect("alice");
  take(17, "alice", R"({"customer": {"name": "alice"}})");
  take(18, "alice", "{" + std::string(70'000, ' '));
  take(19, "alice", "no JSON at all");
  ASSERT_EQ(store_.dead().size(), 3u);
  const auto ask_why = [&](const std::string& id) {
    std::string said;
    requeue_dead_letters(parts_, only(id),
                         [&](const result<std::string>& x) { said = x ? *x : std::string(name(x.error().code)) + ": " + x.error().detail; });
    settle();
    return said;
  };
  EXPECT_THAT(ask_why("orders/3/17@2"), HasSubstr("unsupported: it still cannot be understood"));
  EXPECT_THAT(ask_why("orders/3/18@2"), HasSubstr("unsupported: only the first 65536 of its 70001 bytes were kept"));
  EXPECT_FALSE(store_.dead()[0].requeued);

  options_.sources[0].recipient_pointer = "/customer/name";
  EXPECT_THAT(ask_why("orders/3/19@2"), HasSubstr("unsupported: it still cannot be understood"));
  EXPECT_THAT(ask_why("orders/3/17@2"), HasSubstr("\"requeued\":1"));
  EXPECT_THAT(ask_why("orders/3/17@2"), HasSubstr("\"already_requeued\":1"));
  EXPECT_THAT(phone.seen->events(), ElementsAre("orders/3/17"));
  EXPECT_TRUE(store_.dead()[0].requeued);
  EXPECT_EQ(store_.dead()[0].reason, dead_reason::malformed);
  dead_letter_filter all;
  all.topic = "orders";
  EXPECT_THAT(ask(requeue_dead_letters, all), HasSubstr("\"requeued\":0,\"already_requeued\":0,\"not_requeueable\":2"));

  options_.sources.clear();
  EXPECT_THAT(ask_why("orders/3/19@2"), HasSubstr("unsupported: its source shop is not configured any more"));
}

TEST_F(dead_letters_test, what_has_expired_while_the_user_was_away_is_a_dead_letter_when_the_user_comes) {
  options_.delivery.ttl = milliseconds{60'000};
  publish_to("alice", "1");
  sched().advance_time(milliseconds{61'000});
  auto& phone = connect("alice");
  EXPECT_TRUE(phone.seen->pushes.empty());
  ASSERT_EQ(store_.dead().size(), 1u);
  EXPECT_EQ(store_.dead()[0].reason, dead_reason::expired);
  EXPECT_EQ(counts_.expired.value(), 1);
}

TEST_F(dead_letters_test, of_a_full_mailbox_the_oldest_go_and_the_newest_are_delivered) {
  options_.delivery.mailbox_messages_max = 10;
  for (int i = 0; i < 100; ++i) publish_to("alice", std::to_string(i));
  auto& phone = connect("alice");
  EXPECT_THAT(phone.seen->events(), ElementsAre("90", "91", "92", "93"));
  EXPECT_EQ(store_.dead().size(), 90u);
  EXPECT_EQ(counts_.overflowed.value(), 90);
}

TEST_F(dead_letters_test, of_a_full_mailbox_that_rejects_the_newest_the_oldest_are_delivered) {
  options_.delivery.mailbox_messages_max = 10;
  options_.delivery.overflow = "reject_newest";
  for (int i = 0; i < 100; ++i) publish_to("alice", std::to_string(i));
  auto& phone = connect("alice");
  EXPECT_THAT(phone.seen->events(), ElementsAre("0", "1", "2", "3"));
  EXPECT_EQ(store_.dead().size(), 90u);
  EXPECT_EQ(store_.dead()[0].reason, dead_reason::overflow);
  EXPECT_EQ(counts_.overflowed.value(), 90);
}

}  // namespace
}  // namespace doorstep::test
