// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox_sends.hpp"

#include "runtime/test_points.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

void send_pushes(mailbox_self* self, outbox_effects& out, const server::counts& counts) {
  auto& state = self->state;
  thread_local push_messages batch;  // given away only to another lane
  // Empty, unless a push threw: what it left must not go to the next mailbox's user.
  batch.messages.clear();
  batch.counts.reset();
  auto& pushes = out.pushes;
  if (!pushes.empty()) crash_point("push");
  if (seeded_bug("reordered-push")) std::reverse(pushes.begin(), pushes.end());
  for (auto& session : state.sessions) {
    for (auto& p : pushes)
      if (p.slot == session.slot) batch.messages.push_back({p.what, p.attempt, p.redelivered && !seeded_bug("flag-dropped")});
    if (session.counts && out.counts_changed) batch.counts = counts;
    if (batch.messages.empty() && !batch.counts) continue;
    if (state.birth.suspect && !batch.messages.empty()) state.birth.suspect->in_hand = batch.messages.front().what->seq;
    if (session.out)
      session.out->push(batch);
    else
      self->send(caf::actor_cast<session_actor>(session.who), std::exchange(batch, {}));
    batch.messages.clear();
    batch.counts.reset();
  }
  if (state.birth.suspect) state.birth.suspect->in_hand = {};
}

void send_receipts(mailbox_self* self, outbox_effects& out) {
  if (!out.receipts.empty()) crash_point("receipt");
  for (auto& session : self->state.sessions) {
    acks_saved batch;
    for (auto& r : out.receipts)
      if (r.slot == session.slot) {
        server::receipt x{r.request, {}, std::move(r.ids)};
        if (r.up_to) x.up_to.emplace_back(self->state.birth.user, r.up_to);
        batch.receipts.push_back(std::move(x));
      }
    if (!batch.receipts.empty()) self->send(caf::actor_cast<session_actor>(session.who), std::move(batch));
  }
}

void answer_inbox(mailbox_self* self, const std::vector<inbox::reply>& replies) {
  const failure too_many{ec::too_large, "the inbox would hold too many separate marks; mark them with up_to", {}};
  for (const auto& session : self->state.sessions) {
    inbox_answered batch;
    for (const auto& x : replies)
      if (x.slot == session.slot) batch.answers.emplace_back(x.request, x.refused ? std::optional(too_many) : std::nullopt);
    if (!batch.answers.empty()) self->send(caf::actor_cast<session_actor>(session.who), std::move(batch));
  }
}

}  // namespace doorstep
