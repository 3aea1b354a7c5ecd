// SPDX-License-Identifier: Apache-2.0
#include "actors/channel.hpp"

#include "actors/channel_sends.hpp"
#include "actors/mailbox_options.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds store_retry{500};
/// Cursors asked for in one question.
constexpr std::size_t load_max = 1024;

audience_effects& effects() {
  thread_local audience_effects shared;
  return shared;
}

audience_options audience_options_of(const services& parts, const channel_birth& birth) {
  const auto& x = parts.options.delivery;
  const auto& c = parts.options.channels;
  audience_options out;
  out.of = birth.of;
  out.known = birth.known;
  out.may_be_pushed = birth.open_horizon;
  out.window = static_cast<unsigned>(std::min<std::size_t>(window_of(x), audience::window_max));
  out.ack_timeout = x.ack_timeout;
  out.retry = {x.retry_base, x.retry_max};
  out.max_attempts = static_cast<std::uint32_t>(x.max_attempts);
  out.ttl = x.ttl;
  out.clock = parts.clock;
  out.poisoned = birth.poisoned;
  out.start = start_of(birth.of, c.start, c.starts);
  out.recent_max = c.recent_messages_max;
  out.recent_bytes_max = c.recent_bytes_max;
  out.replay_rate = c.replay_rate;
  return out;
}

class turn {
public:
  turn() : self_(running<channel_self>()), state_(self_->state), parts_(*state_.parts), now_(self_->clock().now()) { effects().clear(); }

  audience& readers() { return *state_.readers; }
  audience_effects& out() { return effects(); }
  steady_time now() const { return now_; }
  channel_state& state() { return state_; }

  void finish() {
    count();
    ask_store();
    greet();
    see_to_inboxes();
    push_to_sessions(self_, out(), state_.counts ? state_.counts->take_changes() : std::vector<channel_counts::change>());
    send_answers();
    for (const auto who : out().gone) drop_reader(who);
    save();
    rest();
    ring();
  }

  void add(const attach_reader& x) {
    if (state_.draining) {
      self_->send(caf::actor_cast<session_actor>(x.session), reader_refused{x.channel, {ec::stopping, "the server drains", {}}});
      return;
    }
    const auto address = caf::actor_cast<caf::actor_addr>(x.session);
    if (state_.places.contains(address)) return;
    const auto number = state_.next_number++;
    const auto before = readers().readers();
    const auto who = readers().attach(x.user, number, x.resume, now_, out());
    if (readers().readers() > before) parts_.counts.channel_readers.add(1);
    if (who >= state_.sessions.size()) state_.sessions.resize(who + 1);
    state_.sessions[who].push_back({x.session, x.out, x.where, number, x.counts, true});
    state_.places.emplace(address, channel_state::place{who, number});
    self_->monitor(x.session);
  }

  void remove(const caf::actor_addr& who) {
    const auto found = state_.places.find(who);
    if (found == state_.places.end()) return;
    const auto [reader, number] = found->second;
    state_.places.erase(found);
    std::erase_if(state_.sessions[reader], [n = number](const auto& x) { return x.number == n; });
    self_->demonitor(who);
    const auto& others = state_.sessions[reader];
    if (state_.counts && std::none_of(others.begin(), others.end(), [](const auto& x) { return x.counts; })) state_.counts->close(reader);
    readers().detach(reader, out());
  }

  const channel_state::place* place_of_sender() const {
    const auto found = state_.places.find(caf::actor_cast<caf::actor_addr>(self_->current_sender()));
    return found == state_.places.end() ? nullptr : &found->second;
  }

private:
  channel_actor me() const { return caf::actor_cast<channel_actor>(self_); }

