// SPDX-License-Identifier: Apache-2.0
#include "actors/session.hpp"

#include "actors/session_channels.hpp"
#include "runtime/devices.hpp"
#include "runtime/log.hpp"
#include "runtime/utf8.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds reattach_delay{50};
/// A mailbox in memory is not held up for longer by channels whose cursors cannot be read.
constexpr milliseconds greet_patience{10'000};
constexpr std::size_t early_max = 256;

/// Of a session: no other has it, not even one of an earlier life of the process, so it can be looked for in the lines of both sides.
std::string session_name(caf::actor_id number) {
  static const auto life = std::random_device{}();
  char prefix[9];
  std::snprintf(prefix, sizeof prefix, "%08x", life);
  return std::string(prefix) + "-" + std::to_string(number);
}

class handler final : public connection_handler {
public:
  handler(session_actor who, std::shared_ptr<outlet> out) : who_(std::move(who)), out_(std::move(out)) {}
  void connected(client::connect request, identity id) override { caf::anon_send(who_, client_connected{std::move(request), std::move(id)}); }
  void commands(std::vector<client::command> what) override {
    if (hand_on(what)) return;
    out_->command_sent();
    caf::anon_send(who_, client_said{std::move(what)});
  }
  void refreshed(request_id request, identity id) override { caf::anon_send(who_, client_refreshed{request, std::move(id)}); }
  void closed() override { caf::anon_send(std::exchange(who_, nullptr), client_gone{}); }

private:
  /// The hot path: an ack for the user's own address goes to the MAILBOX at once, in the SESSION's name, unless what came before it still waits there.
  bool hand_on(std::vector<client::command>& what) {
    if (what.size() != 1 || !out_->may_go_direct()) return false;
    auto* ack = std::get_if<client::ack>(&what.front());
    if (ack == nullptr || (out_->reads_channels() && !ack->ids.empty()) || ack->up_to.size() != 1 || ack->up_to.front().first != out_->user())
      return false;
    out_->box()->enqueue(caf::make_mailbox_element(caf::actor_cast<caf::strong_actor_ptr>(who_), caf::make_message_id(), {},
                                                   ack_messages{ack->id, ack->up_to.front().second, std::move(ack->ids)}),
                         nullptr);
    return true;
  }

  session_actor who_;
  std::shared_ptr<outlet> out_;
};

milliseconds part_of(milliseconds spread) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return spread.count() <= 0 ? milliseconds{0} : milliseconds{static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(spread.count() + 1))};
}

bool has_control(std::string_view device) {
  char32_t point = 0;
  for (std::size_t at = 0; at < device.size();)
    if (!decode_utf8(device, at, point) || is_control(point)) return true;
  return false;
}

/// What the store's records say of each message. An ack whose time was not noted yet was not later than now.
/// @param by_device `delivered` is what one of the devices acked, as it was noted, or this one
server::history history_of(request_id request, const history_query& query, const stored_history& x, unix_ms now, bool by_device) {
  server::history out{request, {}, x.more, {}};
  for (const auto& message : x.messages) {
    server::past one{message, {}};
    for (std::size_t i = 0; i < inbox_marks_max; ++i) one.states[i] = x.inbox.marks[i].at(message->seq);
    if (!query.reader.empty())  // without a time: of before it began to read the channel
      for (auto& since : one.states)
        if (since && since->value == 0) since.reset();
    const auto state = [&](inbox_mark mark) -> auto& { return one.states[static_cast<std::size_t>(mark)]; };
    const bool acked = x.acked.is_acked(message->seq);
    if (state(inbox_mark::expired) || state(inbox_mark::dead) || state(inbox_mark::superseded) || (!acked && !by_device))
      state(inbox_mark::delivered).reset();
    else if (!state(inbox_mark::delivered) && acked && message->seq > x.since)
      state(inbox_mark::delivered) = now;
    out.messages.push_back(std::move(one));
  }
  // The lower end of what this page speaks of.
  const auto lowest = query.newest && x.more && !x.messages.empty() ? sequence{x.messages.front()->seq.value - 1} : query.after;
  if (lowest < x.gone_to) out.gone = sequence_range{lowest, x.gone_to};
  return out;
}

class turn {
public:
  turn() : self_(running<session_self>()), state_(self_->state), parts_(*state_.parts) {}

