// SPDX-License-Identifier: Apache-2.0
// libcurl: its easy interface where a thread may block, its multi interface where one thread serves many.
#include "net/http_client.hpp"

#include "runtime/threads.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

namespace doorstep {
namespace {

struct list_freed {
  void operator()(curl_slist* x) const { curl_slist_free_all(x); }
};
struct handle_freed {
  void operator()(CURL* x) const { curl_easy_cleanup(x); }
};
using handle_ptr = std::unique_ptr<CURL, handle_freed>;

/// Once a process, before the first handle.
void prepare_library() {
  static const bool done = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  (void)done;
}

/// One request, with all that libcurl points into until it has ended.
struct exchange {
  fetch_request what;
  std::string body;
  std::unique_ptr<curl_slist, list_freed> headers;
  std::array<char, CURL_ERROR_SIZE> why{};
  bool too_large = false;
  const std::atomic<bool>* cancelled = nullptr;
  http_client::answer done;

  result<fetch_answer> ended(CURL* handle, CURLcode code) {
    if (too_large) return failure{ec::unavailable, "the answer is over " + std::to_string(what.bytes_max) + " bytes", {}};
    if (code != CURLE_OK) return failure{ec::unavailable, why[0] != 0 ? why.data() : curl_easy_strerror(code), {}};
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return fetch_answer{static_cast<unsigned>(status), std::move(body)};
  }
};

std::size_t take_body(char* data, std::size_t, std::size_t size, void* to) {
  auto& x = *static_cast<exchange*>(to);
  x.too_large = x.body.size() + size > x.what.bytes_max;
  if (x.too_large) return 0;
  x.body.append(data, size);
  return size;
}

int look_whether_cancelled(void* of, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* cancelled = static_cast<exchange*>(of)->cancelled;
  return cancelled != nullptr && *cancelled ? 1 : 0;
}

void add_header(exchange& x, const std::string& line) {
  if (auto* grown = curl_slist_append(x.headers.get(), line.c_str())) {
    (void)x.headers.release();
    x.headers.reset(grown);
  }
}

void prepare(CURL* handle, exchange& x) {
  const auto set = [handle](auto option, auto value) { curl_easy_setopt(handle, option, value); };
  set(CURLOPT_URL, x.what.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(x.what.timeout.count()));
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(x.what.timeout.count()));
  set(CURLOPT_USERAGENT, "doorstep");
  set(CURLOPT_ERRORBUFFER, x.why.data());
  set(CURLOPT_WRITEFUNCTION, &take_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&x));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &look_whether_cancelled);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&x));
  if (!x.what.ca_file.empty()) set(CURLOPT_CAINFO, x.what.ca_file.c_str());
  if (!x.what.certificate.empty()) set(CURLOPT_SSLCERT, x.what.certificate.c_str());
  if (!x.what.certificate_key.empty()) set(CURLOPT_SSLKEY, x.what.certificate_key.c_str());
  if (!x.what.authorization.empty()) add_header(x, "Authorization: " + x.what.authorization);
  if (x.what.body) {
    add_header(x, "Content-Type: application/json");
    add_header(x, "Expect:");
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(x.what.body->size()));
    set(CURLOPT_POSTFIELDS, x.what.body->data());
  }
  set(CURLOPT_HTTPHEADER, x.headers.get());
}

}  // namespace

result<fetch_answer> fetch(const fetch_request& what, const std::atomic<bool>& cancelled) {
  prepare_library();
  const handle_ptr handle(curl_easy_init());
  if (!handle) return failure{ec::unavailable, "no memory for a request", {}};
  exchange x{what, {}, nullptr, {}, false, &cancelled, nullptr};
  prepare(handle.get(), x);
  return x.ended(handle.get(), curl_easy_perform(handle.get()));
}

struct http_client::impl {
  struct under_way {
    handle_ptr handle;
    std::unique_ptr<exchange> what;
  };

  impl(std::size_t concurrent, std::size_t waiting) : concurrent_max(concurrent), waiting_max(waiting) {}

  void run();
  void begin_waiting();
  void finish_ended();

  const std::size_t concurrent_max, waiting_max;
  CURLM* multi = nullptr;
  std::list<under_way> active;  ///< the thread's
  std::mutex mutex;             ///< guards the next two
  std::deque<std::unique_ptr<exchange>> waiting;
  bool stopping = false;
  std::thread thread;
};

void http_client::impl::begin_waiting() {
  while (active.size() < concurrent_max) {
    std::unique_ptr<exchange> next;
    {
      const std::lock_guard lock(mutex);
      if (waiting.empty()) return;
      next = std::move(waiting.front());
      waiting.pop_front();
    }
    handle_ptr handle(curl_easy_init());
    if (!handle) {
      next->done(failure{ec::unavailable, "no memory for a request", {}});
      continue;
    }
    prepare(handle.get(), *next);
    curl_multi_add_handle(multi, handle.get());
    active.push_back({std::move(handle), std::move(next)});
  }
}

void http_client::impl::finish_ended() {
  int left = 0;
  while (const auto* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const auto code = message->data.result;
    const auto found = std::find_if(active.begin(), active.end(), [&](const under_way& x) { return x.handle.get() == message->easy_handle; });
    if (found == active.end()) continue;
    curl_multi_remove_handle(multi, found->handle.get());
    auto ended = std::move(*found);
    active.erase(found);
    ended.what->done(ended.what->ended(ended.handle.get(), code));
  }
}

void http_client::impl::run() {
  for (;;) {
    {
      const std::lock_guard lock(mutex);
      if (stopping) break;
    }
    begin_waiting();
    int running = 0;
    curl_multi_perform(multi, &running);
    finish_ended();
    begin_waiting();
    curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  std::deque<std::unique_ptr<exchange>> left;
  {
    const std::lock_guard lock(mutex);
    left.swap(waiting);
  }
  for (auto& x : active) {
    curl_multi_remove_handle(multi, x.handle.get());
    left.push_back(std::move(x.what));
  }
  active.clear();
  for (auto& x : left) x->done(failure{ec::stopping, "the server stops", {}});
}

http_client::http_client(std::string thread_name, std::size_t concurrent_max, std::size_t waiting_max)
    : impl_(std::make_unique<impl>(concurrent_max, waiting_max)) {
  prepare_library();
  impl_->multi = curl_multi_init();
  impl_->thread = std::thread([x = impl_.get(), name = std::move(thread_name)] {
    name_this_thread(name);
    x->run();
  });
}

http_client::~http_client() {
  stop();
  curl_multi_cleanup(impl_->multi);
}

bool http_client::ask(fetch_request what, answer done) {
  auto next = std::make_unique<exchange>();
  next->what = std::move(what);
  next->done = std::move(done);
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->stopping || impl_->waiting.size() >= impl_->waiting_max) return false;
    impl_->waiting.push_back(std::move(next));
  }
  curl_multi_wakeup(impl_->multi);
  return true;
}

void http_client::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  curl_multi_wakeup(impl_->multi);
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace doorstep