  void count() {
    const auto& x = out();
    const auto& counts = parts_.counts;
    if (x.acked > 0) counts.channel_acked.add(static_cast<double>(x.acked));
    if (x.timed_out > 0) counts.ack_timeouts.add(static_cast<double>(x.timed_out));
    if (x.redelivered > 0) counts.channel_redelivered.add(static_cast<double>(x.redelivered));
    if (x.expired > 0) counts.channel_expired.add(static_cast<double>(x.expired));
    if (!x.gaps.empty()) counts.channel_gaps.add(static_cast<double>(x.gaps.size()));
    if (!x.buried.empty()) {
      counts.dead.add(static_cast<double>(x.buried.size()));
      counts.channel_dead.add(static_cast<double>(x.buried.size()));
      const auto poison = std::count(x.buried.begin(), x.buried.end(), dead_reason::poison);
      if (poison > 0) counts.poisoned.add(static_cast<double>(poison));
    }
    if (!x.reads.empty()) counts.channel_reads.add(static_cast<double>(x.reads.size()));
    if (x.pushes.empty()) return;
    const auto wall = wall_now();
    for (const auto& frame : x.frames)
      if (frame.attempt == 1 && !frame.redelivered) counts.publish_to_push.observe(milliseconds{wall.value - frame.what->appended.value});
  }

  void ask_store() {
    auto& x = out();
    state_.to_load.insert(state_.to_load.end(), x.load.begin(), x.load.end());
    load_next();
    for (const auto& read : x.reads)
      parts_.store.read(state_.birth.of, read.after, read.limit, [who = me(), after = read.after](result<stored_page> page) {
        caf::anon_send(who, recent_read{after, std::move(page)});
      });
    if (x.newest)
      parts_.store.history(state_.birth.of, history_query{{}, {x.newest->after.value + 1}, {}, {}, x.newest->limit, true},
                           [who = me()](result<stored_history> page) { caf::anon_send(who, newest_read{std::move(page)}); });
  }

  /// One question for all readers that have come since the last one.
  void load_next() {
    if (state_.loading || state_.settling || state_.to_load.empty()) return;
    state_.loading = true;
    const auto count = std::min(state_.to_load.size(), load_max);
    std::vector<reader_id> who(state_.to_load.begin(), state_.to_load.begin() + static_cast<std::ptrdiff_t>(count));
    state_.to_load.erase(state_.to_load.begin(), state_.to_load.begin() + static_cast<std::ptrdiff_t>(count));
    std::vector<address> keys;
    keys.reserve(count);
    for (const auto x : who) keys.push_back(reader_key(state_.birth.of, readers().user_of(x)));
    parts_.store.cursors(std::move(keys), [me = me(), who = std::move(who)](result<std::vector<cursor_record>> what) mutable {
      caf::anon_send(me, cursors_read{std::move(who), std::move(what)});
    });
  }

  void see_to_inboxes() {
    for (const auto& x : out().lost) state_.inboxes->lost(std::string(readers().user_of(x.who)), x.seq);
    if (state_.inboxes->is_idle() && !state_.counts) return;
    for (auto& x : state_.inboxes->take_replies()) self_->send(caf::actor_cast<session_actor>(x.to), inbox_answered{{std::move(x.answer)}});
    state_.inboxes->ask(parts_.store, me(), now_);
    const auto looked = state_.inboxes->take_looked();
    if (!state_.counts) return;
    state_.counts->looked(looked);
    state_.counts->ask(state_.birth.of, me(), now_);
    state_.counts->tick(now_);
  }

  /// Before the pushes, so that on another lane the session is told first.
  void greet() {
    for (const auto& x : out().joined) {
      for (auto& session : state_.sessions[x.who]) {
        if (!session.waits || (x.session != 0 && x.session != session.number)) continue;
        session.waits = false;
        if (session.counts) open_counts(x.who);
        self_->send(caf::actor_cast<session_actor>(session.who), reader_attached{self_->ctrl(), state_.birth.of, x.floor});
      }
    }
    for (const auto& x : out().gaps)
      for (const auto& session : state_.sessions[x.who])
        self_->send(caf::actor_cast<session_actor>(session.who), reader_gap{state_.birth.of, x.from, x.to});
  }

  void open_counts(reader_id who) {
    if (!state_.counts) state_.counts.emplace(parts_, readers(), state_.birth.poisoned, now_);
    state_.counts->open(who, *state_.inboxes);
  }

  void send_answers() {
    for (auto& x : out().answers)
      for (const auto& session : state_.sessions[x.who])
        if (session.number == x.session)
          self_->send(caf::actor_cast<session_actor>(session.who),
                      reader_acked{state_.birth.of, x.token, x.up_to, std::move(x.ids), std::move(x.unknown)});
    for (const auto& x : out().acked_elsewhere)
      for (const auto& session : state_.sessions[x.who])
        if (session.number != x.session)
          self_->send(caf::actor_cast<session_actor>(session.who), acks_saved{{server::receipt{0, {{state_.birth.of, x.up_to}}, x.ids}}});
  }