  void connected(const client_connected& x) {
    auto user = address::user(x.who.user);
    if (!user) {
      out().close(close_code::bad_token, "the token's user is no valid address", {});
      return;
    }
    state_.user = *user;
    state_.who = x.who;
    state_.request = x.request;
    if (x.request.counts) out().want_counts();
    if (by_device() && has_control(x.request.device)) {
      out().close(close_code::protocol_error, "connect.device has a control character", {});
      return;
    }
    for (const auto& [of, seq] : x.request.resume)
      if (of == state_.user) out().note_seen(seq);
    channels().look();
    if (!state_.channels.is_settled()) {
      state_.greet_by = self_->clock().now() + greet_patience;
      self_->ring_at(state_.greet_by);
    }
    attach_to_mailbox();
  }

  void attach_to_mailbox() {
    const auto where = shard_of(state_.user, static_cast<std::uint32_t>(state_.shards->size()));
    self_->send((*state_.shards)[static_cast<std::size_t>(where)], attach{self_->ctrl(), state_.user, out().seen(), state_.request.counts, state_.out,
                                                                          self_->where(), by_device() ? state_.request.device : std::string()});
  }

  void attached_to(const attached& x) {
    state_.box = caf::actor_cast<mailbox_actor>(x.mailbox);
    state_.floor = x.floor;
    if (!by_device()) out().note_counts(x.counts);
    self_->monitor(state_.box);
    begin();
  }

  void inbox_attached_to(const inbox_attached& x) {
    state_.inbox = caf::actor_cast<mailbox_actor>(x.mailbox);
    out().note_counts(x.counts);
    self_->monitor(state_.inbox);
    begin();
  }

  /// Who is greeted with a channel is owed what comes there from then on: so the greeting waits until all have answered.
  void greet_when_complete() {
    if (!state_.greeted) begin();
  }

  /// Once all that this session talks to is there.
  void begin() {
    if (!is_attached() || (!state_.greeted && !state_.channels.is_settled() && self_->clock().now() < state_.greet_by)) return;
    out().attach(state_.user, caf::actor_cast<caf::strong_actor_ptr>(state_.box));
    if (!std::exchange(state_.greeted, true))
      greet();
    else if (state_.request.counts)
      out().tell_counts();  // the user's own mailbox may have counted on meanwhile
    for (const auto& command : std::exchange(state_.early, {})) said(command);
  }

  void greet() {
    const auto& options = parts_.options;
    server::connected hello;
    hello.id = state_.request.id;
    hello.session = session_name(self_->id());
    hello.user = std::string(state_.user.id());
    hello.addresses.emplace_back(state_.user, state_.floor);
    hello.window = window_of(options.delivery);
    hello.ack_timeout = options.delivery.ack_timeout;
    hello.ping_interval = options.ws.ping_interval;
    hello.expires_at = state_.who.expires_at;
    hello.info = state_.who.info;
    std::vector<server::event> of_channels;
    channels().greet(hello, of_channels);
    std::vector<server::event> events{std::move(hello)};
    if (state_.request.counts)
      if (const auto all = out().greeting_counts()) events.emplace_back(*all);
    events.insert(events.end(), of_channels.begin(), of_channels.end());
    out().send(std::move(events));
    out().open();
  }

  /// The mailbox failed and is made anew: this session asks for it again, as a client that reconnects would.
  void mailbox_gone() {
    for (auto* x : {&state_.box, &state_.inbox})
      if (*x) self_->send(std::exchange(*x, nullptr), detach{});
    channels().mailbox_gone();
    state_.gone = true;
    out().detach();
    ring(reattach_delay);
  }

  void receipts(acks_saved x) {
    for (auto& receipt : x.receipts) channels().fold(receipt);
    if (out().add_receipts(x.receipts)) ring(parts_.options.delivery.receipt_delay);
  }

  void answered(const inbox_answered& x) {
    for (const auto& [request, why] : x.answers) {
      if (channels().mark_answered(request, why)) continue;
      why ? reply_error(request, *why) : done(request);
    }
  }

  void history_came(const history_read& x) {
    if (x.list != 0 && !x.what) {
      if (const auto request = state_.channels.drop_list(x.list)) reply_error(*request, x.what.error());
      return;
    }
    if (!x.what) return reply_error(x.request, x.what.error());
    auto page = history_of(x.request, x.query, *x.what, wall(), by_device() && x.query.reader.empty());
    if (x.list == 0) return out().send({std::move(page)});
    if (auto whole = state_.channels.add_to_list(x.list, std::move(page), static_cast<std::uint32_t>(state_.shards->size())))
      out().send({std::move(*whole)});
  }

