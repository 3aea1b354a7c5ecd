// SPDX-License-Identifier: Apache-2.0
#include "actors/mirror.hpp"

#include "runtime/log.hpp"
#include "runtime/test_points.hpp"
#include "storage/mirror_record.hpp"

#include <caf/send.hpp>

#include <utility>

namespace doorstep {

namespace {

void look_later(mirror_self self) {
  self->state.in_hand.clear();
  self->delayed_send(self, self->state.parts->options.dead_letters.mirror_interval, alarm{});
}

void read_on(mirror_self self) {
  const auto& options = self->state.parts->options.dead_letters;
  dead_letter_query query;
  query.limit = options.mirror_batch_max;
  query.bytes_max = options.mirror_bytes_max;
  query.unmirrored = true;
  self->state.parts->store.dead_letters(std::move(query), [me = caf::actor_cast<mirror_actor>(self)](result<std::vector<dead_letter>> x) {
    caf::anon_send(me, letters_to_mirror{std::move(x)});
  });
}

void produce(mirror_self self, std::vector<encoded_record> records) {
  self->state.parts->mirror->produce(
      std::move(records), [me = caf::actor_cast<mirror_actor>(self)](record_outcomes x) { caf::anon_send(me, letters_produced{std::move(x)}); });
}

void take(mirror_self self, const letters_to_mirror& x) {
  auto& state = self->state;
  // A store that is away says so itself.
  if (!x.letters || x.letters->empty()) return look_later(self);
  state.in_hand = *x.letters;
  state.all_landed = true;
  state.second_try = false;
  std::vector<encoded_record> records;
  for (std::size_t i = 0; i < state.in_hand.size(); ++i) {
    state.under_way.push_back(i);
    records.push_back(mirror_record(state.in_hand[i]));
  }
  produce(self, std::move(records));
}

/// What is too large for the brokers goes once more, without its value: it must not hold up the others for ever.
void produced(mirror_self self, const letters_produced& x) {
  auto& state = self->state;
  std::vector<std::size_t> again;
  std::vector<encoded_record> records;
  const auto tried = std::exchange(state.under_way, {});
  for (std::size_t i = 0; i < tried.size(); ++i) {
    const auto& letter = state.in_hand[tried[i]];
    const auto& why = x.outcomes[i];
    if (!why) {
      state.marks.dead_changes.push_back({letter.id, letter.requeue, dead_letter_change::to::mirrored});
    } else if (why->code == ec::too_large && !state.second_try) {
      log_line(log_level::warn, "mirror", "too-large").with("id", letter.id).with("why", why->detail).with("effect", "mirrored without its value");
      again.push_back(tried[i]);
      records.push_back(without_value(mirror_record(letter)));
    } else {
      state.all_landed = false;  // no hurry: it was only just tried
    }
  }
  if (!again.empty()) {
    state.under_way = std::move(again);
    state.second_try = true;
    return produce(self, std::move(records));
  }
  const auto count = state.marks.dead_changes.size();
  if (count == 0) return look_later(self);
  crash_point("mirrored");
  state.parts->store.write(
      std::exchange(state.marks, {}), urgency::soon,
      [me = caf::actor_cast<mirror_actor>(self), count](const result<void>& done) { caf::anon_send(me, letters_marked{done ? count : 0}); });
}

void marked(mirror_self self, letters_marked x) {
  auto& state = self->state;
  state.mirrored += x.count;
  state.parts->counts.dead_mirrored.add(static_cast<double>(x.count));
  if (x.count == 0 || !state.all_landed) return look_later(self);
  state.in_hand.clear();
  read_on(self);
}

}  // namespace

mirror_actor::behavior_type mirror(mirror_self self, const services* parts) {
  self->state.parts = parts;
  self->delayed_send(self, milliseconds{0}, alarm{});
  return {
      [=](alarm) { read_on(self); },
      [=](const letters_to_mirror& x) { take(self, x); },
      [=](const letters_produced& x) { produced(self, x); },
      [=](letters_marked x) { marked(self, x); },
      [=](look) -> actor_report {
        auto& state = self->state;
        actor_report x{"mirror", "0", {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"mirrored", state.mirrored}, {"in_hand", state.in_hand.size()}};
        return x;
      },
  };
}

}  // namespace doorstep
