// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox.hpp"

#include "actors/mailbox_options.hpp"
#include "actors/reports.hpp"
#include "runtime/log.hpp"
#include "runtime/test_points.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds store_retry{500};
/// How exactly the inbox knows when something was delivered, while nothing else is written.
constexpr milliseconds floor_noted_every{60'000};

/// One for all mailboxes of a thread: it is empty between messages, and what is used every time stays in the cache.
outbox_effects& effects() {
  thread_local outbox_effects shared;
  return shared;
}

/// The conversation of one mailbox; a value made for each message so that handlers stay a line.
class turn {
public:
  turn() : self_(running<mailbox_self>()), state_(self_->state), parts_(*state_.parts), now_(self_->clock().now()) { effects().clear(); }

  outbox& owed() { return *state_.owed; }
  outbox_effects& out() { return effects(); }
  steady_time now() const { return now_; }
  mailbox_state& state() { return state_; }
  const services& parts() const { return parts_; }
  mailbox_self* self() { return self_; }

  void load() {
    parts_.store.load(
        state_.birth.user, parts_.options.delivery.window * 2,
        [me = caf::actor_cast<mailbox_actor>(self_)](result<stored_mailbox> what) { caf::anon_send(me, mailbox_read{std::move(what)}); });
  }

  /// Carries out what the outbox wants, then sees to the alarm.
  void finish() {
    if (state_.birth.suspect) clear_suspicion_in_time();
    count();
    send_pushes();
    send_receipts();
    read_page();
    if (state_.desk || out().recount) attend_inbox();
    if (state_.overdue) attend_overdue();
    save();
    rest();
    ring();
  }

  void add_session(const attach& x) {
    auto who = caf::actor_cast<session_actor>(x.session);
    if (state_.draining) {
      self_->send(who, not_attached{{ec::stopping, "the server drains", {}}});
      return;
    }
    const auto slot = owed().attach(x.resume, now_, out());
    if (!slot) {
      self_->send(who, not_attached{{ec::queue_full, "this user has too many sessions", {}}});
      return;
    }
    self_->monitor(x.session);
    state_.sessions.push_back({x.session, x.where == self_->where() ? x.out : nullptr, *slot, x.counts});
    note_hot();
    if (owed().is_loaded()) greet(state_.sessions.back());
  }

  /// What a push to the first session touches.
  void note_hot() {
    const auto* out = state_.sessions.empty() ? nullptr : state_.sessions.front().out.get();
    self_->keep_hot({out, out != nullptr ? out->socket() : nullptr});
  }

  /// Only a loaded mailbox knows its floor; so sessions that came before wait for it.
  void greet(const mailbox_state::session& x) {
    self_->send(caf::actor_cast<session_actor>(x.who), attached{self_->ctrl(), state_.birth.user, owed().floor(), counts()});
  }

  void drop_session(const caf::actor_addr& who) {
    const auto found = std::find_if(state_.sessions.begin(), state_.sessions.end(), [&](const auto& x) { return x.who == who; });
    if (found == state_.sessions.end()) return;
    owed().detach(found->slot, now_);
    if (state_.desk) state_.desk->forget(found->slot);
    self_->demonitor(who);
    state_.sessions.erase(found);
    note_hot();
  }

  std::optional<unsigned> slot_of_sender() const {
    for (const auto& x : state_.sessions)
      if (x.who == self_->current_sender()) return x.slot;
    return std::nullopt;
  }

  inbox_desk& desk() {
    if (!state_.desk) state_.desk = std::make_unique<inbox_desk>(parts_, inbox_record{}, false);
    return *state_.desk;
  }

  void answer_inbox(const std::vector<inbox::reply>& replies) {
    const failure too_many{ec::too_large, "the inbox would hold too many separate marks; mark them with up_to", {}};
    for (const auto& session : state_.sessions) {
      inbox_answered batch;
      for (const auto& x : replies)
        if (x.slot == session.slot) batch.answers.emplace_back(x.request, x.refused ? std::optional(too_many) : std::nullopt);
      if (!batch.answers.empty()) self_->send(caf::actor_cast<session_actor>(session.who), std::move(batch));
    }
  }

private:
  server::counts counts() { return {owed().unread(), owed().unseen()}; }

  void attend_inbox() {
    if (out().recount) desk().count(owed());
    if (desk().is_dirty()) owed().write_record();
    answer_inbox(desk().take_replies());
    desk().ask(state_.birth.user, caf::actor_cast<mailbox_actor>(self_), now_);
  }

  void attend_overdue() {
    state_.overdue->ask(state_.birth.user, caf::actor_cast<mailbox_actor>(self_));
    if (state_.overdue->is_idle()) state_.overdue.reset();
  }

  void count() {
    const auto& x = out();
    if (x.superseded > 0) {
      parts_.counts.superseded.add(static_cast<double>(x.superseded));
      state_.superseded += x.superseded;
    }
    if (x.acked > 0) parts_.counts.acked.add(static_cast<double>(x.acked));
    if (x.repeated > 0) parts_.counts.ack_repeats.add(static_cast<double>(x.repeated));
    if (x.timed_out > 0) parts_.counts.ack_timeouts.add(static_cast<double>(x.timed_out));
    for (const auto reason : x.buried) count_buried(reason);
    for (const auto& [pushed_at, appended] : x.acked_times) parts_.counts.push_to_ack.observe(now_ - pushed_at);
    if (x.pushes.empty()) return;
    parts_.counts.pushed.add(static_cast<double>(x.pushes.size()));
    if (x.redelivered > 0) parts_.counts.redelivered.add(static_cast<double>(x.redelivered));
    const auto wall = wall_now();
    for (const auto& p : x.pushes)
      if (p.attempt == 1 && !p.redelivered) parts_.counts.publish_to_push.observe(milliseconds{wall.value - p.what->appended.value});
  }

  void count_buried(dead_reason reason) {
    const auto& counts = parts_.counts;
    counts.dead.add();
    ++state_.given_up[static_cast<std::size_t>(reason)];
    const counter* by_reason = nullptr;
    if (reason == dead_reason::max_attempts) by_reason = &counts.attempts_exhausted;
    if (reason == dead_reason::nacked) by_reason = &counts.given_up_nacked;
    if (reason == dead_reason::expired) by_reason = &counts.expired;
    if (reason == dead_reason::overflow) by_reason = &counts.overflowed;
    if (reason == dead_reason::poison) by_reason = &counts.poisoned;
    if (by_reason != nullptr) by_reason->add();
  }

  /// Long enough without a failure: the window opens again.
  void clear_suspicion_in_time() {
    if (now_ < state_.suspect_until) return;
    state_.birth.suspect.reset();
    owed().widen(parts_.options.delivery.window);
  }

  void send_pushes() {
    thread_local push_messages batch;  // given away only to another lane
    // Empty, unless a push threw: what it left must not go to the next mailbox's user.
    batch.messages.clear();
    batch.counts.reset();
    auto& pushes = out().pushes;
    if (!pushes.empty()) crash_point("push");
    if (seeded_bug("reordered-push")) std::reverse(pushes.begin(), pushes.end());
    for (auto& session : state_.sessions) {
      for (auto& p : pushes)
        if (p.slot == session.slot) batch.messages.push_back({p.what, p.attempt, p.redelivered && !seeded_bug("flag-dropped")});
      if (session.counts && out().counts_changed) batch.counts = counts();
      if (batch.messages.empty() && !batch.counts) continue;
      if (state_.birth.suspect && !batch.messages.empty()) state_.birth.suspect->in_hand = batch.messages.front().what->seq;
      if (session.out)
        session.out->push(batch);
      else
        self_->send(caf::actor_cast<session_actor>(session.who), std::exchange(batch, {}));
      batch.messages.clear();
      batch.counts.reset();
    }
    if (state_.birth.suspect) state_.birth.suspect->in_hand = {};
  }

  void send_receipts() {
    if (!out().receipts.empty()) crash_point("receipt");
    for (auto& session : state_.sessions) {
      acks_saved batch;
      for (auto& r : out().receipts)
        if (r.slot == session.slot) {
          server::receipt x{r.request, {}, std::move(r.ids)};
          if (r.up_to) x.up_to.emplace_back(state_.birth.user, r.up_to);
          batch.receipts.push_back(std::move(x));
        }
      if (!batch.receipts.empty()) self_->send(caf::actor_cast<session_actor>(session.who), std::move(batch));
    }
  }

  void read_page() {
    if (const auto& x = out().read)
      parts_.store.read(state_.birth.user, x->after, x->limit,
                        [me = caf::actor_cast<mailbox_actor>(self_)](result<stored_page> page) { caf::anon_send(me, page_read{std::move(page)}); });
    if (const auto& x = out().read_newest)
      parts_.store.history(
          state_.birth.user, history_query{{}, {x->upto.value + 1}, {}, {}, x->limit, true},
          [me = caf::actor_cast<mailbox_actor>(self_)](result<stored_history> page) { caf::anon_send(me, newest_read{std::move(page)}); });
  }

  void save() {
    if (!owed().wants_save() || now_ < state_.save_not_before || lingers()) return;
    state_.lingers_until.reset();
    const auto when = owed().save_is_urgent() ? urgency::now : urgency::soon;
    auto record = owed().begin_save(state_.birth.user, out());
    if (seeded_bug("skipped-hole") && !record.acked.above().empty()) record.acked.raise(record.acked.above().back().upto);
    std::vector<dead_letter> dead;
    if (!out().to_bury.empty()) {
      const auto wall = parts_.clock.time_at(now_);
      for (const auto& x : out().to_bury) dead.push_back(dead_letter_of(x, wall));
    }
    auto inbox = inbox_with(record);
    self_->send(state_.birth.writer, save_cursor{std::move(record), when, std::move(dead), std::move(inbox)});
  }

  /// The inbox is written with the cursor, in one batch and under one version.
  std::shared_ptr<const inbox_record> inbox_with(const cursor_record& record) {
    const bool note_floor = now_ >= state_.note_floor_at;
    if (note_floor) state_.note_floor_at = now_ + floor_noted_every;
    if (!state_.desk && !note_floor && out().to_bury.empty() && out().replaced.empty()) return nullptr;
    return desk().begin_save(record, out().to_bury, out().replaced, note_floor);
  }

  /// Two acks a second are one write a second: each write costs the store, the WRITER and this mailbox a visit.
  bool lingers() {
    if (owed().save_is_urgent() || state_.sessions.empty() || state_.draining) return false;
    if (!state_.lingers_until) state_.lingers_until = now_ + parts_.options.delivery.ack_linger;
    return now_ < *state_.lingers_until;
  }

  /// Nobody is there: first the horizon is closed durably, then the SHARD is asked whether the mailbox may go.
  void rest() {
    if (!state_.sessions.empty()) {
      state_.idle_since = now_;
      return;
    }
    if (!state_.draining && now_ < state_.idle_since + parts_.options.delivery.passivate_after) return;
    if (!owed().horizon_is_closed()) {
      owed().close_horizon();
      state_.note_floor_at = now_;
      save();
    }
    if (!owed().is_idle() || ((state_.overdue || (state_.desk && !state_.desk->is_idle())) && !state_.draining)) return;
    if (state_.draining) {
      self_->quit();
      return;
    }
    state_.idle_since = now_;
    self_->send(state_.birth.shard, offer_passivation{state_.birth.user, state_.seen});
  }

  void ring() {
    auto at = owed().next_due();
    const auto consider = [&](steady_time x) { at = at ? std::min(*at, x) : x; };
    // Until it is idle something else brings it here again.
    if (state_.sessions.empty() && owed().is_idle() && !state_.overdue) consider(state_.idle_since + parts_.options.delivery.passivate_after);
    if (state_.desk)
      if (const auto due = state_.desk->next_due()) consider(*due);
    if (owed().wants_save()) consider(std::max(state_.save_not_before, state_.lingers_until.value_or(now_)));
    if (!at || *at >= state_.rings_at) return;
    state_.rings_at = std::max(*at, now_);
    self_->ring_at(state_.rings_at);
  }

  mailbox_self* self_;
  mailbox_state& state_;
  const services& parts_;
  steady_time now_;
};

/// While the store is away every mailbox that is asked for fails, so few of them say so.
void note_load_failure(const address& user, const failure& why) {
  static log_throttle throttle{std::chrono::seconds(10)};
  if (const auto missed = throttle.pass())
    log_line(log_level::warn, "mailbox", "load-failed")
        .with("user", user.text())
        .with("why", to_string(why))
        .with("missed", *missed)
        .with("effect", "its messages wait, it is loaded again and again until the store answers");
}

void loaded(const result<stored_mailbox>& what) {
  turn now;
  auto& state = now.state();
  if (now.owed().is_loaded()) return;
  if (!what) {
    if (what.error().code != ec::stopping && state.load_failures++ == 0) note_load_failure(state.birth.user, what.error());
    state.rings_at = now.now() + store_retry;
    now.self()->ring_at(state.rings_at);
    return;
  }
  now.parts().counts.mailboxes_loaded.add();
  // A cursor of before there were inbox records says what was read, and loses that with its next write.
  const bool unsaved = what->inbox.version == 0 && what->record.read_upto;
  if (what->inbox.version != 0 || unsaved) state.desk = std::make_unique<inbox_desk>(now.parts(), what->inbox, unsaved);
  state.note_floor_at = now.now() + floor_noted_every;
  now.owed().load(*what, state.birth.open_horizon, now.now(), now.out());
  for (const auto& session : state.sessions) now.greet(session);
  now.finish();
}

void rang() {
  turn now;
  now.state().rings_at = steady_time::max();
  if (!now.owed().is_loaded()) {
    now.load();
    return;
  }
  now.owed().tick(now.now(), now.out());
  now.finish();
}

void saved(bool durable) {
  turn now;
  auto& state = now.state();
  if (!durable) {
    now.owed().save_failed();
    if (state.desk) state.desk->saved(false, now.owed());
    state.save_not_before = now.now() + store_retry;
  } else {
    now.owed().saved(now.now(), now.out());
    if (state.desk) now.answer_inbox(state.desk->saved(true, now.owed()));
  }
  now.finish();
}

void ended(const caf::down_msg& x) {
  turn now;
  now.drop_session(x.source);
  now.finish();
}

/// One for all mailboxes (see on_lane::resume): nothing is captured.
mailbox_actor::behavior_type make_behavior() {
  return {
      [](const deliver& x) {
        turn now;
        ++now.state().seen;
        now.owed().deliver(x.messages, now.now(), now.out());
        if (now.owed().is_loaded()) now.finish();
      },
      [](const attach& x) {
        turn now;
        ++now.state().seen;
        now.add_session(x);
        if (now.owed().is_loaded()) now.finish();
      },
      [](detach) {
        turn now;
        now.drop_session(caf::actor_cast<caf::actor_addr>(now.self()->current_sender()));
        if (now.owed().is_loaded()) now.finish();
      },
      [](const ack_messages& x) {
        turn now;
        if (const auto slot = now.slot_of_sender()) {
          now.owed().ack(*slot, x.request, x.up_to, x.ids, now.now(), now.out());
          if (now.owed().is_loaded()) now.finish();
        }
      },
      [](const nack_messages& x) {
        turn now;
        now.parts().counts.nacked.add(static_cast<double>(x.ids.size()));
        now.owed().nack(x.ids, now.now(), now.out(), now.slot_of_sender().value_or(outbox::slots_max), {x.reason, x.retry_in});
        if (now.owed().is_loaded()) now.finish();
      },
      [](const extend_deadlines& x) {
        turn now;
        now.owed().in_progress(now.slot_of_sender().value_or(outbox::slots_max), x.ids, now.now());
        if (now.owed().is_loaded()) now.finish();
      },
      [](const change_inbox& x) {
        turn now;
        const auto slot = now.slot_of_sender();
        if (!slot || !now.owed().is_loaded()) return;  // not greeted yet, or gone
        auto what = x.what;
        what.slot = *slot;
        if (auto why = now.desk().change(std::move(what)))
          now.self()->send(caf::actor_cast<session_actor>(now.self()->current_sender()), inbox_answered{{{x.what.request, std::move(why)}}});
        now.finish();
      },
      [](const judge_expired& x) {
        turn now;
        auto& state = now.state();
        ++state.seen;
        // Who is woken for this alone goes as soon as it is done.
        if (!now.owed().is_loaded() && state.sessions.empty()) state.idle_since = now.now() - now.parts().options.delivery.passivate_after;
        if (!state.overdue) state.overdue = std::make_unique<expiry_desk>(now.parts());
        for (const auto& one : x.users) state.overdue->add(one);
        if (now.owed().is_loaded()) now.finish();
      },
      [](const overdue_read& x) {
        turn now;
        if (now.state().overdue) now.state().overdue->read(x.page, now.owed(), now.now(), now.out());
        now.finish();
      },
      [](writes_settled) { turn{}.load(); },
      [](const mailbox_read& x) { loaded(x.what); },
      [](const page_read& x) {
        turn now;
        if (x.page)
          now.owed().page(*x.page, now.now(), now.out());
        else
          now.owed().page_failed(now.now());
        now.finish();
      },
      [](const newest_read& x) {
        turn now;
        if (x.page)
          now.owed().newest(x.page->messages, now.now(), now.out());
        else
          now.owed().newest_failed(now.now());
        now.finish();
      },
      [](const unread_counted& x) {
        turn now;
        now.desk().counted(x.what, now.owed(), now.out(), now.now());
        now.finish();
      },
      [](const places_read& x) {
        turn now;
        now.desk().places(x.what, now.now());
        now.finish();
      },
      [](cursor_saved x) { saved(x.durable); },
      [](alarm) { rang(); },
      [](passivate) {
        auto* self = running<mailbox_self>();
        crash_point("passivation");
        self->state.parts->counts.mailboxes_passivated.add();
        self->quit();
      },
      [](drain) {
        turn now;
        auto& state = now.state();
        state.draining = true;
        while (!state.sessions.empty()) now.drop_session(caf::actor_cast<caf::actor_addr>(state.sessions.back().who));
        if (now.owed().is_loaded())
          now.finish();
        else
          now.self()->quit();
      },
      [](const look_at_mailbox&) {
        const auto* self = running<mailbox_self>();
        return mailbox_report{describe_mailbox(self->state.birth.user, *self->state.owed, self->state.given_up, self->state.superseded,
                                               self->state.sessions.size(), self->clock().now())};
      },
      [](look) -> actor_report {
        auto* self = running<mailbox_self>();
        auto& state = self->state;
        actor_report x{"mailbox", std::string(state.birth.user.text()), {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"in_flight", state.owed->in_flight_count()}, {"queued", state.owed->queued_count()}, {"sessions", state.sessions.size()}};
        return x;
      },
  };
}

}  // namespace

mailbox_actor::behavior_type mailbox(mailbox_self* self, const services* parts, mailbox_birth birth) {
  auto& state = self->state;
  state.parts = parts;
  state.birth = std::move(birth);
  state.owed.emplace(outbox_options_of(*parts, state.birth.suspect.get()), jitter);
  state.suspect_until = self->clock().now() + parts->options.delivery.mailbox_restart_window;
  state.idle_since = self->clock().now();
  self->set_down_handler(ended);
  if (state.birth.replaces_dead)
    self->send(state.birth.writer, settle_writes{});
  else
    turn{}.load();
  static const auto shared = make_behavior();
  return shared;
}

}  // namespace doorstep
