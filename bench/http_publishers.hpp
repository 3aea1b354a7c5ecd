// SPDX-License-Identifier: Apache-2.0
// The HTTP end of the bench: N publishers, each one connection to POST /v1/events that sends its next request when the last one was answered, on one epoll.
// Payloads are those of bench/publisher. Each publisher has users of its own, so that what one user gets is in order. One thread runs it: whoever calls it.
#pragma once

#include "bench/statistics.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bench {

struct http_options {
  std::string host = "127.0.0.1", api_key;
  std::uint16_t port = 9000;
  std::size_t publishers = 64;
  std::size_t batch = 1;       ///< events a request
  std::size_t users = 10000;   ///< at least one a publisher
  std::size_t first_user = 0;  ///< the number of the first one
  std::size_t payload_bytes = 200;
  bool in_turn = false;      ///< a publisher goes through its users, instead of picking one by chance
  std::uint64_t run = 0;     ///< in every payload, as the publisher of Kafka's has it
  std::uint64_t events = 0;  ///< in all; 0 = as long as it is served
};

struct http_counts {
  std::uint64_t sent = 0, accepted = 0, answers = 0;
  std::map<std::string, std::uint64_t> complaints;  ///< any other answer than 202, and broken connections, by their first line
};

class http_publishers {
public:
  http_publishers(http_options options, histogram& latency);  ///< throws std::system_error where the server is not there
  ~http_publishers();
  http_publishers(const http_publishers&) = delete;
  http_publishers& operator=(const http_publishers&) = delete;

  /// For so long, or until all events are accepted or no connection is left.
  void serve(std::int64_t nanoseconds);
  /// No new requests, and the answers of those under way.
  void finish();
  /// The time from request to answer, of requests sent in [from, to), goes into the histogram.
  void measure(std::int64_t from_ns, std::int64_t to_ns);

  const http_counts& counts() const { return counts_; }
  bool done() const { return open_ == 0 || (options_.events != 0 && counts_.accepted >= options_.events) || (ending_ && under_way_ == 0); }
  const std::vector<std::uint32_t>& sent() const { return sent_; }

private:
  struct publisher {
    int fd = -1;
    std::size_t next_user = 0, in_request = 0;
    std::int64_t sent_ns = 0;
    std::string in, out;
  };

  void turn(int timeout_ms);
  void request(std::size_t index);
  void append_event(std::size_t index, std::int64_t now);
  std::size_t next_user(std::size_t index);
  void flush(publisher& x);
  void readable(std::size_t index);
  void close(publisher& x, const std::string& complaint);

  http_options options_;
  histogram& latency_;
  http_counts counts_;
  std::vector<publisher> publishers_;
  std::vector<std::uint32_t> sent_;
  std::size_t open_ = 0, under_way_ = 0;
  bool ending_ = false;
  int epoll_ = -1;
  std::int64_t from_ns_ = 0, to_ns_ = 0;
  std::uint64_t random_ = 0x9e3779b97f4a7c15ULL;
  std::string body_;
};

}  // namespace bench
