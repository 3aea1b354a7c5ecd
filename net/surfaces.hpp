// SPDX-License-Identifier: Apache-2.0
// What the HTTP surfaces ask of the rest of the house, as interfaces that actors/ fills in. Callbacks come from any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/event.hpp"

#include <functional>
#include <string>
#include <vector>

namespace doorstep {

/// One published event: what became of it.
struct publish_outcome {
  std::string event_id;
  std::size_t accepted = 0;    ///< messages made and durable
  std::size_t duplicates = 0;  ///< messages that were accepted before, within the dedup window
};

/// POST /v1/events. The failure's field names the event and attribute ("[2].touser").
class intake {
public:
  virtual ~intake() = default;
  /// `done` is called once, after the messages of all the events are fsynced; ec::queue_full when the log's queue is full, then nothing was taken.
  virtual void publish(std::vector<event> events, std::function<void(result<std::vector<publish_outcome>>)> done) = 0;
};

/// The read-only looks: each answers with a JSON document.
class inspection {
public:
  virtual ~inspection() = default;
  using answer = std::function<void(result<std::string>)>;
  virtual void actors(answer done) = 0;                                                     ///< GET /v1/actors
  virtual void mailbox(const std::string& user, answer done) = 0;                           ///< GET /v1/mailboxes/<user>
  virtual void dead_letters(const std::string& after, std::size_t limit, answer done) = 0;  ///< GET /v1/dead-letters
  /// GET /health/ready: the reasons why not, empty when ready. Any thread, does not block.
  virtual std::vector<std::string> not_ready() const = 0;
  virtual bool started() const = 0;  ///< GET /health/startup
  /// Called before each scrape, so that gauges are fresh. Any thread, does not block.
  virtual void refresh_metrics() = 0;
};

}  // namespace doorstep
