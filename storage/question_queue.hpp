// SPDX-License-Identifier: Apache-2.0
// Questions that wait for the reading threads of a store, in their order. Any thread puts, a reading thread answers. Nothing is turned away: each mailbox and
// session that asks waits for its answer.
#pragma once

#include "runtime/error.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace doorstep {

/// While no server is found every question would wait as long as the first one did, one after the other: so when one comes back with ec::unavailable, those that
/// stand in the queue are told the same, and whoever asked comes back later.
template <class Reader>
class question_queue {
public:
  /// Asks the reader, or, where it is null, is told why not. @returns the failure that those behind it would run into too, if any.
  using question = std::function<std::optional<failure>(Reader*, const failure& why_not)>;

  /// @param stopped what is answered after stop().
  explicit question_queue(failure stopped) : why_stopped_(std::move(stopped)) {}

  void put(question x) {
    {
      const std::lock_guard lock(mutex_);
      if (!stopped_) {
        questions_.push_back(std::move(x));
        if (waiting_ > 0) work_.notify_one();
        return;
      }
    }
    x(nullptr, why_stopped_);
  }

  /// Reading thread: answers until stop() was called and nothing is left.
  void answer(Reader& reader) {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (questions_.empty() && !stopped_) {
        ++waiting_;
        work_.wait(lock);
        --waiting_;
      }
      if (questions_.empty()) return;
      const auto next = std::move(questions_.front());
      questions_.pop_front();
      lock.unlock();
      const auto why = next(&reader, {});
      if (why && why->code == ec::unavailable) refuse_all(*why);
      lock.lock();
    }
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    work_.notify_all();
  }

private:
  void refuse_all(const failure& why) {
    std::deque<question> refused;
    {
      const std::lock_guard lock(mutex_);
      refused.swap(questions_);
    }
    for (const auto& x : refused) x(nullptr, why);
  }

  const failure why_stopped_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<question> questions_;
  std::size_t waiting_ = 0;  ///< threads: a busy one costs its callers no system call
  bool stopped_ = false;
};

}  // namespace doorstep
