// SPDX-License-Identifier: Apache-2.0
#include "actors/house.hpp"

#include "actors/dead_letters.hpp"
#include "actors/mailbox_look.hpp"
#include "actors/mirror.hpp"
#include "actors/node.hpp"
#include "actors/reaper.hpp"
#include "actors/reloader.hpp"
#include "actors/reports.hpp"
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "actors/source_door.hpp"
#include "actors/writer.hpp"
#include "runtime/log.hpp"

#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

struct system_config : caf::actor_system_config {
  explicit system_config(std::size_t workers) {
    // An atom: as a string it would be refused with only a printed warning. Work stealing collapses past 10k runnable actors.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", workers);
  }
};

constexpr std::chrono::seconds look_timeout{5};

}  // namespace

struct house::impl {
  impl(const services& the_parts, std::vector<loop*> the_loops, std::vector<record_source*> the_sources)
      : parts(the_parts), loops(std::move(the_loops)), sources(std::move(the_sources)), settings(parts.options.runtime.workers), system(settings) {
    for (auto* x : loops) lanes.push_back(std::make_unique<lane>(system, *x));
  }
  ~impl() { intake_loop.stop(); }

  lane* lane_of(const loop& where) const {
    const auto found = std::find_if(lanes.begin(), lanes.end(), [&](const auto& x) { return &x->where() == &where; });
    return found == lanes.end() ? lanes.front().get() : found->get();
  }

  lane* lane_of(std::size_t shard) const { return lanes[shard % lanes.size()].get(); }

  void spawn_all(std::function<void(std::string)> fatal) {
    auto make_writer = &writer;
    auto make_shard = &shard;
    std::vector<writer_actor> writers;
    for (auto& x : lanes) writers.push_back(spawn_on(system, x.get(), make_writer, &parts));
    std::vector<shard_position> from(parts.log.shard_count());
    for (auto& position : parts.store.positions()) from.at(static_cast<std::size_t>(position.shard)) = std::move(position);
    for (std::size_t i = 0; i < from.size(); ++i)
      shards.push_back(spawn_on(system, lane_of(i), make_shard, &parts,
                                shard_birth{static_cast<shard_id>(i), from[i].next_offset, writers[i % lanes.size()], std::move(from[i].origins)}));
    auto make_router = &doorstep::router;
    router = spawn_on(system, &intake_lane, make_router, &parts);
    if (parts.options.routes)  // it begins with its first message, and a rule that nothing matches is told apart from one that is not there
      for (const auto& rule : parts.options.routes->rules) (void)parts.counts.of_route(rule.label);
    auto make_reaper = &doorstep::reaper;
    caf::actor_config plain;
    reaper = system.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain, make_reaper, &parts, shards);
    if (parts.mirror != nullptr) {
      auto make_mirror = &doorstep::mirror;
      caf::actor_config plain_mirror;
      mirror = system.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain_mirror, make_mirror, &parts);
    }
    auto make_reloader = &doorstep::reloader;
    caf::actor_config plain_too, plain_as_well;
    reloader = system.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain_as_well, make_reloader, &parts, router,
                                                           std::function<void()>([this] { caf::anon_send(node, join_channels{}); }));
    auto make_node = &doorstep::node;
    node = system.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain_too, make_node,
                                                       node_birth{writers, shards, router, reaper, mirror, std::move(fatal)});
    // A lazily spawned shard opens its log with its first message.
    for (const auto& x : shards) caf::anon_send(x, alarm{});
    mortals.assign(writers.begin(), writers.end());
  }

  const services parts;
  std::vector<loop*> loops;
  std::vector<record_source*> sources;
  system_config settings;
  caf::actor_system system;
  std::vector<std::unique_ptr<lane>> lanes;
  loop intake_loop{"intake"};  ///< parsing and rules, off the threads of the sockets
  lane intake_lane{system, intake_loop};
  std::vector<shard_actor> shards;  // not changed after start(): sessions hold a pointer to it
  std::vector<writer_actor> mortals;
  router_actor router;
  reaper_actor reaper;
  reloader_actor reloader;
  mirror_actor mirror;  ///< null where dead letters have no mirror
  node_actor node;
  std::vector<std::unique_ptr<source_door>> doors;
  std::atomic<bool> started = false, draining = false;
};

house::house(const services& parts, std::vector<loop*> loops, std::vector<record_source*> sources)
    : impl_(std::make_unique<impl>(parts, std::move(loops), std::move(sources))) {}

house::~house() = default;

void house::start(std::function<void(std::string)> fatal) { impl_->spawn_all(std::move(fatal)); }

void house::start_sources() {
  auto& x = *impl_;
  for (auto* source : x.sources) {
    const auto& all = x.parts.options.sources;
    const auto options = std::find_if(all.begin(), all.end(), [&](const source_config& s) { return s.name == source->name(); });
    x.doors.push_back(std::make_unique<source_door>(x.system, x.intake_lane, x.parts, *options, *source, x.router, x.node));
    source->start(*x.doors.back());
  }
  x.started = true;
}

