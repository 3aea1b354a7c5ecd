// SPDX-License-Identifier: Apache-2.0
// One thread that runs one io_context. Sockets, and through actors/lane the hot actors, live on loops and never leave theirs.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace doorstep {

class loop {
public:
  /// Starts the thread; `name` (at most 15 bytes) is what top -H shows.
  explicit loop(std::string name);
  ~loop();  ///< stop()
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  boost::asio::io_context& io() { return io_; }
  bool is_here() const { return std::this_thread::get_id() == id_; }
  template <class F>
  void post(F&& work) {
    boost::asio::post(io_, std::forward<F>(work));
  }
  /// Lets what is ready finish, then ends and joins the thread. Not from the loop itself.
  void stop();

private:
  /// One thread runs it and uses its sockets and timers, so the reactor needs no locks; posting from other threads stays safe.
  boost::asio::io_context io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> alive_;
  std::thread thread_;
  std::thread::id id_;  ///< kept apart: thread_ forgets it in join(), while others may still ask
};

}  // namespace doorstep
