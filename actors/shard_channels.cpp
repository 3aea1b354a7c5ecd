// SPDX-License-Identifier: Apache-2.0
#include "actors/shard_channels.hpp"

#include "actors/gathering.hpp"
#include "actors/shard.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

namespace doorstep {

namespace {

/// A look waits no longer than this for one channel, and asks no more of them.
constexpr std::chrono::seconds look_timeout{1};
constexpr std::size_t looked_at_max = 100;
/// Of how many a shard asks how one user stands there: each costs a message, and no actor may be kept from its readers by somebody who looks.
constexpr std::size_t asked_of_max = 4096;
/// Well below the time after which a session is greeted without its channels.
constexpr milliseconds wait_max{3000};

}  // namespace

caf::result<actor_report> report_of(shard_self* self, const services& parts) {
  const auto& state = self->state;
  actor_report own{"shard", std::to_string(static_cast<unsigned>(state.birth.id)), {}, state.restarts, self->mailbox().size(), state.age.now(), {}};
  own.numbers = {{"mailboxes", state.boxes.size()},
                 {"records", state.records},
                 {"next_offset", state.next_offset},
                 {"saved_offset", state.saved_offset},
                 {"stopped", parts.log.why_stopped(state.birth.id).empty() ? 0 : 1}};
  const auto& channels = self->state.channels.all();
  own.numbers.emplace_back("channels", static_cast<std::int64_t>(channels.size()));
  if (channels.empty()) return own;
  auto all = std::make_shared<gathering>();
  all->top = std::move(own);
  all->left = std::min(channels.size(), looked_at_max);
  all->promise = self->make_response_promise<actor_report>();
  auto left = all->left;
  for (const auto& [of, entry] : channels) {
    if (left-- == 0) break;
    ask_for_report(self, all, entry.who, look_timeout);
  }
  return all->promise;
}

caf::result<reader_reports> readers_of(shard_self* self, const look_at_reader& x) {
  const auto& channels = self->state.channels.all();
  if (channels.empty()) return reader_reports{};
  struct reports {
    reader_reports found;
    std::size_t left = 0;
    caf::typed_response_promise<reader_reports> promise;
    void arrived() {
      if (--left == 0) promise.deliver(std::move(found));
    }
  };
  auto all = std::make_shared<reports>();
  all->left = std::min(channels.size(), asked_of_max);
  all->promise = self->make_response_promise<reader_reports>();
  auto left = all->left;
  for (const auto& [of, entry] : channels) {
    if (left-- == 0) break;
    self->request(entry.who, look_timeout, x)
        .then(
            [all](reader_reports& one) {
              std::move(one.of.begin(), one.of.end(), std::back_inserter(all->found.of));
              all->arrived();
            },
            [all](const caf::error&) { all->arrived(); });
  }
  return all->promise;
}

shard_channels::entry* shard_channels::find(const address& of) {
  const auto found = all_.find(of);
  return found == all_.end() ? nullptr : &found->second;
}

shard_channels::entry& shard_channels::add(const address& of, channel_actor who) {
  owners_.emplace(who->address(), of);
  return all_.emplace(of, entry{std::move(who), 0, {}}).first->second;
}

void shard_channels::pass(const message_ptr& x) {
  const auto found = all_.find(x->to);
  if (found == all_.end()) return;
  if (found->second.outgoing.empty()) touched_.push_back(&found->second);
  found->second.outgoing.push_back(x);
}

std::optional<address> shard_channels::ended(const caf::actor_addr& who) {
  const auto found = owners_.find(who);
  if (found == owners_.end()) return std::nullopt;
  auto of = found->second;
  forget(of);
  return of;
}

milliseconds shard_channels::make_wait(const attach_reader& x, steady_time now) {
  if (waiting_.empty()) wait_until_ = now + wait_max;
  waiting_.push_back(x);
  return wait_max;
}

std::optional<milliseconds> shard_channels::still_wait(steady_time now) {
  if (waiting_.empty()) return std::nullopt;
  if (now < wait_until_) return std::chrono::ceil<milliseconds>(wait_until_ - now);
  log_read_at = 0;
  return std::nullopt;
}

void shard_channels::forget(const address& of) {
  const auto found = all_.find(of);
  if (found == all_.end()) return;
  owners_.erase(found->second.who->address());
  all_.erase(found);
}

}  // namespace doorstep
