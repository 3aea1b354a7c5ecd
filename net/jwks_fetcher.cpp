// SPDX-License-Identifier: Apache-2.0
#include "net/jwks_fetcher.hpp"

#include "net/http_client.hpp"
#include "net/jwk.hpp"
#include "runtime/threads.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {
namespace {

constexpr std::size_t set_bytes_max = 256 * 1024;
using std::chrono::steady_clock;

}  // namespace

jwks_fetcher::jwks_fetcher(const auth_config& settings, metrics& numbers) : settings_(settings), numbers_(numbers) {
  thread_ = std::thread([this] {
    name_this_thread("jwks");
    run();
  });
}

jwks_fetcher::~jwks_fetcher() { stop(); }

std::shared_ptr<const key_set> jwks_fetcher::keys() const {
  const std::lock_guard lock(mutex_);
  return keys_;
}

jwks_fetcher::asked jwks_fetcher::ask_for_news(std::function<void(bool)> done) {
  {
    const std::lock_guard lock(mutex_);
    const bool may_fetch = is_fetching_ || !last_ || steady_clock::now() - *last_ >= settings_.jwks_refresh_min;
    if (stopping_) return asked::cannot;
    if (!may_fetch) return last_failed_ ? asked::cannot : asked::is_fresh;
    if (waiting_.size() >= waiting_max) return asked::cannot;
    waiting_.push_back(std::move(done));
  }
  changed_.notify_one();
  return asked::waits;
}

void jwks_fetcher::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = steady_clock::now();
    // After a failure it is tried again sooner, a key set being what everybody waits for.
    const auto pause = last_failed_ ? std::min(settings_.jwks_refresh, settings_.jwks_refresh_min) : settings_.jwks_refresh;
    const bool is_due = !last_ || now >= *last_ + pause;
    const bool is_asked = !waiting_.empty() && (!last_ || now >= *last_ + settings_.jwks_refresh_min);
    if (!is_due && !is_asked) {
      changed_.wait_until(lock, *last_ + (waiting_.empty() ? pause : std::min(pause, settings_.jwks_refresh_min)));
      continue;
    }
    last_ = now;
    is_fetching_ = true;
    lock.unlock();
    fetch_now();
    lock.lock();
    is_fetching_ = false;
    const auto told = std::exchange(waiting_, {});
    const bool good = !last_failed_;
    lock.unlock();
    for (const auto& done : told) done(good);
    lock.lock();
  }
  const auto told = std::exchange(waiting_, {});
  lock.unlock();
  for (const auto& done : told) done(false);
}

void jwks_fetcher::fetch_now() {
  numbers_.jwks_fetches.add();
  fetch_request what{settings_.jwks_url};
  what.timeout = settings_.jwks_timeout;
  what.bytes_max = set_bytes_max;
  auto answer = fetch(what, stopping_);
  result<key_set> found = failure{ec::unavailable, "", {}};
  if (!answer)
    found = answer.error();
  else if (answer->status != 200)
    found = failure{ec::unavailable, "it answered with status " + std::to_string(answer->status), {}};
  else
    found = read_published_keys(answer->body);
  if (stopping_) return;
  const std::lock_guard lock(mutex_);
  last_failed_ = !found;
  if (found) {
    keys_ = std::make_shared<const key_set>(std::move(*found));
    return numbers_.away.end("jwks");
  }
  numbers_.jwks_failures.add();
  numbers_.away.begin("jwks", found.error().detail,
                      keys_ ? "the keys fetched before stay in force" : "clients whose tokens need a key from there are asked to come again",
                      outages::effect_on::nobody);
}

void jwks_fetcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

}  // namespace doorstep