void house::stop_intake() {
  impl_->draining = true;
  for (auto* source : impl_->sources) source->stop();
}

void house::send_clients_away(milliseconds spread) { caf::anon_send(impl_->node, send_away{close_code::going_away, "the server restarts", spread}); }

bool house::drain(milliseconds patience) {
  auto& x = *impl_;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  bool in_time = false;
  x.parts.store.stop_reading();
  {
    caf::scoped_actor me{x.system};
    me->request(x.node, patience, doorstep::drain{}).receive([&](const drained&) { in_time = true; }, [](const caf::error&) {});
  }
  for (const auto& who : x.shards) caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  for (const auto& who : x.mortals) caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(x.router, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(x.reaper, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(x.reloader, caf::exit_reason::user_shutdown);
  if (x.mirror) caf::anon_send_exit(x.mirror, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(x.node, caf::exit_reason::user_shutdown);
  x.shards.clear();
  x.mortals.clear();
  x.router = nullptr;
  x.reaper = nullptr;
  x.reloader = nullptr;
  x.mirror = nullptr;
  x.node = nullptr;
  x.doors.clear();
  // The lanes still run: whoever was told to end does so before the loops stop.
  while (x.system.registry().running() > 0) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds{1});
  }
  return in_time;
}

std::size_t house::running() const { return impl_->system.registry().running(); }

loop* house::home_of(const std::string& user) {
  const auto who = address::user(user);
  if (!who) return nullptr;
  return &impl_->lane_of(static_cast<std::size_t>(shard_of(*who, impl_->parts.log.shard_count())))->where();
}

std::shared_ptr<connection_handler> house::open(std::shared_ptr<connection> who, loop& where) {
  auto& x = *impl_;
  if (x.draining) return nullptr;
  auto made = open_session(x.system, x.lane_of(where), &x.parts, std::move(who), &std::as_const(x.shards));
  caf::anon_send(x.node, watch_session{std::move(made.actor)});
  return std::move(made.handler);
}

void house::publish(published what, std::function<void(result<std::vector<publish_outcome>>)> done) {
  if (impl_->draining) {
    done(failure{ec::stopping, "the server drains", {}});
    return;
  }
  caf::anon_send(impl_->router, publish_events{std::move(what.events), std::move(done), std::move(what.headers)});
}

bool house::reads_headers() const { return impl_->parts.routes->reads_headers(); }

void house::reload(answer done) {
  if (impl_->draining) {
    done(failure{ec::stopping, "the server drains", {}});
    return;
  }
  caf::anon_send(impl_->reloader, doorstep::reload{std::move(done)});
}

void house::disconnect(disconnect_request whom, answer done) {
  const auto ask = [whom = std::make_shared<const disconnect_request>(std::move(whom)), done = std::move(done)](caf::event_based_actor* self,
                                                                                                                const node_actor& node) {
    self->request(node, look_timeout, disconnect_sessions{whom})
        .then([done](const disconnected& x) { done("{\"disconnected\":" + std::to_string(x.count) + "}"); },
              [done](const caf::error& why) {
                done(failure{ec::unavailable, caf::to_string(why), {}});
              });
  };
  impl_->system.spawn(ask, impl_->node);
}

void house::actors(answer done) {
  // With an argument: for a function without one CAF 0.17.6 dereferences a null tuple.
  const auto ask = [done = std::move(done)](caf::event_based_actor* self, const node_actor& node) {
    self->request(node, look_timeout, look{})
        .then([done](const actor_report& x) { done(describe_actors(x)); },
              [done](const caf::error& why) {
                done(failure{ec::unavailable, caf::to_string(why), {}});
              });
  };
  impl_->system.spawn(ask, impl_->node);
}

void house::mailbox(const std::string& user, answer done) {
  auto who = address::user(user);
  if (!who) {
    done(who.error());
    return;
  }
  const auto where = static_cast<std::size_t>(shard_of(*who, impl_->parts.log.shard_count()));
  look_at_user(impl_->system, impl_->parts, impl_->shards[where], *who, std::move(done));
}

void house::dead_letters(dead_letter_filter which, answer done) { list_dead_letters(impl_->parts, std::move(which), std::move(done)); }
void house::dead_letter(std::string id, answer done) { show_dead_letter(impl_->parts, std::move(id), std::move(done)); }
void house::requeue_dead_letters(dead_letter_filter which, answer done) {
  doorstep::requeue_dead_letters(impl_->parts, std::move(which), std::move(done));
}
void house::purge_dead_letters(dead_letter_filter which, answer done) {
  doorstep::purge_dead_letters(impl_->parts, std::move(which), std::move(done));
}

std::vector<std::string> house::not_ready() const {
  std::vector<std::string> why;
  if (!impl_->started) why.emplace_back("starting");
  if (impl_->draining) why.emplace_back("draining");
  for (auto& x : impl_->parts.counts.away.reasons()) why.push_back(std::move(x));
  return why;
}

bool house::started() const { return impl_->started; }

void house::refresh_metrics() { impl_->parts.counts.ready.set(not_ready().empty() ? 1 : 0); }

}  // namespace doorstep
