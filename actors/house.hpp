// SPDX-License-Identifier: Apache-2.0
// The actor system with everybody in it, and the interfaces by which sockets and sources reach them. main.cpp builds one.
// start(), start_sources() and drain() are called by main's thread; the interfaces by any loop.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"
#include "net/connection.hpp"
#include "net/surfaces.hpp"
#include "storage/record_source.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace doorstep {

class house final : public front_door, public intake, public inspection {
public:
  /// Everything given must outlive the house. One lane a loop; shard n lives on lane n mod lanes.
  house(const services& parts, std::vector<loop*> loops, std::vector<record_source*> sources);
  ~house() override;  ///< drain() has been called, or start() has not

  /// Spawns writers and shards, which begin to read where the store's positions stand. `fatal` is told at most once, from any thread, when an actor that
  /// must not fail has failed.
  void start(std::function<void(std::string)> fatal);
  /// Joins the consumer groups: only after the listeners are up.
  void start_sources();

  /// From now on: not ready, no new session, no new event. Then sources commit and leave.
  void stop_intake();
  /// Asks every client to come back after a random part of `spread`.
  void send_clients_away(milliseconds spread);
  /// Ends mailboxes and shards, everything saved. @returns false when that took longer than `patience`; what was accepted is durable either way.
  bool drain(milliseconds patience);
  /// Actors that have not ended yet.
  std::size_t running() const;

  loop* home_of(const std::string& user) override;
  std::shared_ptr<connection_handler> open(std::shared_ptr<connection> who, loop& where) override;

  void publish(published what, std::function<void(result<std::vector<publish_outcome>>)> done) override;
  bool reads_headers() const override;

  void actors(answer done) override;
  void mailbox(const std::string& user, answer done) override;
  void dead_letters(dead_letter_filter which, answer done) override;
  void dead_letter(std::string id, answer done) override;
  void requeue_dead_letters(dead_letter_filter which, answer done) override;
  void purge_dead_letters(dead_letter_filter which, answer done) override;
  void disconnect(disconnect_request whom, answer done) override;
  void reload(answer done) override;
  std::vector<std::string> not_ready() const override;
  bool started() const override;
  void refresh_metrics() override;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
