// SPDX-License-Identifier: Apache-2.0
// A record_sink on a Kafka topic. Records may land twice and in any order; they carry keys. A broker that is away is an outage that ends by itself.
#pragma once

#include "runtime/metrics.hpp"
#include "storage/record_sink.hpp"

#include <memory>
#include <string>
#include <vector>

namespace doorstep {

struct kafka_sink_options {
  std::string part;  ///< what it is called in lines, thread and outages
  std::string brokers, topic;
  std::vector<std::string> kafka_options;
  std::string effect;  ///< what it means that it is away
};

/// Does not connect. @returns ec::bad_config where librdkafka does not take an option.
result<std::unique_ptr<record_sink>> make_kafka_sink(kafka_sink_options options, metrics& counts);

}  // namespace doorstep
