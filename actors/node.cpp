// SPDX-License-Identifier: Apache-2.0
#include "actors/node.hpp"

#include "actors/gathering.hpp"
#include "runtime/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace doorstep {

namespace {

/// A look waits no longer than this for one child.
constexpr std::chrono::seconds look_timeout{2};

void child_ended(node_self self, const caf::down_msg& x) {
  auto& state = self->state;
  if (state.sessions.erase(x.source) > 0) return;
  std::erase_if(state.partitions, [&](const partition_actor& p) { return p == x.source; });
  const bool expected = !x.reason || x.reason == caf::exit_reason::user_shutdown;
  if (expected || state.draining) return;
  log_line(log_level::error, "node", "actor-failed")
      .with("actor", caf::to_string(x.source))
      .with("why", caf::to_string(x.reason))
      .with("effect", "the process ends");
  if (auto tell = std::exchange(state.birth.fatal, nullptr)) tell(caf::to_string(x.reason));
}

caf::typed_response_promise<actor_report> gather(node_self self) {
  auto& state = self->state;
  auto all = std::make_shared<gathering>();
  all->top = {"node", "0", {}, 0, self->mailbox().size(), state.age.now(), {}};
  all->top.numbers = {{"sessions", state.sessions.size()}, {"partitions", state.partitions.size()}, {"draining", state.draining ? 1 : 0}};
  all->left = state.birth.writers.size() + state.birth.shards.size() + state.partitions.size() + (state.birth.mirror ? 3 : 2);
  all->promise = self->make_response_promise<actor_report>();
  for (const auto& who : state.birth.writers) ask_for_report(self, all, who, look_timeout);
  for (const auto& who : state.birth.shards) ask_for_report(self, all, who, look_timeout);
  ask_for_report(self, all, state.birth.router, look_timeout);
  ask_for_report(self, all, state.birth.reaper, look_timeout);
  if (state.birth.mirror) ask_for_report(self, all, state.birth.mirror, look_timeout);
  for (const auto& who : state.partitions) ask_for_report(self, all, who, look_timeout);
  return all->promise;
}

/// Asks every session, and counts those that were meant.
caf::typed_response_promise<disconnected> disconnect(node_self self, const disconnect_sessions& x) {
  struct counting {
    std::size_t left, ended = 0;
    caf::typed_response_promise<disconnected> promise;
    void arrived(std::size_t count) {
      ended += count;
      if (--left == 0) promise.deliver(disconnected{ended});
    }
  };
  const auto all = std::make_shared<counting>(counting{self->state.sessions.size() + 1, 0, self->make_response_promise<disconnected>()});
  for (const auto& [address, who] : self->state.sessions)
    self->request(who, look_timeout, x)
        .then([all](const disconnected& y) { all->arrived(y.count); }, [all](const caf::error&) { all->arrived(0); });  // it was gone already
  all->arrived(0);
  return all->promise;
}

}  // namespace

node_actor::behavior_type node(node_self self, node_birth birth) {
  auto& state = self->state;
  state.birth = std::move(birth);
  for (const auto& who : state.birth.writers) self->monitor(who);
  for (const auto& who : state.birth.shards) self->monitor(who);
  self->monitor(state.birth.router);
  self->monitor(state.birth.reaper);
  if (state.birth.mirror) self->monitor(state.birth.mirror);
  self->set_down_handler([=](const caf::down_msg& x) { child_ended(self, x); });
  return {
      [=](const watch_partition& x) {
        self->monitor(x.who);
        self->state.partitions.push_back(x.who);
      },
      [=](const watch_session& x) {
        self->monitor(x.who);
        self->state.sessions.emplace(x.who->address(), x.who);
      },
      [=](const send_away& x) {
        for (const auto& [address, who] : self->state.sessions) self->send(who, x);
      },
      [=](join_channels x) {
        for (const auto& [address, who] : self->state.sessions) self->send(who, x);
      },
      [=](const disconnect_sessions& x) { return disconnect(self, x); },
      [=](drain) -> caf::result<drained> {
        auto& s = self->state;
        s.draining = true;
        s.shards_left = s.birth.shards.size();
        s.drained_promise = self->make_response_promise<drained>();
        for (const auto& who : s.birth.shards) caf::anon_send(who, begin_drain{self->ctrl()});
        return s.drained_promise;
      },
      [=](const drained& x) {
        auto& s = self->state;
        if (s.shards_left > 0 && --s.shards_left == 0) s.drained_promise.deliver(x);
      },
      [=](look) { return gather(self); },
  };
}

}  // namespace doorstep
