// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox.hpp"

#include "actors/mailbox_counts.hpp"
#include "actors/mailbox_options.hpp"
#include "actors/mailbox_sends.hpp"
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
        state_.birth.box, state_.keeps_inbox_only ? 0 : parts_.options.delivery.window * 2,
        [me = caf::actor_cast<mailbox_actor>(self_)](result<stored_mailbox> what) { caf::anon_send(me, mailbox_read{std::move(what)}); });
  }

  /// Carries out what the outbox wants, then sees to the alarm.
  void finish() {
    if (state_.birth.suspect) clear_suspicion_in_time();
    count_effects(out(), parts_.counts, state_, now_);
    send_pushes(self_, out(), counts());
    send_receipts(self_, out());
    read_page();
    if (!state_.device && (state_.desk || out().recount)) attend_inbox();
    if (state_.overdue) attend_overdue();
    if (state_.device && state_.device->is_note_due(now_, !state_.sessions.empty())) owed().write_record();
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
    drop_session(caf::actor_cast<caf::actor_addr>(x.session));  // one that asks again, because another mailbox of its user failed
    const auto slot = state_.keeps_inbox_only ? std::optional(state_.next_slot++) : owed().attach(x.resume, now_, out());
    if (!slot) {
      self_->send(who, not_attached{{ec::queue_full, "this user has too many sessions", {}}});
      return;
    }
    self_->monitor(x.session);
    state_.sessions.push_back({x.session, x.where == self_->where() ? x.out : nullptr, *slot, x.counts && !state_.device});
    note_hot();
    state_.has_devices = state_.has_devices || state_.keeps_inbox_only;
    if (state_.device) state_.device->note_seen(now_);
    if (std::exchange(state_.dormant, false)) load();
    if (owed().is_loaded()) greet(state_.sessions.back());
  }

  /// Nobody needs this mailbox, and there is nothing to be written: it is read again should somebody come before it goes.
  void go_dormant() {
    state_.dormant = true;
    offer();
    state_.rings_at = now_ + parts_.options.delivery.passivate_after;
    self_->ring_at(state_.rings_at);
  }

  void refuse_all(const not_attached& why) {
    parts_.counts.devices_refused.add(static_cast<double>(state_.sessions.size()));
    while (!state_.sessions.empty()) {
      self_->send(caf::actor_cast<session_actor>(state_.sessions.back().who), why);
      drop_session(caf::actor_cast<caf::actor_addr>(state_.sessions.back().who));
    }
  }

  /// What a push to the first session touches.
  void note_hot() {
    const auto* out = state_.sessions.empty() ? nullptr : state_.sessions.front().out.get();
    self_->keep_hot({out, out != nullptr ? out->socket() : nullptr});
  }

  /// Only a loaded mailbox knows its floor; so sessions that came before wait for it. A device is greeted when the store knows it.
  void greet(const mailbox_state::session& x) {
    if (state_.device && !state_.device->is_registered()) return;
    if (state_.keeps_inbox_only) {
      self_->send(caf::actor_cast<session_actor>(x.who), inbox_attached{self_->ctrl(), counts()});
      return;
    }
    self_->send(caf::actor_cast<session_actor>(x.who), attached{self_->ctrl(), state_.birth.user, owed().floor(), counts()});
  }

  void drop_session(const caf::actor_addr& who) {
    const auto found = std::find_if(state_.sessions.begin(), state_.sessions.end(), [&](const auto& x) { return x.who == who; });
    if (found == state_.sessions.end()) return;
    owed().detach(found->slot, now_);
    if (state_.desk) state_.desk->forget(found->slot);
    self_->demonitor(who);
    state_.sessions.erase(found);
    if (state_.device) state_.device->note_seen(now_);
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

  void offer() { self_->send(state_.birth.shard, offer_passivation{state_.birth.box, state_.seen}); }

private:
  server::counts counts() { return {owed().unread(), owed().unseen()}; }

  void attend_inbox() {
    if (out().recount) desk().count(owed());
    if (desk().is_dirty()) owed().write_record();
    answer_inbox(self_, desk().take_replies());
    desk().ask(state_.birth.user, caf::actor_cast<mailbox_actor>(self_), now_);
  }

  void attend_overdue() {
    state_.overdue->ask(state_.birth.user, caf::actor_cast<mailbox_actor>(self_));
    if (state_.overdue->is_idle()) state_.overdue.reset();
  }

  /// Long enough without a failure: the window opens again.
  void clear_suspicion_in_time() {
    if (now_ < state_.suspect_until) return;
    state_.birth.suspect.reset();
    owed().widen(parts_.options.delivery.window);
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
    auto record = owed().begin_save(state_.birth.box, out());
    if (state_.device) state_.device->sign(record, now_, !state_.sessions.empty());
    if (seeded_bug("skipped-hole") && !record.acked.above().empty()) record.acked.raise(record.acked.above().back().upto);
    std::vector<dead_letter> dead;
    if (!out().to_bury.empty()) {
      const auto wall = parts_.clock.time_at(now_);
      for (const auto& x : out().to_bury) dead.push_back(dead_letter_of(x, wall));
      if (state_.device) state_.device->sign(dead, state_.birth.box);
    }
    auto inbox = inbox_with(record);
    self_->send(state_.birth.writer, save_cursor{std::move(record), when, std::move(dead), std::move(inbox), state_.has_devices});
  }

  /// The inbox is written with the cursor, in one batch and under one version.
  std::shared_ptr<const inbox_record> inbox_with(const cursor_record& record) {
    const bool note_floor = now_ >= state_.note_floor_at && !state_.keeps_inbox_only;
    if (note_floor) state_.note_floor_at = now_ + floor_noted_every;
    if (state_.device) {
      if (auto note = state_.device->note(record, out().to_bury, out().replaced, note_floor)) self_->send(state_.birth.shard, std::move(*note));
      return nullptr;
    }
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
    offer();
  }

  void ring() {
    auto at = owed().next_due();
    const auto consider = [&](steady_time x) { at = at ? std::min(*at, x) : x; };
    // Until it is idle something else brings it here again.
    if (state_.sessions.empty() && owed().is_idle() && !state_.overdue) consider(state_.idle_since + parts_.options.delivery.passivate_after);
    if (state_.desk)
      if (const auto due = state_.desk->next_due()) consider(*due);
    if (state_.device && !state_.sessions.empty()) consider(state_.device->next_due());
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

/// A device that the store does not have: is anybody here for it, and may it come?
bool admit(turn& now, const stored_mailbox& what) {
  auto& state = now.state();
  if (state.device->is_one_too_many(what))
    now.refuse_all(
        {{ec::queue_full, "this user has as many devices as there may be (delivery.devices_max)", "device"}, close_code::too_many_devices});
  if (is_registered(what.record) || !state.sessions.empty()) return true;
  now.go_dormant();
  return false;
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
  if (state.device && !admit(now, *what)) return;
  now.parts().counts.mailboxes_loaded.add();
  // A cursor of before there were inbox records says what was read, and loses that with its next write.
  const bool unsaved = what->inbox.version == 0 && what->record.read_upto;
  if (!state.device && (what->inbox.version != 0 || unsaved)) state.desk = std::make_unique<inbox_desk>(now.parts(), what->inbox, unsaved);
  state.note_floor_at = now.now() + floor_noted_every;
  if (state.device)
    now.owed().load(state.device->start(*what, state.birth.open_horizon, now.now()), state.birth.open_horizon, now.now(), now.out());
  else if (state.keeps_inbox_only)
    now.owed().load(start_of_keeper(*what, state.birth.open_horizon), state.birth.open_horizon, now.now(), now.out());
  else
    now.owed().load(*what, state.birth.open_horizon, now.now(), now.out());
  state.has_devices = state.has_devices || (state.keeps_inbox_only && what->devices != 0);
  if (state.has_devices) state.overdue.reset();  // they are told themselves
  if (state.device && !state.device->is_registered()) now.owed().write_record();
  for (const auto& note : std::exchange(state.early_notes, {})) now.desk().note(note);
  for (const auto& session : state.sessions) now.greet(session);
  now.finish();
}

void rang() {
  turn now;
  now.state().rings_at = steady_time::max();
  if (now.state().dormant) {
    now.go_dormant();
    return;
  }
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
    if (state.device && state.device->saved()) {
      now.parts().counts.devices_registered.add();
      for (const auto& session : state.sessions) now.greet(session);
    }
    if (state.desk) answer_inbox(now.self(), state.desk->saved(true, now.owed()));
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
      [](const note_in_inbox& x) {
        turn now;
        ++now.state().seen;
        if (!now.owed().is_loaded()) {
          now.state().early_notes.push_back(x);
          return;
        }
        now.desk().note(x);
        now.finish();
      },
      [](const judge_expired& x) {
        turn now;
        auto& state = now.state();
        ++state.seen;
        if (state.dormant || state.has_devices) return;
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
        actor_report x{"mailbox", readable(state.birth.box), {}, 0, self->mailbox().size(), state.age.now(), {}};
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
  if (acks_by_device(parts->options.delivery)) {
    state.keeps_inbox_only = state.birth.box == state.birth.user;
    if (!state.keeps_inbox_only) state.device = std::make_unique<device_desk>(*parts);
  }
  state.owed.emplace(outbox_options_of(*parts, state.birth.suspect.get(), state.keeps_inbox_only), jitter);
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
