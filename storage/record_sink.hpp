// SPDX-License-Identifier: Apache-2.0
// Where records go that somebody else is to have as well: the mirror of the dead letters. Implementation: kafka_sink.
// Threads: produce() may be called from any thread and never blocks; callbacks run on the sink's own thread and must not block.
#pragma once

#include "runtime/error.hpp"
#include "storage/log_record.hpp"

#include <functional>
#include <optional>
#include <vector>

namespace doorstep {

/// What became of each record, in their order: nothing where all in-sync replicas have it, else why nobody knows that. ec::too_large: it never will be taken.
using record_outcomes = std::vector<std::optional<failure>>;

class record_sink {
public:
  virtual ~record_sink() = default;
  /// Takes them all; `done` is called once, when something is known of each. While the brokers are away that takes as long as they are.
  virtual void produce(std::vector<encoded_record> records, std::function<void(record_outcomes)> done) = 0;
  /// Gives up what is under way (its callers are told) and stops the thread. What is produced after this fails with ec::stopping.
  virtual void stop() = 0;
};

}  // namespace doorstep
