// SPDX-License-Identifier: Apache-2.0
#include "actors/channel_sends.hpp"

#include "runtime/test_points.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace doorstep {

namespace {

/// What one lane's sockets get of a turn.
struct parcel {
  struct item {
    std::shared_ptr<outlet> to;
    std::uint32_t frame;
  };
  struct number {
    std::shared_ptr<outlet> to;
    server::counts what;
  };
  lane* where;
  std::vector<item> items;
  std::vector<number> numbers;
};

parcel& parcel_for(std::vector<parcel>& parcels, lane* where) {
  const auto found = std::find_if(parcels.begin(), parcels.end(), [&](const auto& x) { return x.where == where; });
  return found != parcels.end() ? *found : parcels.emplace_back(parcel{where, {}, {}});
}

/// Under suspicion the SHARD has to know which message to blame.
void note_in_hand(const channel_state& state, const shared_push& x) {
  if (state.birth.suspect) state.birth.suspect->in_hand = x.what().what->seq;
}

std::vector<shared_push_ptr> push_frames(channel_self* self, audience_effects& out, std::vector<parcel>& parcels) {
  if (out.pushes.empty()) return {};
  crash_point("channel-push");
  auto& state = self->state;
  std::vector<shared_push_ptr> frames;
  frames.reserve(out.frames.size());
  for (auto& frame : out.frames)
    frames.push_back(std::make_shared<const shared_push>(server::push{std::move(frame.what), frame.attempt, frame.redelivered}));
  std::size_t count = 0;
  for (const auto& p : out.pushes) {
    for (const auto& session : state.sessions[p.to]) {
      if (p.session != 0 && p.session != session.number) continue;
      ++count;
      if (session.where != self->where()) {
        parcel_for(parcels, session.where).items.push_back({session.out, p.frame});
        continue;
      }
      note_in_hand(state, *frames[p.frame]);
      session.out->push_shared(frames[p.frame]);
    }
  }
  state.parts->counts.channel_pushed.add(static_cast<double>(count));
  return frames;
}

}  // namespace

void push_to_sessions(channel_self* self, audience_effects& out, const std::vector<channel_counts::change>& changes) {
  if (out.pushes.empty() && changes.empty()) return;
  auto& state = self->state;
  std::vector<parcel> parcels;
  const auto frames = push_frames(self, out, parcels);
  for (const auto& x : changes) {
    const server::counts what{x.what.unread, x.what.unseen};
    for (const auto& session : state.sessions[x.who]) {
      if (!session.counts || session.waits) continue;
      if (session.where == self->where())
        session.out->channel_counts(state.birth.of, what);
      else
        parcel_for(parcels, session.where).numbers.push_back({session.out, what});
    }
  }
  for (auto& one : parcels) {
    for (const auto& item : one.items) {  // what throws is this channel's failure, not the other lane's
      note_in_hand(state, *frames[item.frame]);
      frames[item.frame]->native();
    }
    auto& loop = one.where->where();
    loop.post([frames, of = state.birth.of, items = std::move(one.items), numbers = std::move(one.numbers)] {
      for (const auto& item : items) item.to->push_shared(frames[item.frame]);
      for (const auto& item : numbers) item.to->channel_counts(of, item.what);
    });
  }
  if (state.birth.suspect) state.birth.suspect->in_hand = {};
}

}  // namespace doorstep