  unix_ms wall() const { return parts_.clock.time_at(self_->clock().now()); }

  void rang() {
    state_.rings = false;
    channels().attach_missing();
    if (std::exchange(state_.gone, false)) attach_to_mailbox();
    greet_when_complete();
    out().send_waiting_receipts();
  }

  void said(const client::command& x) {
    if (is_attached() && state_.greeted) {
      std::visit([this](const auto& what) { on(what); }, x);
    } else if (state_.early.size() < early_max) {
      state_.early.push_back(x);
    } else {
      reply_error(0, {ec::queue_full, "too many commands before the mailbox is loaded", {}});
    }
  }

  void reply_error(request_id id, failure what) { out().send({server::error{id, std::move(what)}}); }

  bool by_device() const { return acks_by_device(parts_.options.delivery); }
  bool is_attached() const { return state_.box && (state_.inbox || !by_device()); }
  session_channels channels() { return {self_, parts_}; }

  outlet& out() { return *state_.out; }
  session_state& state() { return state_; }
  session_self* self() { return self_; }
  const services& parts() const { return parts_; }

  void leave() {
    for (const auto* x : {&state_.box, &state_.inbox})
      if (*x) self_->send(*x, detach{});
    channels().leave_all();
    out().forget();
    self_->quit();
  }

  bool is_meant(const disconnect_request& x) const {
    const auto has = [&](const std::vector<std::string>& names) { return std::binary_search(names.begin(), names.end(), x.name); };
    if (x.kind == "user") return state_.who.user == x.name;
    if (x.kind == "role") return has(state_.who.roles);
    return x.kind == "group" ? has(state_.who.groups) : session_name(self_->id()) == x.name;
  }

  void refused(const not_attached& x) {
    out().close(x.code.value_or(x.why.code == ec::stopping ? close_code::going_away : close_code::internal_error), x.why.detail,
                part_of(parts_.options.runtime.reconnect_spread));
  }

private:
  void on(const client::connect& x) { reply_error(x.id, {ec::malformed, "this session is connected already", "connect"}); }
  void on(const client::pong&) {}
  void on(const client::ping& x) { out().send({server::pong{x.id}}); }
  void on(const client::refresh& x) { done(x.id); }  // verified by the net floor, which called refreshed()
  void on(const client::subscribe& x) { channels().subscribe(x); }
  void on(const client::unsubscribe& x) { channels().unsubscribe(x); }
  void on(const client::unsupported& x) { reply_error(x.id, {ec::unsupported, x.what + " is not offered by this server", x.what}); }

  void on(const client::ack& x) {
    if (!state_.channels.all.empty()) return channels().ack(x);
    const auto up_to = own(x.up_to, x.id, "ack.up_to");
    if (up_to) self_->send(state_.box, ack_messages{x.id, *up_to, x.ids});
  }

  void on(const client::nack& x) {
    self_->send(state_.box, nack_messages{x.id, x.ids, x.reason, x.retry_in});
    channels().tell(nack_messages{x.id, x.ids, x.reason, x.retry_in});
    done(x.id);
  }

  void on(const client::in_progress& x) {
    self_->send(state_.box, extend_deadlines{x.ids});
    channels().tell(extend_deadlines{x.ids});
    done(x.id);
  }

  void on(const client::mark& x) { channels().mark(x); }

  void on(const client::history& x) {
    if (x.inbox) return list_inbox(x);
    auto what = x.what;
    if (x.of != state_.user) {
      if (state_.channels.find(x.of) == nullptr) {
        channels().refuse_foreign(x.id, "history.address");
        return;
      }
      what.reader = reader_key(x.of, state_.who.user);
    }
    read_history(x.of == state_.user ? own_box() : x.of, what, x.id, 0);
  }

  void list_inbox(const client::history& x) {
    const auto list = state_.channels.begin_list(x.id, x.what, 1 + state_.channels.all.size());
    if (list == 0) return reply_error(x.id, {ec::queue_full, "too many lists are being read", "history"});
    read_history(own_box(), x.what, x.id, list);
    for (const auto& one : state_.channels.all) {
      auto what = x.what;
      what.reader = reader_key(one.of, state_.who.user);
      read_history(one.of, what, x.id, list);
    }
  }

  /// Whose acks a history of the mailbox shows.
  address own_box() const { return by_device() ? device_box(state_.user, state_.request.device) : state_.user; }

