// SPDX-License-Identifier: Apache-2.0
// Are a client's brokers there? What its events say, and when to ask: while they are away, since an idle topic would not show that they are back; and after a
// connection broke, since librdkafka says that all brokers are down only where it had lost each of them by itself, which it has not when the only one is stopped.
// Pure; used by the source and by the log's reader, each on its own thread.
#pragma once

#include "runtime/ids.hpp"

#include <string>
#include <utility>

namespace doorstep {

class broker_watch {
public:
  static constexpr milliseconds first_look{250}, look{1'000};

  bool there() const { return there_; }
  /// A connection broke. Whether others stand, nobody knows yet.
  void broke(std::string why) {
    doubted_ = true;
    last_trouble_ = std::move(why);
  }
  /// @returns whether that is news.
  bool set(bool there, steady_time now) {
    if (there == there_) return false;
    there_ = there;
    ask_at_ = now + first_look;
    if (there) last_trouble_.clear();
    return true;
  }
  bool should_ask(steady_time now) const { return (!there_ || doubted_) && now >= ask_at_; }
  /// They were asked. @returns whether the answer is news.
  bool asked(bool there, steady_time now) {
    doubted_ = false;
    const bool news = set(there, now);
    ask_at_ = now + look;
    return news;
  }
  /// What broke last; it says more than `otherwise`, the sentence that all brokers are down.
  std::string why(const std::string& otherwise = {}) const { return last_trouble_.empty() ? otherwise : last_trouble_; }

private:
  bool there_ = true, doubted_ = false;
  std::string last_trouble_;
  steady_time ask_at_{};
};

}  // namespace doorstep