  void drop_reader(reader_id who) {
    std::vector<channel_state::session>().swap(state_.sessions[who]);
    parts_.counts.channel_readers.add(-1);
  }

  void save() {
    const bool marks = state_.inboxes->is_dirty();
    if (state_.saving || now_ < state_.save_not_before || (!marks && (!readers().wants_save() || lingers()))) return;
    state_.saving = true;
    state_.lingers_until.reset();
    const auto when = marks || readers().save_is_urgent() ? urgency::now : urgency::soon;
    auto batch = readers().begin_save(now_);
    self_->send(state_.birth.writer, save_readers{std::move(batch.cursors), std::move(batch.dead), when, state_.inboxes->begin_save()});
  }

  /// As a mailbox's: acks that nobody waits for wait for more of them.
  bool lingers() {
    if (readers().save_is_urgent() || state_.draining) return false;
    if (!state_.lingers_until) state_.lingers_until = now_ + parts_.options.delivery.ack_linger;
    return now_ < *state_.lingers_until;
  }

  bool is_idle() const {
    return state_.readers->is_idle() && state_.places.empty() && !state_.loading && !state_.saving && state_.inboxes->is_idle();
  }

  void rest() {
    // A drain does not wait for what cannot be read any more.
    if (state_.draining && readers().is_saved() && !state_.saving) {
      self_->quit();
      return;
    }
    if (!is_idle()) {
      state_.idle_since = now_;
      return;
    }
    if (now_ < state_.idle_since + parts_.options.delivery.passivate_after) return;
    state_.idle_since = now_;
    self_->send(state_.birth.shard, offer_passivation{state_.birth.of, state_.seen});
  }

  void ring() {
    auto at = readers().next_due();
    const auto consider = [&](steady_time x) { at = at ? std::min(*at, x) : x; };
    if (is_idle()) consider(state_.idle_since + parts_.options.delivery.passivate_after);
    if (state_.inboxes->is_dirty() && !state_.saving) consider(state_.save_not_before);
    if (readers().wants_save() && !state_.saving) consider(std::max(state_.save_not_before, state_.lingers_until.value_or(now_)));
    if (const auto due = state_.inboxes->next_due()) consider(*due);
    if (const auto due = state_.counts ? state_.counts->next_due(now_) : std::nullopt) consider(*due);
    if (!at || *at >= state_.rings_at) return;
    state_.rings_at = std::max(*at, now_);
    self_->ring_at(state_.rings_at);
  }

  channel_self* self_;
  channel_state& state_;
  const services& parts_;
  steady_time now_;
};

void cursors_came(const cursors_read& x) {
  turn now;
  now.state().loading = false;
  for (std::size_t i = 0; i < x.who.size(); ++i) {
    if (x.what)
      now.readers().loaded(x.who[i], (*x.what)[i], now.now(), now.out());
    else
      now.readers().load_failed(x.who[i], now.now());
  }
  now.finish();
}

void page_came(const recent_read& x) {
  turn now;
  if (x.page)
    now.readers().page(x.after, *x.page, now.now(), now.out());
  else
    now.readers().page_failed(x.after, now.now());
  now.finish();
}

void newest_came(const newest_read& x) {
  turn now;
  if (x.page)
    now.readers().newest(x.page->messages, now.now(), now.out());
  else
    now.readers().newest_failed(now.now());
  now.finish();
}

void drained_out() {
  turn now;
  now.state().draining = true;
  while (!now.state().places.empty()) now.remove(caf::actor_addr(now.state().places.begin()->first));
  now.finish();
}

