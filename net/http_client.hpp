// SPDX-License-Identifier: Apache-2.0
// Requests to others: key sets, the connect hook, and the command line's to a server. libcurl stays in the .cpp. Redirects are not followed, and an answer
// that is larger than allowed is none.
#pragma once

#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace doorstep {

struct fetch_request {
  std::string url;
  std::optional<std::string> body{};  ///< JSON; makes it a POST
  std::string authorization{};
  milliseconds timeout{5'000};
  std::size_t bytes_max = 256 * 1024;
  std::string ca_file{};                         ///< empty = the system's
  std::string certificate{}, certificate_key{};  ///< what we show, PEM files
};
struct fetch_answer {
  unsigned status = 0;
  std::string body;
};

/// Blocks. @returns ec::unavailable with the reason where there was no answer; looks at `cancelled` several times a second.
result<fetch_answer> fetch(const fetch_request& what, const std::atomic<bool>& cancelled);

/// One thread with many requests under way.
class http_client {
public:
  using answer = std::function<void(result<fetch_answer>)>;

  http_client(std::string thread_name, std::size_t concurrent_max, std::size_t waiting_max);
  ~http_client();  ///< stop()
  http_client(const http_client&) = delete;
  http_client& operator=(const http_client&) = delete;

  /// `done` is called once, from the client's thread, unless this returns false: then too many wait already. Any thread.
  bool ask(fetch_request what, answer done);
  /// What is under way or waits is answered with ec::stopping.
  void stop();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
