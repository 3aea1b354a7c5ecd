// SPDX-License-Identifier: Apache-2.0
// librdkafka's consumer in our words: plain values in and out, so that its users are only about what to do. Everything is called on the user's own
// thread, but wake(). What holds for librdkafka 2.0.2 (Debian 12) and is minded here: no batch consume (with pause and resume it skips offsets), no
// cooperative rebalancing (crashes on an early close), offsets are neither stored nor committed by themselves.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "storage/kafka_handles.hpp"
#include "storage/record_source.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// An offset of the group, with the text that is kept beside it.
struct group_offset {
  topic_partition what;
  std::int64_t offset = -1;  ///< -1: none
  std::string metadata;
};

/// What one poll brought.
struct polled {
  enum class kind : std::uint8_t {
    nothing,
    record,
    missing_topic,  ///< a subscribed topic is not there, or must not be read
    fault,          ///< something else; `text` says it
  };
  kind what = kind::nothing;
  std::string_view topic;  ///< until the next poll
  std::int32_t partition = -1;
  source_record record;
  std::string text;
};

/// Called from within poll() and close().
class kafka_events {
public:
  virtual ~kafka_events() = default;
  /// Must call kafka_client::assign().
  virtual void gained(std::vector<topic_partition> partitions) = 0;
  /// After it returns the partitions are given up. `taken` = the group has given them to somebody else already.
  virtual void losing(std::vector<topic_partition> partitions, bool taken) = 0;
  /// `down` = no broker can be reached or none lets us in; else only a line for the log.
  virtual void trouble(bool down, const std::string& why) = 0;
  /// librdkafka has ended this client for good (another process joined with our group.instance.id).
  virtual void ended(const std::string& why) = 0;
};

class kafka_client {
public:
  /// @returns ec::bad_config with librdkafka's sentence where it does not take an option.
  static result<std::unique_ptr<kafka_client>> make(const source_config& config, kafka_events& events);
  static result<std::unique_ptr<kafka_client>> make(const std::string& who, const kafka_settings& settings, kafka_events& events);
  ~kafka_client();
  kafka_client(const kafka_client&) = delete;
  kafka_client& operator=(const kafka_client&) = delete;

  result<void> subscribe(const std::vector<std::string>& topics);
  polled poll(milliseconds timeout);
  /// Ends a poll that waits, or else the next one. Any thread.
  void wake();

  /// What the group has committed; asks the broker.
  result<std::vector<group_offset>> committed(const std::vector<topic_partition>& partitions, milliseconds timeout);
  /// Reads each partition from its offset on; -1 = from the beginning.
  void assign(const std::vector<group_offset>& from);
  void pause(const topic_partition& what);
  void resume(const topic_partition& what);
  /// What was fetched before and not polled yet is dropped.
  result<void> seek(const topic_partition& what, std::int64_t offset);

  /// Sends a commit; its outcome comes by commit_outcome(). One at a time.
  void commit(const std::vector<group_offset>& offsets);
  /// Waits at most so long for the outcome of the last commit. @returns none while it is not there; a failure where any offset was refused.
  std::optional<result<void>> commit_outcome(milliseconds timeout);

  struct span {
    std::int64_t low = -1, end = -1;
  };
  /// Asks the broker which offsets it has.
  result<span> offsets_of(const topic_partition& what, milliseconds timeout);
  /// What the last fetch said, -1 = nothing yet. Any thread.
  std::int64_t known_end(const topic_partition& what) const;
  bool answers(milliseconds timeout);

  /// Why librdkafka has ended this client for good, if it has. Cheap.
  std::optional<std::string> fatal_error() const;

  /// Leaves the group (losing() is called for what is held).
  void close();

private:
  struct impl;
  explicit kafka_client(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
