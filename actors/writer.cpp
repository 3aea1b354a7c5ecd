// SPDX-License-Identifier: Apache-2.0
#include "actors/writer.hpp"

#include "runtime/test_points.hpp"

#include <caf/send.hpp>

#include <memory>
#include <utility>

namespace doorstep {

namespace {

void flush_later(writer_self* self) {
  if (!std::exchange(self->state.flush_sent, true)) self->send(self, flush_writes{});
}

void flush(writer_self* self, const services& parts) {
  auto& state = self->state;
  state.flush_sent = false;
  const auto number = ++state.batches;
  state.under_way.emplace(number, std::exchange(state.next_waiting, {}));
  const auto duplicates = std::make_shared<std::vector<message_ptr>>();
  if (!parts.log.judges_duplicates() && !state.next.messages.empty())
    state.next.duplicates = [duplicates](std::vector<message_ptr> x) { *duplicates = std::move(x); };
  parts.store.write(std::exchange(state.next, {}), std::exchange(state.when, urgency::soon),
                    [me = caf::actor_cast<writer_actor>(self), number, duplicates](result<void> what) {
                      caf::anon_send(me, write_finished{number, what.has_value(), std::move(*duplicates)});
                    });
}

}  // namespace

writer_actor::behavior_type writer(writer_self* self, const services* parts) {
  return {
      [=](const save_cursor& x) {
        auto& state = self->state;
        if (!x.inbox_only) state.next.cursors.push_back(x.record);
        if (x.inbox) state.next.inboxes.push_back(*x.inbox);
        state.next.dead.insert(state.next.dead.end(), x.dead.begin(), x.dead.end());
        if (seeded_bug("receipt-before-durable")) {
          self->send(caf::actor_cast<mailbox_actor>(self->current_sender()), cursor_saved{true});
          if (state.next.cursors.size() >= 64) flush_later(self);
          return;
        }
        state.next_waiting.mailboxes.push_back(self->current_sender());
        if (x.when == urgency::now) state.when = urgency::now;
        flush_later(self);
      },
      [=](const save_shard& x) {
        auto& state = self->state;
        state.next.messages.insert(state.next.messages.end(), x.messages.begin(), x.messages.end());
        state.next.dead.insert(state.next.dead.end(), x.dead.begin(), x.dead.end());
        state.next.positions.push_back(x.position);
        state.next_waiting.shards.emplace_back(self->current_sender(), shard_saved{x, false});
        if (x.when == urgency::now) state.when = urgency::now;
        flush_later(self);
      },
      [=](const save_readers& x) {
        auto& state = self->state;
        state.next.cursors.insert(state.next.cursors.end(), x.records.begin(), x.records.end());
        state.next.dead.insert(state.next.dead.end(), x.dead.begin(), x.dead.end());
        state.next.inboxes.insert(state.next.inboxes.end(), x.inboxes.begin(), x.inboxes.end());
        state.next_waiting.channels.push_back(self->current_sender());
        if (x.when == urgency::now) state.when = urgency::now;
        flush_later(self);
      },
      [=](settle_writes) {
        // The store answers writes in their order, so an empty one is answered after all before it.
        self->state.next_waiting.settling.push_back(self->current_sender());
        self->state.when = urgency::now;
        flush_later(self);
      },
      [=](flush_writes) { flush(self, *parts); },
      [=](const write_finished& x) {
        auto& state = self->state;
        auto found = state.under_way.extract(x.batch);
        state.failing = !x.durable;  // the store has said why
        for (auto& who : found.mapped().mailboxes) self->send(caf::actor_cast<mailbox_actor>(who), cursor_saved{x.durable});
        for (auto& who : found.mapped().channels) self->send(caf::actor_cast<channel_actor>(who), readers_saved{x.durable});
        for (auto& who : found.mapped().settling) self->send(caf::actor_cast<mailbox_actor>(who), writes_settled{});
        for (auto& [who, what] : found.mapped().shards) {
          what.durable = x.durable;
          what.duplicates = x.duplicates;
          self->send(caf::actor_cast<shard_actor>(who), std::move(what));
        }
      },
      [=](look) -> actor_report {
        auto& state = self->state;
        actor_report x{"writer", std::to_string(self->id()), {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"batches", state.batches}, {"under_way", state.under_way.size()}, {"failing", state.failing ? 1 : 0}};
        return x;
      },
  };
}

}  // namespace doorstep
