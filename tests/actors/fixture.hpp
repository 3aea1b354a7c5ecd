// SPDX-License-Identifier: Apache-2.0
// A house in one thread with a virtual clock: actors on CAF's test scheduler, log and store in memory. Nothing moves but by settle() and pass().
#pragma once

#include "actors/interfaces.hpp"
#include "actors/node.hpp"
#include "actors/services.hpp"
#include "actors/shard.hpp"
#include "tests/support/memory_log.hpp"
#include "tests/support/memory_store.hpp"

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace doorstep::test {

/// What a client would have seen.
class fake_connection final : public connection {
public:
  void send(const std::vector<server::event>& events) override;
  void push(const std::vector<server::push>& messages) override;
  void close(close_code code, std::string, milliseconds delay) override {
    closed_with = code;
    closed_delay = delay;
  }
  std::string remote() const override { return "test"; }

  /// Event ids of all pushes so far, in their order.
  std::vector<std::string> events() const {
    std::vector<std::string> ids;
    for (const auto& x : pushes) ids.push_back(x.what->what->id);
    return ids;
  }

  std::set<std::string> poison;  ///< events that make who pushes them fail
  std::vector<server::connected> connected;
  std::vector<server::push> pushes;
  std::vector<server::receipt> receipts;
  std::vector<std::uint64_t> unread, unseen;
  std::vector<request_id> done;
  std::vector<server::error> errors;
  std::vector<server::history> histories;
  std::vector<server::joined> joined;
  std::vector<server::left> left;
  std::vector<server::gap> gaps;
  std::optional<close_code> closed_with;
  milliseconds closed_delay{};
};

struct test_system_config : caf::actor_system_config {
  test_system_config();
};

class house_in_a_bottle : public testing::Test {
protected:
  struct client_device {
    session_actor actor;
    std::shared_ptr<fake_connection> seen = std::make_shared<fake_connection>();
    std::shared_ptr<connection_handler> handler;
  };

  explicit house_in_a_bottle(bool store_shares_log = true, memory_log_options log = {});
  ~house_in_a_bottle() override;

  void SetUp() override;
  void TearDown() override;

  /// Expiry is judged by the virtual clock.
  void anchor_clock();

  /// Runs actors, log and store until nothing is left to do at this moment.
  void settle();
  void pass(milliseconds time);

  void open(client_device& x);
  client_device& connect(const std::string& user, client::connect request = {});
  void disconnect(client_device& x);
  void say(client_device& x, client::command what);
  void ack_up_to(client_device& x, const std::string& user, sequence seq, request_id id = 1);

  /// How often alice's cursor was written.
  std::uint64_t versions() const;

  static event made_event(const std::string& id, const std::string& to);
  result<std::vector<publish_outcome>> publish(std::vector<event> events);
  void publish_to(const std::string& user, const std::string& id);

  /// Handles of the loaded mailboxes, read from the state of the SHARD, which is at rest.
  std::vector<mailbox_actor> boxes();

  caf::scheduler::test_coordinator& sched();

  config options_;
  metrics counts_;
  memory_log log_;
  memory_store store_;
  services parts_{options_, counts_, log_, store_};
  test_system_config settings_;
  caf::actor_system system_{settings_};
  writer_actor writer_;
  std::vector<shard_actor> shards_;
  router_actor router_;
  reaper_actor reaper_;
  mirror_actor mirror_;  ///< null, unless a test made one before
  node_actor node_;
  std::deque<client_device> clients_;
  std::string fatal_;
};

}  // namespace doorstep::test
