// SPDX-License-Identifier: Apache-2.0
// One wake-up for many: a thread that hands things to several others holds their wake-ups back until it has handed over all of them. Without it the first one woken
// takes the core away, handles one part, sleeps, and is woken again for the next.
#pragma once

#include <boost/container/small_vector.hpp>

#include <utility>

namespace doorstep {

/// Who sleeps until another thread has something for it. Outlives every burst that may name it.
class sleeper {
public:
  /// Any thread.
  virtual void wake() = 0;

protected:
  ~sleeper() = default;
};

/// While one lives, those whom this thread would wake are noted, and woken when it ends. Nested ones are part of the outermost. Hold one only for as long as
/// handing over takes: others who have something for the same sleeper do not wake it a second time.
class burst {
public:
  burst() : outer_(std::exchange(current_, this)) {}
  ~burst() {
    current_ = outer_;
    for (auto* who : noted_) wake(*who);  // or the outer one notes them
  }
  burst(const burst&) = delete;
  burst& operator=(const burst&) = delete;

  static void wake(sleeper& who) {
    if (current_ != nullptr)
      current_->noted_.push_back(&who);
    else
      who.wake();
  }

private:
  static inline thread_local burst* current_ = nullptr;
  burst* const outer_;
  boost::container::small_vector<sleeper*, 8> noted_;
};

}  // namespace doorstep
