// SPDX-License-Identifier: Apache-2.0
#include "runtime/burst.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace doorstep {
namespace {

struct counting_sleeper final : sleeper {
  void wake() override { ++woken; }
  int woken = 0;
};

TEST(burst, wakes_at_once_where_there_is_none) {
  counting_sleeper who;
  burst::wake(who);
  EXPECT_EQ(who.woken, 1);
}

TEST(burst, wakes_everybody_at_its_end) {
  counting_sleeper one, other;
  {
    const burst together;
    burst::wake(one);
    burst::wake(other);
    EXPECT_EQ(one.woken + other.woken, 0);
  }
  EXPECT_EQ(one.woken, 1);
  EXPECT_EQ(other.woken, 1);
  burst::wake(one);
  EXPECT_EQ(one.woken, 2);
}

TEST(burst, is_part_of_the_one_around_it) {
  counting_sleeper who;
  {
    const burst outer;
    {
      const burst inner;
      burst::wake(who);
    }
    EXPECT_EQ(who.woken, 0);
  }
  EXPECT_EQ(who.woken, 1);
}

TEST(burst, holds_back_no_other_thread) {
  counting_sleeper who;
  const burst together;
  std::thread([&] { burst::wake(who); }).join();
  EXPECT_EQ(who.woken, 1);
}

}  // namespace
}  // namespace doorstep
