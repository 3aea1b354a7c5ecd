// SPDX-License-Identifier: Apache-2.0
// The times at which the sockets of one loop want to be looked at: one timer and one flat array, so that ten thousand idle connections cost a scan of a few
// microseconds five times a second. A due time may lie in the past of what its owner wants by now; the owner then says a later one. The loop's thread.
#pragma once

#include "runtime/ids.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace doorstep {

/// A socket with something to do later.
class timed {
public:
  virtual ~timed() = default;
  /// The due time has come. @returns the next one.
  virtual steady_time due(steady_time now) = 0;
  /// The server stops: closes the socket without a word.
  virtual void drop() = 0;
  virtual std::shared_ptr<timed> self() = 0;

private:
  friend class deadlines;
  static constexpr std::uint32_t nowhere = ~std::uint32_t{0};
  std::uint32_t place_ = nowhere;
};

class deadlines {
public:
  static constexpr milliseconds resolution{200};  ///< between two scans, unless a due time was set while none was near

  explicit deadlines(boost::asio::io_context& io) : timer_(io) {}

  /// Adds it, or moves its due time.
  void set(timed& who, steady_time when);
  void remove(timed& who);
  std::size_t size() const { return entries_.size(); }
  std::vector<std::shared_ptr<timed>> all() const;
  void stop();

private:
  struct entry {
    steady_time when;
    timed* who;
  };
  void arm(steady_time when);
  void scan();

  boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                    boost::asio::io_context::executor_type>
      timer_;
  std::vector<entry> entries_;
  std::vector<std::shared_ptr<timed>> ready_;
  steady_time armed_ = steady_time::max(), last_scan_{};
  bool stopped_ = false;
};

}  // namespace doorstep
