// SPDX-License-Identifier: Apache-2.0
// Names and records of devices that have cursors of their own.
#include "runtime/devices.hpp"

#include <gtest/gtest.h>

#include <random>

namespace doorstep::test {
namespace {

address alice() { return address::user("alice").value(); }

cursor_record record(const address& box, std::uint64_t version, cursor acked, push_horizon horizon = {}, std::int64_t seen = 1) {
  cursor_record out;
  out.user = box;
  out.version = version;
  out.acked = std::move(acked);
  out.horizon = horizon;
  out.seen = {seen};
  return out;
}

TEST(devices, a_box_names_its_user_and_its_device_and_no_address_is_one) {
  const auto box = device_box(alice(), "phone-1");
  EXPECT_EQ(user_of(box), alice());
  EXPECT_EQ(device_of(box), "phone-1");
  EXPECT_EQ(device_of(device_box(alice(), "")), "");
  EXPECT_EQ(device_of(alice()), std::nullopt);
  EXPECT_EQ(user_of(alice()), alice());
  EXPECT_NE(box, device_box(address::user("alice2").value(), "phone-1"));
  EXPECT_FALSE(address::parse(box.text()));
  EXPECT_EQ(readable(box), "user:alice device phone-1");
  EXPECT_EQ(readable(alice()), "user:alice");
}

TEST(devices, the_first_one_begins_where_the_user_is_and_a_later_one_with_what_comes) {
  auto base = record(alice(), 7, cursor({10}, {{12}}), {{20}, true}, 0);
  base.read_upto = {3};
  auto there = record(device_box(alice(), "a"), 4, {}, {}, 0);
  const auto first = start_of_device(there, base, false, {50});
  EXPECT_EQ(first.user, there.user);
  EXPECT_EQ(first.version, 4u) << "its own document's, so that what is written next is newer";
  EXPECT_EQ(first.acked, base.acked);
  EXPECT_EQ(first.horizon, base.horizon);
  EXPECT_EQ(first.since, sequence{10});
  EXPECT_FALSE(is_registered(first));
  const auto second = start_of_device(there, base, true, {50});
  EXPECT_EQ(second.acked, cursor({50}, {}));
  EXPECT_EQ(second.horizon, push_horizon{});
  EXPECT_EQ(second.since, sequence{50});
}

TEST(devices, the_last_one_leaves_what_it_had_not_acked_and_each_how_far_it_was_pushed_to) {
  const auto base = record(alice(), 7, cursor({10}, {}), {{15}, false}, 0);
  const auto gone = record(device_box(alice(), "a"), 9, cursor({30}, {{40}}), {{45}, true});
  const auto last = base_without(base, gone, true);
  EXPECT_EQ(last.user, alice());
  EXPECT_EQ(last.acked, gone.acked);
  EXPECT_EQ(last.horizon, (push_horizon{{45}, true}));
  EXPECT_GT(last.version, 7u + 1000) << "above what a mailbox in memory may write meanwhile";
  const auto one_of_many = base_without(base, gone, false);
  EXPECT_EQ(one_of_many.acked, base.acked);
  EXPECT_EQ(one_of_many.horizon, (push_horizon{{45}, true}));
}

TEST(devices, acks_become_the_users_again_with_what_all_have_acked_and_as_far_as_any_was_pushed) {
  const auto base = record(alice(), 7, cursor({99}, {}), {{15}, false}, 0);
  const auto merged = base_of_all(base, {record(device_box(alice(), "a"), 1, cursor({30}, {{40}, {42}}), {{45}, false}),
                                         record(device_box(alice(), "b"), 1, cursor({20}, {{25}, {40}}), {{60}, true})});
  EXPECT_EQ(merged.acked, cursor({20}, {{25}, {40}}));
  EXPECT_EQ(merged.horizon, (push_horizon{{60}, true}));
  EXPECT_GT(merged.version, base.version);
  EXPECT_EQ(base_of_all(base, {}).acked, base.acked);
}

TEST(devices, what_two_cursors_share_is_acked_in_both_and_nothing_else) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto any = [&] {
      std::vector<sequence> above;
      for (int i = 0; i < 12; ++i) above.push_back({1 + random() % 40});
      return cursor({random() % 20}, above);
    };
    const auto a = any(), b = any();
    const auto both = common_part(a, b);
    for (std::uint64_t seq = 1; seq < 45; ++seq) ASSERT_EQ(both.is_acked({seq}), a.is_acked({seq}) && b.is_acked({seq})) << seq;
    ASSERT_EQ(both, common_part(b, a));
    ASSERT_TRUE(both.above().empty() || both.above().front().after > both.floor()) << "a range that touches the floor is part of it";
  }
}

}  // namespace
}  // namespace doorstep::test
