// SPDX-License-Identifier: Apache-2.0
// Lanes with real threads: everything runs on its own loop, one wake-up serves many, nobody starves, what is left at the end is released.
#include "actors/lane.hpp"

#include "actors/interfaces.hpp"

#include <gtest/gtest.h>
#include <caf/actor_registry.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <future>
#include <thread>

namespace doorstep::test {
namespace {

using probe_actor = caf::typed_actor<caf::reacts_to<std::uint64_t>, caf::reacts_to<alarm>>;
struct probe_state {
  explicit probe_state(on_lane<probe_actor::base>*) {}
  std::function<void(std::uint64_t)> tell;
};
using probe_self = caf::stateful_actor<probe_state, on_lane<probe_actor::base>>;

probe_actor::behavior_type probe(probe_self* self, std::function<void(std::uint64_t)> tell, milliseconds rings_after) {
  self->state.tell = std::move(tell);
  if (rings_after.count() > 0) self->ring_at(self->clock().now() + rings_after);
  return {
      [=](std::uint64_t x) { self->state.tell(x); },
      [=](alarm) { self->state.tell(0); },
  };
}

struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", std::size_t{1});
  }
};

class lane_test : public testing::Test {
protected:
  ~lane_test() override {
    while (system_.registry().running() > 0) std::this_thread::yield();
    where_.stop();
  }
  probe_actor spawn_probe(std::function<void(std::uint64_t)> tell, milliseconds rings_after = {}) {
    auto make = &probe;
    return spawn_on(system_, &lane_, make, std::move(tell), rings_after);
  }

  system_config settings_;
  caf::actor_system system_{settings_};
  loop where_{"test-lane"};
  lane lane_{system_, where_};
};

TEST_F(lane_test, also_the_first_message_from_another_thread_is_handled_on_the_lane) {
  std::promise<bool> on_lane;
  auto who = spawn_probe([&](std::uint64_t) { on_lane.set_value(where_.is_here()); });
  caf::anon_send(who, std::uint64_t{1});
  EXPECT_TRUE(on_lane.get_future().get());
}

TEST_F(lane_test, a_thousand_messages_that_come_together_cost_few_wake_ups_and_keep_their_order) {
  std::promise<void> busy, release, done;
  auto released = release.get_future().share();
  std::vector<std::uint64_t> seen;
  auto blocker = spawn_probe([&](std::uint64_t) {
    busy.set_value();
    released.wait();
  });
  auto who = spawn_probe([&](std::uint64_t x) {
    seen.push_back(x);
    if (x == 1000) done.set_value();
  });
  caf::anon_send(blocker, std::uint64_t{1});
  busy.get_future().wait();
  const auto before = lane_.wakes();
  for (std::uint64_t i = 1; i <= 1000; ++i) caf::anon_send(who, i);
  release.set_value();
  done.get_future().wait();
  ASSERT_EQ(seen.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_LE(lane_.wakes() - before, 2U);
}

TEST_F(lane_test, what_a_burst_hands_over_is_one_wake_up_after_its_end) {
  std::atomic<int> handled = 0;
  std::promise<void> done;
  const auto note = [&](std::uint64_t) {
    if (++handled == 2) done.set_value();
  };
  auto one = spawn_probe(note), other = spawn_probe(note);
  const auto before = lane_.wakes();
  {
    const burst together;
    caf::anon_send(one, std::uint64_t{1});
    std::this_thread::sleep_for(milliseconds{20});  // time enough for a lane that is awake
    EXPECT_EQ(handled, 0);
    caf::anon_send(other, std::uint64_t{1});
  }
  done.get_future().wait();
  EXPECT_EQ(lane_.wakes() - before, 1U);
}

TEST_F(lane_test, an_alarm_rings_on_the_lane_not_before_its_time) {
  std::promise<steady_time> rang;
  const auto start = std::chrono::steady_clock::now();
  auto who = spawn_probe(
      [&](std::uint64_t x) {
        if (x == 0) rang.set_value(where_.is_here() ? std::chrono::steady_clock::now() : steady_time{});
      },
      milliseconds{20});
  caf::anon_send(who, std::uint64_t{1});
  EXPECT_GE(rang.get_future().get(), start + milliseconds{20});
}

TEST_F(lane_test, sockets_have_their_turn_while_actors_are_busy) {
  std::promise<void> served;
  std::atomic<bool> stop = false;
  probe_actor self;
  std::promise<void> gone;
  self = spawn_probe([&](std::uint64_t x) {
    if (!stop)
      caf::anon_send(self, x + 1);
    else
      gone.set_value();
  });
  caf::anon_send(self, std::uint64_t{1});
  where_.post([&] { served.set_value(); });
  EXPECT_EQ(served.get_future().wait_for(std::chrono::seconds{10}), std::future_status::ready);
  stop = true;
  gone.get_future().wait();
  std::promise<void> let_go;
  where_.post([&] {
    self = nullptr;
    let_go.set_value();
  });
  let_go.get_future().wait();
}

}  // namespace
}  // namespace doorstep::test
