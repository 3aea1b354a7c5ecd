// SPDX-License-Identifier: Apache-2.0
// What the HTTP surfaces ask of the rest of the house, as interfaces that actors/ fills in. Callbacks come from any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/event.hpp"
#include "runtime/message.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

/// One published event: what became of it.
struct publish_outcome {
  std::string event_id;
  std::size_t accepted = 0;    ///< messages made and durable
  std::size_t duplicates = 0;  ///< messages that were accepted before, within the dedup window
  bool unmatched = false;      ///< there are routes, and none matches it
};

/// A request to publish.
struct published {
  std::vector<event> events;
  std::shared_ptr<const std::vector<header>> headers{};  ///< where intake::reads_headers(), without credentials
};

/// POST /v1/events. The failure's field names the event and attribute ("[2].touser").
class intake {
public:
  virtual ~intake() = default;
  /// `done` is called once, after the messages of all the events are fsynced; ec::queue_full when the log's queue is full, then nothing was taken.
  virtual void publish(published what, std::function<void(result<std::vector<publish_outcome>>)> done) = 0;
  /// Whether it matters what headers a request has. Any thread.
  virtual bool reads_headers() const { return false; }
};

/// Which dead letters a request means: those of `ids`, else those that every given part lets through, oldest first.
struct dead_letter_filter {
  std::vector<std::string> ids;
  std::string after;  ///< `next` of the former page
  std::size_t limit = 100;
  std::string user, topic;
  std::optional<dead_reason> reason;
  std::optional<unix_ms> since, until;  ///< when it was given up: at or after / before
  bool requeued_too = false;
};

/// Whose sessions an operator ends.
struct disconnect_request {
  std::string kind;  ///< "user", "role", "group" or "session"
  std::string name;
  std::string reason;      ///< for the client
  bool may_return = true;  ///< else it is told not to come back
};

/// Looks, and what an operator does with dead letters: each answers with a JSON document.
class inspection {
public:
  virtual ~inspection() = default;
  using answer = std::function<void(result<std::string>)>;
  virtual void actors(answer done) = 0;                                          ///< GET /v1/actors
  virtual void mailbox(const std::string& user, answer done) = 0;                ///< GET /v1/mailboxes/<user>
  virtual void dead_letters(dead_letter_filter which, answer done) = 0;          ///< GET /v1/dead-letters
  virtual void dead_letter(std::string id, answer done) = 0;                     ///< GET /v1/dead-letters/<id>
  virtual void requeue_dead_letters(dead_letter_filter which, answer done) = 0;  ///< ec::unsupported: one that cannot be
  virtual void purge_dead_letters(dead_letter_filter which, answer done) = 0;
  virtual void disconnect(disconnect_request whom, answer done) = 0;  ///< POST /v1/admin/disconnect: {"disconnected":2}
  virtual void reload(answer done) = 0;                               ///< POST /v1/admin/reload; ec::bad_config: nothing has changed
  /// GET /health/ready: the reasons why not, empty when ready. Any thread, does not block.
  virtual std::vector<std::string> not_ready() const = 0;
  virtual bool started() const = 0;  ///< GET /health/startup
  /// Called before each scrape, so that gauges are fresh. Any thread, does not block.
  virtual void refresh_metrics() = 0;
};

}  // namespace doorstep
