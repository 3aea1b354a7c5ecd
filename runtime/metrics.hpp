// SPDX-License-Identifier: Apache-2.0
// Everything that is counted, once, by its name in docs. Thread-safe; prometheus-cpp stays in the .cpp.
#pragma once

#include "runtime/outages.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace doorstep {

class counter {
public:
  void add(double n = 1) const;
  double value() const;
  prometheus::Counter* impl = nullptr;
};

class gauge {
public:
  void set(double x) const;
  void add(double n) const;
  double value() const;
  prometheus::Gauge* impl = nullptr;
};

class histogram {
public:
  void observe(std::chrono::nanoseconds x) const;  ///< exported in seconds
  prometheus::Histogram* impl = nullptr;
};

/// One instance a process (a test makes its own). Names: doorstep_<what>[_total].
class metrics {
public:
  metrics();
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  // along the data's way
  counter records_in, records_routed, records_no_recipient, records_malformed;
  counter published_in;  ///< events over HTTP
  counter unmatched;     ///< events that no rule matches
  counter appended, duplicates, replays, append_failures;
  counter log_commits, store_commits;  ///< transactions, each one fsync
  counter pushed, redelivered, acked, ack_repeats, nacked, dead, ack_timeouts;
  counter attempts_exhausted, given_up_nacked, expired, overflowed, poisoned;  ///< dead letters of messages, by reason
  counter superseded;
  counter dead_requeued, dead_purged, dead_mirrored;
  counter frames_in, frames_out, bytes_out, frames_refused;
  counter sessions_opened, sessions_closed, sessions_refused, tokens_refused;
  counter sessions_denied, commands_forbidden, tickets_made, tickets_refused;
  counter jwks_fetches, jwks_failures, hook_asked, hook_failures;
  counter retained_out, dead_retained_out, log_retained_out;  ///< messages, dead letters, log records that retention removed
  counter devices_registered, devices_forgotten, devices_refused;
  counter mailboxes_loaded, mailboxes_passivated, actor_restarts;
  counter http_requests, http_refused;
  counter channel_pushed, channel_acked, channel_redelivered, channel_gaps, channel_expired, channel_reads, channel_dead;
  gauge channels, channel_readers;
  gauge mailboxes, sessions, in_flight;
  gauge log_queue, log_queue_max, store_queue, connections, connections_max, dead_letters;
  gauge store_backlog, store_backlog_max, store_backlog_bytes, store_backlog_bytes_max;
  gauge ready, started_after_crash;
  histogram publish_to_push, push_to_ack, commit_time;

  /// A gauge with labels, made at first use: lag and credit a source partition.
  gauge partition_gauge(const std::string& name, const std::string& help, const std::string& source, const std::string& topic, int partition);
  /// How many events a rule matched, and how many messages it made of them; the same name gives the same counters.
  struct route_counters {
    counter matches, messages;
  };
  route_counters of_route(const std::string& rule);
  /// Those that of_route() gave are not to be used any more: the rules in force have none of this name.
  void forget_route(const std::string& rule);
  gauge shard_gauge(const std::string& name, const std::string& help, unsigned shard);

  /// What does not work at the moment; the gauge doorstep_outage has a label for each part that ever failed.
  outages away;

  /// Prometheus text format 0.0.4.
  std::string text() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
