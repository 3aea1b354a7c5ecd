// SPDX-License-Identifier: Apache-2.0
// The queue of the writing thread. The thread is woken only when it sleeps, so a busy one costs its callers no system call.
#include "storage/commit_queue.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

std::size_t parts(const store_batch& x) { return x.messages.size() + x.cursors.size() + x.dead.size() + x.positions.size(); }

}  // namespace

void commit_queue::wake() {
  if (std::exchange(waiting_, false)) work_.notify_one();
}

commit_queue::put_result commit_queue::put(append_work& work, admission who) {
  const std::lock_guard lock(mutex_);
  if (no_appends_) return put_result::stopped;
  if (who == admission::bounded && entries_ > 0 && entries_ + work.entries.size() > entries_max_) return put_result::full;
  entries_ += work.entries.size();
  appends_.push_back(std::move(work));
  const bool first = !append_by_;
  if (first) append_by_ = std::chrono::steady_clock::now() + linger_;
  if (who == admission::bounded || entries_ >= batch_entries_) urgent_ = true;
  if (first || urgent_) wake();
  return put_result::taken;
}

commit_queue::put_result commit_queue::put(store_work& work, urgency when) {
  const std::lock_guard lock(mutex_);
  if (no_writes_) return put_result::stopped;
  writes_.push_back(std::move(work));
  const bool first = !write_by_;
  if (first) write_by_ = std::chrono::steady_clock::now() + interval_;
  if (when == urgency::now) urgent_ = true;
  if (first || when == urgency::now) wake();
  return put_result::taken;
}

bool commit_queue::due(steady_time now) const {
  return urgent_ || (append_by_ && (no_appends_ || *append_by_ <= now)) || (write_by_ && (no_writes_ || *write_by_ <= now));
}

std::optional<steady_time> commit_queue::next_due() const {
  if (append_by_ && write_by_) return std::min(*append_by_, *write_by_);
  return append_by_ ? append_by_ : write_by_;
}

bool commit_queue::take(std::vector<append_work>& appends, std::vector<store_work>& writes, bool spare_work, std::optional<milliseconds> patience) {
  std::unique_lock lock(mutex_);
  const auto end = patience ? std::chrono::steady_clock::now() + *patience : steady_time::max();
  while (!due(std::chrono::steady_clock::now())) {
    if (no_appends_ && no_writes_) return false;
    if (spare_work || std::exchange(look_, false) || std::chrono::steady_clock::now() >= end) return true;
    waiting_ = true;
    if (const auto at = std::min(next_due().value_or(steady_time::max()), end); at != steady_time::max())
      work_.wait_until(lock, at);
    else
      work_.wait(lock);
    waiting_ = false;
  }
  std::size_t count = 0;
  while (!appends_.empty() && (count == 0 || count + appends_.front().entries.size() <= batch_entries_)) {
    count += appends_.front().entries.size();
    appends.push_back(std::move(appends_.front()));
    appends_.pop_front();
  }
  count = 0;
  while (!writes_.empty() && (count == 0 || count + parts(writes_.front().batch) <= batch_entries_)) {
    count += parts(writes_.front().batch);
    writes.push_back(std::move(writes_.front()));
    writes_.pop_front();
  }
  // What is left is as urgent as it was.
  if (appends_.empty()) append_by_.reset();
  if (writes_.empty()) write_by_.reset();
  if (appends_.empty() && writes_.empty()) urgent_ = false;
  in_hand_appends_ = appends.size();
  in_hand_writes_ = writes.size();
  return true;
}

void commit_queue::look() {
  const std::lock_guard lock(mutex_);
  look_ = true;
  wake();
}

void commit_queue::settled(std::size_t entries) {
  const std::lock_guard lock(mutex_);
  entries_ -= entries;
}

void commit_queue::told() {
  const std::lock_guard lock(mutex_);
  in_hand_appends_ = in_hand_writes_ = 0;
  if (no_appends_ || no_writes_) drained_.notify_all();
}

std::size_t commit_queue::queued() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

void commit_queue::stop_appends() {
  std::unique_lock lock(mutex_);
  no_appends_ = true;
  wake();
  drained_.wait(lock, [&] { return appends_.empty() && in_hand_appends_ == 0; });
}

void commit_queue::stop_writes() {
  std::unique_lock lock(mutex_);
  no_writes_ = true;
  wake();
  drained_.wait(lock, [&] { return writes_.empty() && in_hand_writes_ == 0; });
}

bool commit_queue::stopped() const {
  const std::lock_guard lock(mutex_);
  return no_appends_ && no_writes_;
}

}  // namespace doorstep
