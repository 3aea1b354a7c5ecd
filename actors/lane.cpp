// SPDX-License-Identifier: Apache-2.0
#include "actors/lane.hpp"

#include <caf/intrusive_ptr.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/resumable.hpp>

#include <algorithm>

namespace doorstep {

namespace {

/// Messages an actor handles before the next one has its turn, and actors resumed before the sockets have theirs.
constexpr std::size_t messages_a_turn = 64;
constexpr std::size_t resumes_a_turn = 4096;

constexpr std::ptrdiff_t cache_line = 64;

/// With ten thousand mailboxes the next actor is not in the cache, and waiting for its memory was the largest part of a message's cost: its lines
/// (mailbox, behavior, state) are asked for two actors ahead, and what they point to one ahead.
void prefetch_actor(const caf::resumable* next) {
  constexpr std::ptrdiff_t lines = 22;
  const auto* at = reinterpret_cast<const char*>(next);
  for (std::ptrdiff_t i = -1; i < lines; ++i) __builtin_prefetch(at + i * cache_line);
}

void prefetch_places(const hot_places& hot) {
  for (const auto* place : hot) {
    __builtin_prefetch(place);
    __builtin_prefetch(static_cast<const char*>(place) + cache_line);
  }
}

}  // namespace

lane::lane(caf::actor_system& system, loop& where) : caf::scoped_execution_unit(&system), where_(where), timer_(where.io()) {}

lane::~lane() {
  // The loop has stopped: what was still queued is released unrun, as a scheduler does when it shuts down.
  for (const auto& x : ready_) caf::intrusive_ptr_release(x.job);
  for (const auto& x : foreign_) caf::intrusive_ptr_release(x.job);
}

void lane::exec_later(caf::resumable* job) {
  const waiting next{job, std::exchange(detail::hot_of_enqueued, nullptr)};
  if (where_.is_here()) {
    ready_.push_back(next);
    schedule_run();
    return;
  }
  bool asleep = false;
  {
    std::lock_guard guard(mutex_);
    foreign_.push_back(next);
    asleep = !std::exchange(woken_, true);
  }
  if (asleep) burst::wake(*this);
}

void lane::wake() {
  where_.post([this] { take_foreign(); });
}

void lane::take_foreign() {
  {
    std::lock_guard guard(mutex_);
    woken_ = false;
    ready_.insert(ready_.end(), foreign_.begin(), foreign_.end());
    foreign_.clear();
  }
  wakes_.fetch_add(1, std::memory_order_relaxed);
  if (!scheduled_) {
    scheduled_ = true;
    run();
  }
}

void lane::schedule_run() {
  if (!std::exchange(scheduled_, true)) where_.post([this] { run(); });
}

void lane::run() {
  // The list grows while it runs: a whole chain of sends ends in one go, until the sockets want their turn.
  std::size_t done = 0;
  while (done < ready_.size() && done < resumes_a_turn) {
    const auto now = ready_[done++];
    if (done + 1 < ready_.size()) prefetch_actor(ready_[done + 1].job);
    if (done < ready_.size() && ready_[done].hot != nullptr) prefetch_places(*ready_[done].hot);
    if (now.job->resume(this, messages_a_turn) == caf::resumable::resume_later)
      ready_.push_back(now);
    else
      caf::intrusive_ptr_release(now.job);
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(done));
  resumes_.fetch_add(done, std::memory_order_relaxed);
  scheduled_ = false;
  if (!ready_.empty()) schedule_run();
}

void lane::set_alarm(caf::weak_actor_ptr who, steady_time at) {
  alarms_.push({at, std::move(who)});
  if (at < armed_for_) arm();
}

void lane::arm() {
  // One timer for all, at most a millisecond early for none: many alarms close together ring in one wake-up.
  armed_for_ = std::max(alarms_.top().at, std::chrono::steady_clock::now() + milliseconds{1});
  timer_.expires_at(armed_for_);
  timer_.async_wait([this](boost::system::error_code ec) {
    if (!ec) ring();
  });
}

void lane::ring() {
  armed_for_ = steady_time::max();
  const auto now = std::chrono::steady_clock::now();
  while (!alarms_.empty() && alarms_.top().at <= now) {
    if (auto who = alarms_.top().who.lock()) who->enqueue(caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, alarm{}), this);
    alarms_.pop();
  }
  if (!alarms_.empty()) arm();
}

}  // namespace doorstep
