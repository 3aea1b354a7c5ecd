// SPDX-License-Identifier: Apache-2.0
// The rules in force, for those beside the ROUTER who have to know them. Any thread.
#pragma once

#include "runtime/routes.hpp"

#include <atomic>
#include <mutex>
#include <utility>

namespace doorstep {

class live_routes {
public:
  explicit live_routes(route_table_ptr start) : table_(std::move(start)), headers_(reads_headers_in(table_)) { note_channels(table_); }

  /// Whether an event's headers have to be carried to the ROUTER.
  bool reads_headers() const { return headers_; }
  /// Which channels rules may name, of those in force and those before them since the start.
  route_table::channel_kinds channels() const {
    const std::lock_guard lock(mutex_);
    return channels_;
  }
  /// Null: there are none.
  route_table_ptr table() const {
    const std::lock_guard lock(mutex_);
    return table_;
  }
  /// The ROUTER is about to get them. Headers are carried before a rule asks for them, and as long as an old one does.
  void announce(const route_table_ptr& next) {
    if (reads_headers_in(next)) headers_ = true;
    const std::lock_guard lock(mutex_);
    note_channels(next);
  }
  /// It has them.
  void use(route_table_ptr next) {
    const std::lock_guard lock(mutex_);
    headers_ = reads_headers_in(next);
    table_ = std::move(next);
  }

private:
  static bool reads_headers_in(const route_table_ptr& x) { return x && x->reads_headers(); }

  void note_channels(const route_table_ptr& x) {
    if (!x) return;
    const auto more = x->channels();
    channels_.role |= more.role;
    channels_.group |= more.group;
    channels_.topic |= more.topic;
    channels_.all |= more.all;
  }

  mutable std::mutex mutex_;
  route_table::channel_kinds channels_;
  route_table_ptr table_;
  std::atomic<bool> headers_;
};

}  // namespace doorstep
