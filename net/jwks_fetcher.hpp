// SPDX-License-Identifier: Apache-2.0
// Keeps the keys that auth.jwks_url publishes: fetched at the start, every auth.jwks_refresh, and when a token names a key that is not among them, though not more
// often than auth.jwks_refresh_min. A fetch that brings no usable key changes nothing. A thread of its own; any thread asks.
#pragma once

#include "net/token_key.hpp"
#include "runtime/config.hpp"
#include "runtime/metrics.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace doorstep {

class jwks_fetcher {
public:
  static constexpr std::size_t waiting_max = 1'000;

  jwks_fetcher(const auth_config& settings, metrics& numbers);
  ~jwks_fetcher();  ///< stop()
  jwks_fetcher(const jwks_fetcher&) = delete;
  jwks_fetcher& operator=(const jwks_fetcher&) = delete;

  /// Null before the first good fetch.
  std::shared_ptr<const key_set> keys() const;

  enum class asked : std::uint8_t {
    waits,     ///< `done` is called once, from the fetcher's thread, when the fetch that comes has ended; true: it brought keys
    is_fresh,  ///< the keys were fetched a moment ago: a key that is not there is not published
    cannot,    ///< nothing can be said now: no keys yet, or too many wait
  };
  asked ask_for_news(std::function<void(bool)> done);
  void stop();

private:
  void run();
  void fetch_now();

  const auth_config settings_;
  metrics& numbers_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  std::shared_ptr<const key_set> keys_;
  std::vector<std::function<void(bool)>> waiting_;
  std::optional<steady_time> last_;  ///< when a fetch began
  bool last_failed_ = false, is_fetching_ = false;
  std::thread thread_;
};

}  // namespace doorstep
