// SPDX-License-Identifier: Apache-2.0
// The thread behind a loop. A handler that throws ends the process: a socket's state is not to be guessed at.
#include "net/loop.hpp"

#include "runtime/threads.hpp"

namespace doorstep {

loop::loop(std::string name) : alive_(boost::asio::make_work_guard(io_)) {
  thread_ = std::thread([this, name = std::move(name)] {
    name_this_thread(name);
    io_.run();
  });
  id_ = thread_.get_id();  // nothing can ask before the constructor's caller posts something
}

loop::~loop() { stop(); }

void loop::stop() {
  if (!thread_.joinable()) return;
  // Behind what is ready now. Sockets and timers that still wait would keep run() going for ever, hence the stop.
  post([this] {
    alive_.reset();
    io_.stop();
  });
  thread_.join();
}

}  // namespace doorstep
