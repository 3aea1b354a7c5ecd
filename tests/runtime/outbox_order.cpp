// SPDX-License-Identifier: Apache-2.0
// Messages with terms of their own: strict groups, the newest of a key, times and attempts (rules 17 and 18).
#include "tests/runtime/outbox_leaving.hpp"

namespace doorstep::test {
namespace {

using ordering = delivery_terms::ordering;

message_ptr with(std::uint64_t seq, delivery_terms terms) {
  auto x = std::make_shared<message>(*message_at(seq));
  x->terms = std::make_shared<const delivery_terms>(std::move(terms));
  return x;
}
message_ptr strict(std::uint64_t seq, std::string key) { return with(seq, {ordering::strict, std::move(key), {}, {}, 0}); }
message_ptr latest(std::uint64_t seq, std::string key) { return with(seq, {ordering::latest, std::move(key), {}, {}, 0}); }

class outbox_order : public outbox_giving_up {
protected:
  std::string deliver(const std::vector<message_ptr>& all) {
    out.clear();
    box.deliver(all, now, out);
    return text(out);
  }
  std::string page(stored_page x) { return outbox_test::page(std::move(x)); }
};

TEST_F(outbox_order, of_a_strict_group_one_is_in_flight_and_others_go_on_beside_it) {
  begin();
  EXPECT_EQ(deliver({strict(1, "a"), strict(2, "a"), strict(3, "b"), message_at(4)}), "0:1 0:3 0:4");
  EXPECT_EQ(ack_ids(0, {3}), "");
  EXPECT_EQ(box.floor(), sequence{0});
  EXPECT_EQ(ack_ids(0, {1}), "0:2");
  EXPECT_EQ(deliver({strict(5, "b"), strict(6, "a")}), "0:5");
  EXPECT_EQ(ack_ids(0, {2}), "0:6");
}

TEST_F(outbox_order, a_strict_group_waits_for_its_retry_and_goes_on_when_one_is_given_up) {
  begin();
  deliver({strict(1, "a"), strict(2, "a")});
  EXPECT_EQ(nack(0, {1}), "");
  EXPECT_EQ(pass(1s), "0:1!#2");
  EXPECT_EQ(nack(0, {1}), "0:2");
}

TEST_F(outbox_order, what_comes_below_one_that_was_sent_before_is_acked_by_id_only) {
  begin();
  deliver({strict(1, "a"), strict(2, "a"), message_at(3)});
  EXPECT_EQ(ack_ids(0, {1}), "0:2");
  ack_up_to(0, 3);  // may have been sent before 2 arrived
  EXPECT_EQ(box.in_flight_count(), 1u);
  EXPECT_FALSE(box.acked().is_acked({2}));
  ack_ids(0, {2});
  EXPECT_EQ(box.in_flight_count(), 0u);
  EXPECT_EQ(box.floor(), sequence{3});
}

TEST_F(outbox_order, a_session_that_comes_later_gets_them_in_order_and_may_ack_cumulatively) {
  begin();
  deliver({strict(1, "a"), strict(2, "a"), message_at(3)});
  ack_ids(0, {1});
  const auto late = attach();
  EXPECT_EQ(text(out), "1:2! 1:3!");
  ack_up_to(late, 3);
  EXPECT_EQ(box.in_flight_count(), 0u);
}

TEST_F(outbox_order, one_that_waits_for_its_group_keeps_the_floor_below_it) {
  begin();
  deliver({strict(1, "a"), strict(2, "a"), message_at(3)});
  ack_ids(0, {3});
  begin_save();
  EXPECT_EQ(written.acked.floor(), sequence{0});
  EXPECT_FALSE(written.acked.is_acked({2}));
  EXPECT_TRUE(written.acked.is_acked({3}));
}

TEST_F(outbox_order, strict_for_all_is_one_in_flight_but_for_those_that_say_otherwise) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .order = ordering::strict}, [this] { return random; });
  begin();
  EXPECT_EQ(deliver({message_at(1), message_at(2), with(3, {ordering::window, "", {}, {}, 0}), message_at(4)}), "0:1 0:3");
  EXPECT_EQ(ack_up_to(0, 1), "0:2");
  EXPECT_EQ(ack_ids(0, {2}), "0:4");
}

TEST_F(outbox_order, a_newer_message_of_a_key_takes_the_place_of_the_older_pushed_or_not) {
  begin();
  EXPECT_EQ(deliver({latest(1, "a"), latest(2, "b"), message_at(3), message_at(4), latest(5, "d"), latest(6, "d")}), "0:1 0:2 0:3 0:4");
  EXPECT_EQ(out.superseded, 1u);
  EXPECT_EQ(deliver({latest(7, "a")}), "0:6") << "1 went and made room, 5 had gone before it was pushed";
  EXPECT_EQ(ack_ids(0, {2}), "0:7");
}

