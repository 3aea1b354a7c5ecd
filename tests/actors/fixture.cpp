// SPDX-License-Identifier: Apache-2.0
// The bodies of fixture.hpp, compiled once for all suites of actors.
#include "tests/actors/fixture.hpp"

#include "actors/reaper.hpp"
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/writer.hpp"
#include "runtime/log.hpp"

#include <caf/send.hpp>

#include <stdexcept>
#include <utility>

namespace doorstep::test {

namespace {

struct nobody final : connection_handler {
  void connected(client::connect, identity) override {}
  void commands(std::vector<client::command>) override {}
  void refreshed(request_id, identity) override {}
  void closed() override {}
};

}  // namespace

void fake_connection::send(const std::vector<server::event>& events) {
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

void fake_connection::push(const std::vector<server::push>& messages) {
  for (const auto& x : messages)
    if (poison.contains(x.what->what->id)) throw std::runtime_error("poison");
  pushes.insert(pushes.end(), messages.begin(), messages.end());
}

test_system_config::test_system_config() { set("scheduler.policy", caf::atom("testing")); }

house_in_a_bottle::house_in_a_bottle(bool store_shares_log, memory_log_options log) : log_(log), store_(log_, store_shares_log) {
  set_log_output("off", "text");
}
house_in_a_bottle::~house_in_a_bottle() = default;

void house_in_a_bottle::SetUp() {
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

void house_in_a_bottle::TearDown() {
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

void house_in_a_bottle::settle() {
  bool more = true;
  while (more) {
    more = sched().run() > 0;
    more = log_.run() || more;
    more = store_.run() || more;
  }
}

void house_in_a_bottle::pass(milliseconds time) {
  sched().advance_time(time);
  settle();
}

void house_in_a_bottle::open(client_device& x) {
  auto made = open_session(system_, nullptr, &parts_, x.seen, &shards_);
  x.actor = std::move(made.actor);
  x.handler = std::move(made.handler);
}

house_in_a_bottle::client_device& house_in_a_bottle::connect(const std::string& user, client::connect request) {
  clients_.emplace_back();
  auto& x = clients_.back();
  open(x);
  x.handler->connected(std::move(request), identity{user, {}});
  settle();
  return x;
}

void house_in_a_bottle::disconnect(client_device& x) {
  x.handler->closed();
  x.handler = std::make_shared<nobody>();
  settle();
}

void house_in_a_bottle::say(client_device& x, client::command what) {
  x.handler->commands({std::move(what)});
  settle();
}

void house_in_a_bottle::ack_up_to(client_device& x, const std::string& user, sequence seq, request_id id) {
  say(x, client::ack{id, {{address::user(user).value(), seq}}, {}});
}

event house_in_a_bottle::made_event(const std::string& id, const std::string& to) {
  event x;
  x.id = id;
  x.source = "/test";
  x.type = "test";
  x.extensions = {{"touser", to}};
  x.data = "{}";
  return x;
}

result<std::vector<publish_outcome>> house_in_a_bottle::publish(std::vector<event> events) {
  result<std::vector<publish_outcome>> outcome = failure{ec::internal, "never answered", {}};
  caf::anon_send(router_, publish_events{std::move(events), [&](auto x) { outcome = std::move(x); }});
  settle();
  return outcome;
}

std::vector<mailbox_actor> house_in_a_bottle::boxes() {
  std::vector<mailbox_actor> all;
  auto* self = dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]));
  if (self != nullptr && !self->getf(caf::abstract_actor::is_terminated_flag))
    for (auto& [user, entry] : self->state.boxes) all.push_back(entry.box);
  return all;
}

void house_in_a_bottle::anchor_clock() { parts_.clock = {sched().clock().now(), wall_now()}; }
std::uint64_t house_in_a_bottle::versions() const { return store_.record_of(address::user("alice").value()).version; }
void house_in_a_bottle::publish_to(const std::string& user, const std::string& id) { ASSERT_TRUE(publish({made_event(id, user)})); }
caf::scheduler::test_coordinator& house_in_a_bottle::sched() { return static_cast<caf::scheduler::test_coordinator&>(system_.scheduler()); }

}  // namespace doorstep::test
