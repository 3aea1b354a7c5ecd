// SPDX-License-Identifier: Apache-2.0
// librdkafka's objects as owned pointers, and its settings as values: what the files that talk to it share. Included by storage/kafka_*.cpp only.
#pragma once

#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_topic_partition_list_s;
struct rd_kafka_message_s;
struct rd_kafka_error_s;
struct rd_kafka_op_s;
struct rd_kafka_queue_s;

namespace doorstep {

struct kafka_deleter {
  void operator()(rd_kafka_conf_s* x) const;
  void operator()(rd_kafka_topic_partition_list_s* x) const;
  void operator()(rd_kafka_message_s* x) const;
  void operator()(rd_kafka_error_s* x) const;
  void operator()(rd_kafka_op_s* x) const;  ///< rd_kafka_event_t
  void operator()(rd_kafka_queue_s* x) const;
};
template <class T>
using kafka_owned = std::unique_ptr<T, kafka_deleter>;

using kafka_settings = std::vector<std::pair<std::string, std::string>>;
/// Appends what the configuration says as "name=value"; the last value of a name counts.
void add_kafka_options(kafka_settings& to, const std::vector<std::string>& options);

/// @returns ec::bad_config with librdkafka's sentence, naming `who`, where it does not take a setting.
result<kafka_owned<rd_kafka_conf_s>> make_kafka_conf(const std::string& who, const kafka_settings& settings);
/// librdkafka 2.0.2 now and then never comes back from a destroy after a close (its main thread spins), so this waits a bounded time and goes on without it.
void destroy_kafka(rd_kafka_s* doomed);

inline int as_kafka_ms(milliseconds x) { return static_cast<int>(x.count()); }

}  // namespace doorstep