  void read_history(const address& of, const history_query& what, request_id id, std::uint64_t list) {
    parts_.store.history(of, what, [me = caf::actor_cast<session_actor>(self_), id, query = what, list](result<stored_history> found) {
      caf::anon_send(me, history_read{id, query, std::move(found), list});
    });
  }

  void done(request_id id) {
    if (id != 0) out().send({server::done{id}});
  }

  /// The seq named for this user's address; any other address is refused and changes nothing.
  std::optional<sequence> own(const seq_by_address& named, request_id id, const char* field) {
    sequence found;
    for (const auto& [of, seq] : named) {
      if (of != state_.user) {
        channels().refuse_foreign(id, field);
        return std::nullopt;
      }
      found = std::max(found, seq);
    }
    return found;
  }

  void ring(milliseconds delay) {
    if (!std::exchange(state_.rings, true)) self_->ring_at(self_->clock().now() + delay);
  }

  session_self* self_;
  session_state& state_;
  const services& parts_;
};

/// One for all sessions (see on_lane::resume): nothing is captured.
session_actor::behavior_type make_behavior() {
  return {
      [](const client_connected& x) { turn{}.connected(x); },
      [](const client_said& x) {
        turn now;
        now.out().command_taken();
        for (const auto& command : x.commands) now.said(command);
      },
      [](const client_refreshed& x) {
        turn now;
        now.state().who = x.who;
        now.channels().look();
        now.greet_when_complete();
        now.said(client::refresh{x.request, {}});
      },
      [](client_gone) { turn{}.leave(); },
      [](const attached& x) { turn{}.attached_to(x); },
      [](const inbox_attached& x) { turn{}.inbox_attached_to(x); },
      [](const not_attached& x) { turn{}.refused(x); },
      [](const push_messages& x) { running<session_self>()->state.out->push(x); },
      [](const acks_saved& x) { turn{}.receipts(x); },
      [](const reader_attached& x) {
        turn now;
        now.channels().attached(x);
        now.greet_when_complete();
      },
      [](const reader_acked& x) { turn{}.channels().answered(x); },
      [](const reader_gap& x) { turn{}.channels().gap(x); },
      [](const channel_gone& x) {
        turn now;
        now.channels().failed(x.of);
        now.greet_when_complete();
      },
      [](const reader_refused& x) {
        turn now;
        if (auto why = now.channels().refused(x)) return now.refused({std::move(*why)});
        now.greet_when_complete();
      },
      [](join_channels) {
        turn now;
        now.channels().look();
        now.greet_when_complete();
      },
      [](const inbox_answered& x) { turn{}.answered(x); },
      [](const history_read& x) { turn{}.history_came(x); },
      [](const send_away& x) { running<session_self>()->state.out->close(x.code, x.reason, part_of(x.spread)); },
      [](const disconnect_sessions& x) {
        turn now;
        if (!now.is_meant(*x.whom)) return disconnected{0};
        now.parts().counts.sessions_denied.add();
        now.out().close(x.whom->may_return ? close_code::disconnected : close_code::forbidden, x.whom->reason, {});
        return disconnected{1};
      },
      [](alarm) { turn{}.rang(); },
  };
}

}  // namespace

session_actor::behavior_type session(session_self* self, const services* parts, std::shared_ptr<outlet> out, const std::vector<shard_actor>* shards) {
  self->state.parts = parts;
  self->state.out = std::move(out);
  self->state.shards = shards;
  parts->counts.sessions.add(1);
  parts->counts.sessions_opened.add();
  self->attach_functor([parts] {
    parts->counts.sessions.add(-1);
    parts->counts.sessions_closed.add();
  });
  self->set_down_handler([](const caf::down_msg& x) {
    turn now;
    const auto is = [&](const mailbox_actor& who) { return who && x.source == who->address(); };
    if (is(now.state().box) || is(now.state().inbox)) now.mailbox_gone();
  });
  static const auto shared = make_behavior();
  return shared;
}

opened_session open_session(caf::actor_system& system, lane* where, const services* parts, std::shared_ptr<connection> socket,
                            const std::vector<shard_actor>* shards) {
  auto make = &session;
  auto out = std::make_shared<outlet>(std::move(socket));
  auto actor = spawn_on(system, where, make, parts, out, shards);
  auto told = std::make_shared<handler>(actor, std::move(out));
  return {std::move(actor), std::move(told)};
}

}  // namespace doorstep