channel_actor::behavior_type make_behavior() {
  return {
      [](const deliver& x) {
        turn now;
        ++now.state().seen;
        now.readers().deliver(x.messages, now.now(), now.out());
        if (now.state().counts) now.state().counts->live(x.messages, now.now());
        now.finish();
      },
      [](const attach_reader& x) {
        turn now;
        ++now.state().seen;
        now.add(x);
        now.finish();
      },
      [](detach_reader) {
        turn now;
        now.remove(caf::actor_cast<caf::actor_addr>(running<channel_self>()->current_sender()));
        now.finish();
      },
      [](const ack_reader& x) {
        turn now;
        if (const auto* place = now.place_of_sender())
          now.readers().ack(place->reader, place->number, x.token, x.up_to, x.ids, x.urgent, now.now(), now.out());
        now.finish();
      },
      [](const nack_messages& x) {
        turn now;
        if (const auto* place = now.place_of_sender()) now.readers().nack(place->reader, x.ids, {x.reason, x.retry_in}, now.now(), now.out());
        now.finish();
      },
      [](const extend_deadlines& x) {
        turn now;
        if (const auto* place = now.place_of_sender()) now.readers().in_progress(place->reader, x.ids, now.now());
        now.finish();
      },
      [](const change_inbox& x) {
        turn now;
        auto* self = running<channel_self>();
        if (const auto* place = now.place_of_sender()) {
          const std::string user(now.readers().user_of(place->reader));
          if (auto why = now.state().inboxes->change(user, self->current_sender(), x.what, wall_now()))
            self->send(caf::actor_cast<session_actor>(self->current_sender()), inbox_answered{{{x.what.request, std::move(why)}}});
        }
        now.finish();
      },
      [](writes_settled) {
        turn now;
        now.state().settling = false;
        now.finish();
      },
      [](const cursors_read& x) { cursors_came(x); },
      [](const recent_read& x) { page_came(x); },
      [](const newest_read& x) { newest_came(x); },
      [](const counted_read& x) {
        turn now;
        if (now.state().counts) now.state().counts->older(x.page, now.now());
        now.finish();
      },
      [](const reader_inbox_read& x) {
        turn now;
        now.state().inboxes->loaded(x, now.now());
        now.finish();
      },
      [](const reader_places_read& x) {
        turn now;
        now.state().inboxes->places(x, now.now());
        now.finish();
      },
      [](readers_saved x) {
        turn now;
        now.state().saving = false;
        now.state().inboxes->saved(x.durable);
        if (x.durable) {
          now.readers().saved(now.now(), now.out());
        } else {
          now.readers().save_failed();
          now.state().save_not_before = now.now() + store_retry;
        }
        now.finish();
      },
      [](alarm) {
        turn now;
        now.state().rings_at = steady_time::max();
        now.readers().tick(now.now(), now.out());
        now.finish();
      },
      [](passivate) { running<channel_self>()->quit(); },
      [](drain) { drained_out(); },
      [](const look_at_reader& x) {
        const auto& state = running<channel_self>()->state;
        reader_reports out;
        const auto who = state.readers->find(x.user);
        if (!who) return out;
        const auto at = state.readers->standing_of(*who);
        out.of.push_back({state.birth.of, at.floor, at.in_flight, at.unacked, state.sessions[*who].size(), at.more});
        return out;
      },
      [](look) -> actor_report {
        auto* self = running<channel_self>();
        const auto& state = self->state;
        actor_report x{"channel", std::string(state.birth.of.text()), {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"readers", state.readers->readers()},
                     {"sessions", state.places.size()},
                     {"recent", state.readers->recent_count()},
                     {"behind", state.readers->behind_count()}};
        return x;
      },
  };
}

}  // namespace

channel_state::~channel_state() {
  if (!readers) return;
  // Those that are still attached: it has failed.
  for (const auto& of_reader : sessions)
    for (const auto& x : of_reader) caf::anon_send(caf::actor_cast<session_actor>(x.who), channel_gone{birth.of});
  parts->counts.channels.add(-1);
  parts->counts.channel_readers.add(-static_cast<double>(readers->readers()));
}

channel_actor::behavior_type channel(channel_self* self, const services* parts, channel_birth birth) {
  auto& state = self->state;
  state.parts = parts;
  state.birth = std::move(birth);
  state.readers.emplace(audience_options_of(*parts, state.birth), jitter);
  state.inboxes.emplace(state.birth.of);
  state.idle_since = self->clock().now();
  parts->counts.channels.add(1);
  self->set_down_handler([](const caf::down_msg& x) {
    turn now;
    now.remove(x.source);
    now.finish();
  });
  if (state.birth.replaces_dead) {
    state.settling = true;
    self->send(state.birth.writer, settle_writes{});
  }
  static const auto shared = make_behavior();
  return shared;
}

}  // namespace doorstep
