// SPDX-License-Identifier: Apache-2.0
// A lane runs the hot actors of some shards and the sockets of their users on one thread: a loop whose io_context drains a CAF run queue.
// Sends within a lane take no lock and no wake-up; sends from other threads wake it once for many. docs/decisions/0005-lanes.md.
#pragma once

#include "actors/messages.hpp"
#include "net/loop.hpp"
#include "runtime/burst.hpp"

#include <boost/asio/steady_timer.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/actor_system.hpp>
#include <caf/scheduled_actor.hpp>
#include <caf/scoped_execution_unit.hpp>
#include <caf/weak_intrusive_ptr.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <queue>
#include <vector>

namespace doorstep {

/// Memory of an actor outside the actor that its next message will need. The lane asks for it while other actors work.
using hot_places = std::array<const void*, 3>;

/// The execution unit of one loop. Made before and destroyed after the actors on it; the loop is stopped in between.
class lane final : public caf::scoped_execution_unit, private sleeper {
public:
  lane(caf::actor_system& system, loop& where);
  ~lane() override;

  void exec_later(caf::resumable* job) override;

  /// Sends `alarm` to the actor when its clock reaches `at`. On the lane's thread only. Alarms are not cancelled: the receiver asks its pure core what is due.
  void set_alarm(caf::weak_actor_ptr who, steady_time at);

  loop& where() { return where_; }
  std::uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }  ///< times another thread had to wake this one
  std::uint64_t resumes() const { return resumes_.load(std::memory_order_relaxed); }

private:
  struct timed {
    steady_time at;
    caf::weak_actor_ptr who;
    bool operator<(const timed& other) const { return at > other.at; }
  };

  struct waiting {
    caf::resumable* job;
    const hot_places* hot;  ///< inside the actor, or null
  };

  void wake() override;
  void take_foreign();
  void schedule_run();
  void run();
  void arm();
  void ring();

  loop& where_;
  std::vector<waiting> ready_;
  bool scheduled_ = false;
  std::priority_queue<timed> alarms_;
  boost::asio::steady_timer timer_;
  steady_time armed_for_ = steady_time::max();

  std::mutex mutex_;  // guards the next two
  std::vector<waiting> foreign_;
  bool woken_ = false;

  std::atomic<std::uint64_t> wakes_ = 0, resumes_ = 0;
};

namespace detail {
inline thread_local caf::scheduled_actor* running_actor = nullptr;
inline thread_local const hot_places* hot_of_enqueued = nullptr;  // CAF names only the job when it puts an actor on the lane
}  // namespace detail
/// The actor whose message this thread handles. Only in handlers and functions of an on_lane actor, and with its own type.
template <class Self>
Self* running() {
  return static_cast<Self*>(detail::running_actor);
}

/// Puts an event-based actor class on the lane that its config names as host, from its construction on: set later, first messages from other threads
/// would run off the lane. Without one (deterministic tests) the actor runs where its system says.
template <class Base>
class on_lane : public Base {
public:
  template <class... Ts>
  explicit on_lane(caf::actor_config& config, Ts&&... xs) : Base(config, std::forward<Ts>(xs)...), lane_(dynamic_cast<lane*>(config.host)) {}

  /// Handlers find their actor by running<>(), so that all actors of a kind share one behavior: ten thousand copies of it do not fit a cache.
  caf::resumable::resume_result resume(caf::execution_unit* host, std::size_t messages_max) override {
    auto* const before = std::exchange(detail::running_actor, this);
    const auto what = Base::resume(host, messages_max);
    detail::running_actor = before;
    return what;
  }

  using Base::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override {
    detail::hot_of_enqueued = &hot_;
    Base::enqueue(std::move(what), lane_ != nullptr ? lane_ : host);
    detail::hot_of_enqueued = nullptr;
  }

  /// Sends this actor `alarm` at `at`: by the lane's timer, or by the system's clock where there is no lane.
  void ring_at(steady_time at) {
    if (lane_ != nullptr)
      lane_->set_alarm(caf::weak_actor_ptr{this->ctrl()}, at);
    else
      this->clock().schedule_message(at, caf::strong_actor_ptr{this->ctrl()},
                                     caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, alarm{}));
  }
  lane* where() const { return lane_; }
  void keep_hot(const hot_places& x) { hot_ = x; }

private:
  lane* lane_;
  hot_places hot_{};
};

/// Spawns a function-based actor on a lane (null: on the system's scheduler). It starts with its first message.
template <class F, class... Ts>
auto spawn_on(caf::actor_system& system, lane* where, F* function, Ts&&... xs) {
  caf::actor_config config{where};
  return system.spawn_functor<caf::lazy_init>(std::true_type{}, config, function, std::forward<Ts>(xs)...);
}

}  // namespace doorstep
