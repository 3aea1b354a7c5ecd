// SPDX-License-Identifier: Apache-2.0
// One scan finds what is due and when the next scan is needed.
#include "net/deadlines.hpp"

#include <algorithm>

namespace doorstep {

void deadlines::set(timed& who, steady_time when) {
  if (who.place_ == timed::nowhere) {
    who.place_ = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back({when, &who});
  } else {
    entries_[who.place_].when = when;
  }
  if (when < armed_) arm(when);
}

void deadlines::remove(timed& who) {
  if (who.place_ == timed::nowhere) return;
  entries_[who.place_] = entries_.back();
  entries_[who.place_].who->place_ = who.place_;
  entries_.pop_back();
  who.place_ = timed::nowhere;
}

std::vector<std::shared_ptr<timed>> deadlines::all() const {
  std::vector<std::shared_ptr<timed>> found;
  found.reserve(entries_.size());
  for (const auto& x : entries_) found.push_back(x.who->self());
  return found;
}

void deadlines::stop() {
  stopped_ = true;
  timer_.cancel();
}

void deadlines::arm(steady_time when) {
  when = std::max(when, last_scan_ + resolution);
  if (stopped_ || when >= armed_) return;
  armed_ = when;
  timer_.expires_at(when);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !stopped_) scan();
  });
}

void deadlines::scan() {
  const auto now = std::chrono::steady_clock::now();
  last_scan_ = now;
  armed_ = steady_time::max();
  for (const auto& x : entries_)
    if (x.when <= now) ready_.push_back(x.who->self());
  // What is due may remove itself or others, or add new ones: only places looked up afresh are written to.
  for (const auto& who : ready_) {
    if (who->place_ == timed::nowhere) continue;
    const auto next = who->due(now);
    if (who->place_ != timed::nowhere) entries_[who->place_].when = next;
  }
  ready_.clear();
  auto next = steady_time::max();
  for (const auto& x : entries_) next = std::min(next, x.when);
  if (next != steady_time::max()) arm(next);
}

}  // namespace doorstep