TEST_F(outbox_order, what_was_superseded_is_settled_without_a_dead_letter_and_an_ack_of_it_is_a_repeat) {
  begin();
  deliver({latest(1, "a"), latest(2, "a")});
  EXPECT_EQ(out.superseded, 1u);
  EXPECT_EQ(box.in_flight_count(), 1u);
  EXPECT_EQ(box.owed_count(), 1u);
  begin_save();
  EXPECT_EQ(to_bury(), "");
  EXPECT_TRUE(written.acked.is_acked({1}));
  EXPECT_EQ(out.replaced, std::vector{sequence{1}}) << "its inbox says so";
  saved();
  ack_ids(0, {1}, 7);
  EXPECT_EQ(out.acked, 0u);
  EXPECT_EQ(out.receipts.size(), 1u);
}

TEST_F(outbox_order, without_a_key_type_and_subject_say_what_it_is_the_newest_of) {
  const auto of = [](std::uint64_t seq, std::string type, std::string subject) {
    auto what = std::make_shared<event>();
    what->type = std::move(type);
    what->subject = std::move(subject);
    auto x = std::make_shared<message>(*message_at(seq));
    x->what = std::move(what);
    return x;
  };
  box = outbox({.window = 8, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .order = ordering::latest}, [this] { return random; });
  begin();
  deliver({of(1, "price", "x"), of(2, "price", "y"), of(3, "news", "x"), of(4, "price", "x")});
  EXPECT_EQ(out.superseded, 1u);
  EXPECT_TRUE(box.acked().is_acked({1}));
  EXPECT_EQ(box.in_flight_count(), 3u);
}

TEST_F(outbox_order, what_was_taken_back_from_the_dead_letters_is_no_news) {
  begin();
  auto back = std::make_shared<message>(*latest(2, "a"));
  back->requeue = 1;
  deliver({latest(1, "a"), back});
  EXPECT_EQ(out.superseded, 0u);
  deliver({latest(3, "a")});
  EXPECT_EQ(out.superseded, 2u);
}

message_ptr latest_of(std::uint64_t seq, std::string key, std::size_t bytes) {
  auto what = std::make_shared<event>();
  what->data = std::string(bytes, 'x');
  auto x = std::make_shared<message>(*latest(seq, std::move(key)));
  x->what = std::move(what);
  return x;
}

TEST_F(outbox_order, in_a_full_mailbox_one_that_takes_the_place_of_an_older_is_not_rejected) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .messages_max = 2, .overflow = outbox_options::victim::newest},
               [this] { return random; });
  begin();
  EXPECT_EQ(deliver({latest(1, "a"), message_at(2)}), "0:1 0:2");
  EXPECT_EQ(deliver({latest(3, "a")}), "0:3");
  EXPECT_EQ(out.superseded, 1u);
  EXPECT_EQ(deliver({latest(4, "b")}), "");
  EXPECT_EQ(deliver({latest(5, "b")}), "") << "4 is not there to take the place of";
  begin_save();
  EXPECT_EQ(to_bury(), "4:overflow:0 5:overflow:0");
}

TEST_F(outbox_order, one_that_is_rejected_takes_nobodys_place) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .bytes_max = 100, .overflow = outbox_options::victim::newest},
               [this] { return random; });
  begin();
  EXPECT_EQ(deliver({latest_of(1, "a", 20), latest_of(2, "b", 50)}), "0:1 0:2");
  EXPECT_EQ(deliver({latest_of(3, "a", 60)}), "") << "too large even in the place of 1";
  EXPECT_EQ(out.superseded, 0u);
  EXPECT_EQ(box.in_flight_count(), 2u);
  EXPECT_EQ(deliver({latest_of(4, "a", 40)}), "0:4");
  EXPECT_EQ(out.superseded, 1u);
  begin_save();
  EXPECT_EQ(to_bury(), "3:overflow:0");
}

TEST_F(outbox_order, one_that_is_poison_takes_nobodys_place) {
  box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .poisoned = {{2}}}, [this] { return random; });
  begin();
  EXPECT_EQ(deliver({latest(1, "a"), latest(2, "a")}), "0:1");
  EXPECT_EQ(out.superseded, 0u);
  begin_save();
  EXPECT_EQ(to_bury(), "2:poison:0");
}

TEST_F(outbox_order, a_page_from_the_store_is_no_different) {
  load({{latest(1, "a"), latest(2, "a"), message_at(3)}, false, {3}});
  attach();
  EXPECT_EQ(save(), "0:2 0:3");
}

TEST_F(outbox_order, a_message_may_have_its_own_time_and_attempts) {
  begin();
  auto old = std::make_shared<message>(*with(1, {ordering::configured, "", 60s, {}, 0}));
  old->appended = {milliseconds{1h - 60s}.count()};
  EXPECT_EQ(deliver({old, with(2, {ordering::configured, "", {}, 1, 0}), with(3, {ordering::configured, "", {}, 0, 0})}), "0:2 0:3");
  for (int i = 0; i < 5; ++i) {
    pass(30s);
    pass(60s);
  }
  begin_save();
  EXPECT_EQ(to_bury(), "1:expired:0 2:max-attempts:1") << "3 is never given up";
}

}  // namespace
}  // namespace doorstep::test
