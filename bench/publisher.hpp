// SPDX-License-Identifier: Apache-2.0
// The Kafka end of the load generator: an open loop with a tick of one millisecond on a thread of its own. Each record is a CloudEvent in
// binary mode whose payload holds the time it was meant to leave at, so that a late publisher shows as latency and not as fewer messages.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

struct rd_kafka_s;

namespace bench {

struct publisher_options {
  std::string brokers, topic;
  std::size_t users = 0;
  double rate = 0;        ///< messages a second
  std::size_t burst = 1;  ///< messages to one user in a row
  std::size_t payload_bytes = 200;
  double role_share = 0, all_share = 0;  ///< of the messages: to the channels role:crowd and all, by rules; the others to users
  std::uint64_t run = 0;                 ///< in every payload, so that another run's messages are told apart
};

class publisher {
public:
  explicit publisher(publisher_options options);  ///< throws std::runtime_error when the producer cannot be made
  ~publisher();                                   ///< stop()
  publisher(const publisher&) = delete;
  publisher& operator=(const publisher&) = delete;

  /// One message to every user (where there are channels: one to all), as fast as half the rate, then the open loop waits for start().
  void prime();
  void start();
  /// Ends the loop and flushes; after it sent() may be read.
  void stop();

  bool primed() const { return primed_; }
  std::uint64_t published() const { return published_; }
  std::uint64_t failed() const { return failed_; }              ///< refused by the client library, or by the broker
  std::int64_t latest_tick_ns() const { return latest_tick_; }  ///< how late the latest tick was
  /// How many messages each user was sent; where there are channels the last two numbers are those of role:crowd and all.
  const std::vector<std::uint32_t>& sent() const { return sent_; }

private:
  void run();
  void send(std::size_t target, std::int64_t intended_ns);
  std::size_t next_target();
  std::uint64_t random();
  bool has_channels() const { return options_.role_share + options_.all_share > 0; }
  std::string name_of(std::size_t target) const;

  publisher_options options_;
  rd_kafka_s* kafka_ = nullptr;
  std::vector<std::uint32_t> sent_;
  std::string payload_, event_id_;
  std::uint64_t random_ = 0x9e3779b97f4a7c15ULL;
  std::atomic<std::uint64_t> published_{0}, failed_{0};
  std::atomic<std::int64_t> latest_tick_{0};
  std::atomic<bool> primed_{false}, started_{false}, ended_{false};
  std::thread thread_;
};

}  // namespace bench
