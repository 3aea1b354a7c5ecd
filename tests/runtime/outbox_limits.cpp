// SPDX-License-Identifier: Apache-2.0
// What gives way when more is owed than may be (rule 14).
#include "tests/runtime/outbox_leaving.hpp"

namespace doorstep::test {
namespace {

class outbox_limit : public outbox_giving_up {
protected:
  outbox_limit()
      : outbox_giving_up([] {
          auto x = impatient_options();
          x.messages_max = 3;
          return x;
        }()) {}
};

TEST_F(outbox_limit, beyond_it_the_oldest_go) {
  begin();
  EXPECT_EQ(deliver({1, 2, 3}), "0:1 0:2 0:3");
  deliver({4, 5});
  begin_save();
  EXPECT_EQ(to_bury(), "1:overflow:1 2:overflow:1");
  EXPECT_EQ(written.acked.floor(), sequence{2});
  EXPECT_EQ(box.owed_count(), 3u);
}

TEST_F(outbox_limit, what_came_while_nobody_was_there_is_trimmed_page_by_page_and_only_the_newest_are_pushed) {
  out.clear();
  box.load({{}, page_of({1, 2, 3, 4}, 9, true), 9, {9, 0}}, {}, now, out);
  ASSERT_TRUE(out.read);
  attach();
  save();
  ASSERT_FALSE(box.wants_save());
  EXPECT_EQ(page(page_of({5, 6, 7, 8, 9}, 9)), "0:7 0:8 0:9");
  EXPECT_EQ(box.owed_count(), 3u);
  begin_save();
  EXPECT_EQ(to_bury(), "5:overflow:0 6:overflow:0");
}

TEST_F(outbox_limit, acked_holes_do_not_count_as_owed) {
  cursor_record record;
  record.acked = cursor({0}, {{2}, {3}});
  out.clear();
  box.load({record, page_of({1, 2, 3, 4, 5}, 5), 5, {3, 0}}, {}, now, out);
  EXPECT_EQ(box.owed_count(), 3u);
  EXPECT_FALSE(box.wants_save());
}

message_ptr of_bytes(std::uint64_t seq, std::size_t bytes) {
  auto what = std::make_shared<event>();
  what->data = std::string(bytes, 'x');
  auto x = std::make_shared<message>(*message_at(seq));
  x->what = std::move(what);
  return x;
}

class outbox_bytes : public outbox_giving_up {
protected:
  outbox_bytes()
      : outbox_giving_up([] {
          auto x = impatient_options();
          x.bytes_max = 100;
          return x;
        }()) {}
  std::string deliver(const std::vector<message_ptr>& all) {
    out.clear();
    box.deliver(all, now, out);
    return text(out);
  }
};

TEST_F(outbox_bytes, beyond_them_the_oldest_go_until_the_rest_fits) {
  begin();
  EXPECT_EQ(deliver({of_bytes(1, 10), of_bytes(2, 40), of_bytes(3, 50)}), "0:1 0:2 0:3");
  EXPECT_EQ(box.owed_bytes(), 100u);
  deliver({of_bytes(4, 30)});
  begin_save();
  EXPECT_EQ(to_bury(), "1:overflow:1 2:overflow:1");
  EXPECT_EQ(box.owed_bytes(), 80u);
  EXPECT_EQ(box.owed_count(), 2u);
}

TEST_F(outbox_bytes, what_is_acked_gives_its_bytes_back) {
  begin();
  for (std::uint64_t seq = 1; seq < 50; ++seq) {
    deliver({of_bytes(seq, 60)});
    ack_ids(0, {seq});
  }
  EXPECT_EQ(box.owed_bytes(), 0u);
  begin_save();
  EXPECT_EQ(to_bury(), "");
}

TEST_F(outbox_bytes, one_that_is_too_large_alone_goes_itself) {
  begin();
  deliver({of_bytes(1, 101)});
  begin_save();
  EXPECT_EQ(to_bury(), "1:overflow:1");
}

TEST_F(outbox_bytes, the_store_says_what_is_owed_beyond_memory_and_it_is_read_to_be_trimmed) {
  out.clear();
  stored_page first{{of_bytes(1, 60), of_bytes(2, 60)}, true, {9}};
  box.load({{}, first, 4, {4, 240}, 4}, {}, now, out);
  ASSERT_TRUE(out.read);
  save();
  EXPECT_EQ(page({{of_bytes(3, 60), of_bytes(4, 60)}, false, {9}}), "");
  EXPECT_EQ(box.owed_count(), 1u);
  EXPECT_EQ(box.owed_bytes(), 60u);
}

message_ptr of_priority(std::uint64_t seq, std::uint8_t priority) {
  auto x = std::make_shared<message>(*message_at(seq));
  x->terms = std::make_shared<const delivery_terms>(delivery_terms{{}, {}, {}, {}, priority});
  return x;
}

TEST_F(outbox_limit, those_of_lower_priority_go_first_then_the_oldest) {
  begin();
  out.clear();
  box.deliver({of_priority(1, 5), of_priority(2, 0), of_priority(3, 1), of_priority(4, 0), message_at(5)}, now, out);
  begin_save();
  EXPECT_EQ(to_bury(), "2:overflow:1 4:overflow:1");
}

class outbox_reject : public outbox_giving_up {
protected:
  explicit outbox_reject(std::size_t holes_max = 100)
      : outbox_giving_up([&] {
          auto x = impatient_options();
          x.messages_max = 6;
          x.holes_max = holes_max;
          x.overflow = outbox_options::victim::newest;
          return x;
        }()) {}
};

TEST_F(outbox_reject, beyond_the_limit_what_comes_goes_and_what_is_owed_stays) {
  begin();
  EXPECT_EQ(deliver({10, 20, 30, 40, 50, 60, 70, 80, 90}), "0:10 0:20 0:30 0:40");
  begin_save();
  EXPECT_EQ(to_bury(), "70:overflow:0 80:overflow:0 90:overflow:0");
  EXPECT_EQ(written.acked.floor(), sequence{9});
  EXPECT_EQ(written.acked.above(), (std::vector<sequence_range>{{{60}, {90}}})) << "a run of them is one hole";
  saved();
  EXPECT_EQ(ack_ids(0, {10, 20}), "0:50 0:60");
  EXPECT_EQ(deliver({100}), "");
  EXPECT_EQ(box.owed_count(), 5u);
  EXPECT_EQ(ack_up_to(0, 60), "0:100");
}

TEST_F(outbox_reject, a_long_run_of_rejected_ones_stays_one_hole_while_the_backlog_is_in_the_store) {
  out.clear();
  box.load({{}, page_of({1, 2, 3, 4, 5, 6}, 6), 6, {6, 0}, 6}, {}, now, out);
  attach();
  save();
  for (std::uint64_t seq = 10; seq < 5'000; seq += 10) {
    deliver({seq});
    begin_save();
    ASSERT_LE(written.acked.above().size(), 1u);
    ASSERT_EQ(out.to_bury.size(), 1u);
    saved();
  }
  EXPECT_EQ(ack_up_to(0, 4), "0:5 0:6");
  ack_up_to(0, 6);
  EXPECT_EQ(box.owed_count(), 0u);
}

TEST_F(outbox_reject, what_came_while_nobody_looked_is_rejected_from_the_end) {
  out.clear();
  box.load({{}, page_of({1, 2}, 10, true), 10, {10, 0}, 10}, {}, now, out);
  ASSERT_TRUE(out.read_newest);
  EXPECT_EQ(out.read_newest->upto, sequence{10});
  out.clear();
  box.newest(messages({8, 9, 10}), now, out);
  ASSERT_TRUE(out.read_newest);
  EXPECT_EQ(out.read_newest->upto, sequence{7});
  out.clear();
  box.newest(messages({5, 6, 7}), now, out);
  EXPECT_FALSE(out.read_newest);
  begin_save();
  EXPECT_EQ(to_bury(), "10:overflow:0 9:overflow:0 8:overflow:0 7:overflow:0");
  EXPECT_EQ(written.acked.above(), (std::vector<sequence_range>{{{6}, {10}}}));
  EXPECT_EQ(box.owed_count(), 6u);
}

TEST_F(outbox_reject, one_of_higher_priority_takes_the_place_of_the_newest_below_it_that_was_not_pushed) {
  begin();
  deliver({1, 2, 3, 4, 5, 6});
  out.clear();
  box.deliver({of_priority(7, 3), of_priority(8, 0)}, now, out);
  begin_save();
  EXPECT_EQ(to_bury(), "6:overflow:0 8:overflow:0");
}

class outbox_reject_few_holes : public outbox_reject {
protected:
  outbox_reject_few_holes() : outbox_reject(3) {}
};

TEST_F(outbox_reject_few_holes, the_record_stays_bounded_however_often_there_is_room_again) {
  begin();
  deliver({10, 20, 30, 40, 50, 60});
  std::size_t rejected = 0;
  for (std::uint64_t seq = 70; seq < 1'000; seq += 20) {
    deliver({seq, seq + 10});
    ack_ids(0, {20});
    if (box.in_flight_count() > 1) ack_ids(0, {box.in_flight().back().what->seq.value});
    begin_save();
    rejected += out.to_bury.size();
    ASSERT_LE(written.acked.above().size(), 8u);
    saved();
  }
  EXPECT_GT(rejected, 10u);
}

}  // namespace
}  // namespace doorstep::test
