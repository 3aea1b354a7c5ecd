// SPDX-License-Identifier: Apache-2.0
// Asks the application whether a client may connect (docs/protocol.md, The connect hook): one POST, an answer that is remembered for a while, and what holds where
// there is none. A thread of its own; any thread asks.
#pragma once

#include "net/connection.hpp"
#include "net/http_client.hpp"
#include "runtime/config.hpp"
#include "runtime/event.hpp"
#include "runtime/log.hpp"
#include "runtime/metrics.hpp"

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace doorstep {

/// Who wants to connect. Without a user the application has to name one.
struct hook_question {
  identity who;
  std::string device, remote, origin;
  std::vector<header> headers;  ///< those of auth.hook_headers
};

/// What it said. `allow` false with the reason for the client, or the identity that holds.
struct hook_answer {
  bool allow = false;
  std::string reason;
  identity who;
};

class connect_hook {
public:
  connect_hook(const auth_config& settings, metrics& numbers);

  /// `done` is called once: at once where the answer is remembered, else from the hook's thread. ec::unavailable: no answer.
  void ask(hook_question about, std::function<void(result<hook_answer>)> done);
  bool allows_on_failure() const { return settings_.hook_on_failure == "allow"; }
  void stop() { client_.stop(); }

private:
  void remember(const std::string& question, const hook_answer& what);
  void failed(const std::string& why);

  struct remembered {
    hook_answer what;
    steady_time until;
  };
  const auth_config settings_;
  metrics& numbers_;
  log_throttle throttle_{std::chrono::seconds{10}};
  std::mutex mutex_;
  std::unordered_map<std::string, remembered> cache_;         ///< by the question
  std::deque<std::pair<steady_time, std::string>> in_order_;  ///< as they came, the oldest first
  http_client client_;                                        ///< the last: its thread uses all of the above
};

/// The body of the request, and what an answer's body means. Pure.
std::string hook_question_text(const hook_question& about);
result<hook_answer> read_hook_answer(const std::string& body, const identity& asked_about);

}  // namespace doorstep
