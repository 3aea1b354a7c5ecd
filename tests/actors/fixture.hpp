// SPDX-License-Identifier: Apache-2.0
// A house in one thread with a virtual clock: actors on CAF's test scheduler, log and store in memory. Nothing moves but by settle() and pass().
#pragma once

#include "actors/node.hpp"
#include "actors/reaper.hpp"
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "actors/writer.hpp"
#include "runtime/log.hpp"
#include "tests/support/memory_log.hpp"
#include "tests/support/memory_store.hpp"

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace doorstep::test {

/// What a client would have seen.
class fake_connection final : public connection {
public:
  void send(const std::vector<server::event>& events) override {
    for (const auto& x : events) {
      if (const auto* hello = std::get_if<server::connected>(&x)) connected.push_back(*hello);
      if (const auto* receipt = std::get_if<server::receipt>(&x)) receipts.push_back(*receipt);
      if (const auto* count = std::get_if<server::counts>(&x)) {
        unread.push_back(count->unread);
        unseen.push_back(count->unseen);
      }
      if (const auto* end = std::get_if<server::done>(&x)) done.push_back(end->id);
      if (const auto* error = std::get_if<server::error>(&x)) errors.push_back(*error);
      if (const auto* in = std::get_if<server::joined>(&x)) joined.push_back(*in);
      if (const auto* out = std::get_if<server::left>(&x)) left.push_back(*out);
      if (const auto* hole = std::get_if<server::gap>(&x)) gaps.push_back(*hole);
      if (const auto* past = std::get_if<server::history>(&x)) histories.push_back(*past);
    }
  }
  void push(const std::vector<server::push>& messages) override {
    for (const auto& x : messages)
      if (poison.contains(x.what->what->id)) throw std::runtime_error("poison");
    pushes.insert(pushes.end(), messages.begin(), messages.end());
  }
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
  test_system_config() { set("scheduler.policy", caf::atom("testing")); }
};

class house_in_a_bottle : public testing::Test {
protected:
  struct client_device {
    session_actor actor;
    std::shared_ptr<fake_connection> seen = std::make_shared<fake_connection>();
    std::shared_ptr<connection_handler> handler;
  };

  explicit house_in_a_bottle(bool store_shares_log = true, memory_log_options log = {}) : log_(log), store_(log_, store_shares_log) {
    set_log_output("off", "text");
  }

  void SetUp() override {
    auto make_writer = &writer;
    auto make_shard = &shard;
    auto make_router = &doorstep::router;
    auto make_node = &doorstep::node;
    writer_ = spawn_on(system_, nullptr, make_writer, &parts_);
    shards_.push_back(spawn_on(system_, nullptr, make_shard, &parts_, shard_birth{shard_id{0}, 0, writer_}));
    router_ = spawn_on(system_, nullptr, make_router, &parts_);
    auto make_reaper = &reaper;
    caf::actor_config plain, plain_too;
    reaper_ = system_.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain, make_reaper, &parts_, shards_);
    node_ = system_.spawn_functor<caf::no_spawn_options>(
        std::true_type{}, plain_too, make_node,
        node_birth{{writer_}, shards_, router_, reaper_, mirror_, [this](std::string why) { fatal_ = std::move(why); }});
    caf::anon_send(shards_[0], alarm{});
    settle();
  }

  /// Expiry is judged by the virtual clock.
  void anchor_clock() { parts_.clock = {sched().clock().now(), wall_now()}; }

  void TearDown() override {
    for (auto& x : clients_) x.handler->closed();
    settle();
    caf::anon_send_exit(node_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(router_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(reaper_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(writer_, caf::exit_reason::user_shutdown);
    for (auto& box : boxes()) caf::anon_send_exit(box, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(shards_[0], caf::exit_reason::user_shutdown);
    settle();
    node_ = nullptr;
    router_ = nullptr;
    reaper_ = nullptr;
    writer_ = nullptr;
    shards_.clear();
    clients_.clear();
    settle();
  }

  /// Runs actors, log and store until nothing is left to do at this moment.
  void settle() {
    bool more = true;
    while (more) {
      more = sched().run() > 0;
      more = log_.run() || more;
      more = store_.run() || more;
    }
  }
  void pass(milliseconds time) {
    sched().advance_time(time);
    settle();
  }

  void open(client_device& x) {
    auto made = open_session(system_, nullptr, &parts_, x.seen, &shards_);
    x.actor = std::move(made.actor);
    x.handler = std::move(made.handler);
  }
  client_device& connect(const std::string& user, client::connect request = {}) {
    clients_.emplace_back();
    auto& x = clients_.back();
    open(x);
    x.handler->connected(std::move(request), identity{user, {}});
    settle();
    return x;
  }
  void disconnect(client_device& x) {
    x.handler->closed();
    x.handler = std::make_shared<nobody>();
    settle();
  }
  void say(client_device& x, client::command what) {
    x.handler->commands({std::move(what)});
    settle();
  }
  void ack_up_to(client_device& x, const std::string& user, sequence seq, request_id id = 1) {
    say(x, client::ack{id, {{address::user(user).value(), seq}}, {}});
  }

  /// How often alice's cursor was written.
  std::uint64_t versions() const { return store_.record_of(address::user("alice").value()).version; }

  static event made_event(const std::string& id, const std::string& to) {
    event x;
    x.id = id;
    x.source = "/test";
    x.type = "test";
    x.extensions = {{"touser", to}};
    x.data = "{}";
    return x;
  }
  result<std::vector<publish_outcome>> publish(std::vector<event> events) {
    result<std::vector<publish_outcome>> outcome = failure{ec::internal, "never answered", {}};
    caf::anon_send(router_, publish_events{std::move(events), [&](auto x) { outcome = std::move(x); }});
    settle();
    return outcome;
  }
  void publish_to(const std::string& user, const std::string& id) { ASSERT_TRUE(publish({made_event(id, user)})); }

  /// Handles of the loaded mailboxes, read from the state of the SHARD, which is at rest.
  std::vector<mailbox_actor> boxes() {
    std::vector<mailbox_actor> all;
    auto* self = dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]));
    if (self != nullptr && !self->getf(caf::abstract_actor::is_terminated_flag))
      for (auto& [user, entry] : self->state.boxes) all.push_back(entry.box);
    return all;
  }

  caf::scheduler::test_coordinator& sched() { return static_cast<caf::scheduler::test_coordinator&>(system_.scheduler()); }

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

private:
  struct nobody final : connection_handler {
    void connected(client::connect, identity) override {}
    void commands(std::vector<client::command>) override {}
    void refreshed(request_id, identity) override {}
    void closed() override {}
  };
};

}  // namespace doorstep::test
