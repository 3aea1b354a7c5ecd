// SPDX-License-Identifier: Apache-2.0
#include "actors/shard.hpp"

#include "actors/mailbox.hpp"
#include "runtime/devices.hpp"
#include "runtime/log.hpp"
#include "runtime/number_text.hpp"
#include "runtime/test_points.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// Records the log may hand over ahead; they are passed on at once, so this bounds one batch and what waits in this actor's queue.
constexpr std::size_t credit = 8192;
/// The same where each has to wait for a store beside the log: it is what may come on top of store.backlog_messages_max.
constexpr std::size_t credit_beside_store = 1024;
/// What one write to the store holds at most: small enough that a slow one answers in time, and that its copy in the driver's form is small beside the backlog.
constexpr std::size_t save_count_max = 4096, save_bytes_max = 8 * 1024 * 1024;
/// How often a shard that reads no further looks whether there is room again.
constexpr milliseconds room_look{100};
/// How often the position is written while nothing else asks for it: what a restart reads again.
constexpr milliseconds position_interval{1'000};
/// How many records before its position a shard may have to read again at a start to know what its origin partitions have above their floors.
constexpr std::uint64_t rescan_reach = 2 * credit;
/// The event is read when it is pushed, some microseconds from now.
void prefetch_event(const event* x) {
  for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(sizeof(event)); at += 64) __builtin_prefetch(reinterpret_cast<const char*>(x) + at);
}

class turn {
public:
  turn(shard_self* self, const services& parts) : self_(self), state_(self->state), parts_(parts) {}

  void open() {
    state_.next_offset = state_.saved_offset = state_.birth.from_offset;
    state_.takeover = log_end();
    state_.channels.log_read_at = parts_.log.end_offset(state_.birth.id);
    log_line(log_level::debug, "shard", "opened").with("shard", number()).with("from", state_.next_offset).with("end", state_.takeover.value);
    auto from = state_.next_offset;
    for (const auto& x : std::exchange(state_.birth.origins, {})) {
      state_.origins.restore(x);
      from = std::min(from, x.rescan);
    }
    parts_.log.open_shard(state_.birth.id, from,
                          [me = caf::actor_cast<shard_actor>(self_)](log_batch batch) { caf::anon_send(me, take_logged{std::move(batch)}); });
    parts_.log.stored(state_.birth.id, state_.saved_offset);
    parts_.log.grant(state_.birth.id, parts_.store.shares_log() ? credit : credit_beside_store);
  }

  void take(const log_batch& batch) {
    constexpr std::size_t ahead = 4;
    std::size_t bytes = 0, waiting = state_.dead.size() + state_.unsaved.size();
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      const auto& record = batch.records[i];
      if (i + ahead < batch.records.size()) __builtin_prefetch(batch.records[i + ahead].what.get());
      const auto& m = *record.what;
      if (m.seq.offset() < state_.birth.from_offset) {  // stored by an earlier life: only for what it says of its origin
        state_.origins.note(record.came_from, m.to, m.seq.offset());
        continue;
      }
      prefetch_event(m.what.get());
      if (state_.origins.is_replay(record.came_from, m.to, m.seq.offset())) {
        parts_.counts.replays.add();
        continue;
      }
      if (m.to.is_dead_letters()) {
        state_.dead.push_back(dead_letter_of(record));
        bytes += memory_of(state_.dead.back());
      } else {
        if (!parts_.store.shares_log()) {
          state_.unsaved.push_back(record.what);
          bytes += memory_of(m);
        }
        pass_on(record.what);
      }
    }
    waiting = state_.dead.size() + state_.unsaved.size() - waiting;
    if (waiting > 0) parts_.backlog->add(waiting, bytes);
    deliver_outgoing();
    state_.records += batch.records.size();
    state_.next_offset = std::max(state_.next_offset, batch.next_offset);
    if (state_.next_offset >= state_.channels.log_read_at) let_readers_in();
    state_.withheld += batch.records.size();
    grant_on();
    if (!state_.dead.empty() || !state_.unsaved.empty())
      save();
    else
      ring();
  }

  /// Writes what must be stored, or the first part of it, and in the same batch the position past it.
  void save() {
    if (state_.saving || (state_.next_offset == state_.saved_offset && state_.dead.empty())) return;
    state_.saving = true;
    // Somebody may wait for the verdicts.
    save_shard what{{state_.birth.id, state_.next_offset, {}}, {}, {}, judges_itself() && !state_.unsaved.empty() ? urgency::now : urgency::soon};
    auto message = state_.unsaved.begin();
    auto dead = state_.dead.begin();
    std::size_t bytes = 0;
    while (message != state_.unsaved.end() || dead != state_.dead.end()) {
      const bool message_is_next = dead == state_.dead.end() || (message != state_.unsaved.end() && (*message)->seq < dead->seq);
      if (what.messages.size() + what.dead.size() == save_count_max || bytes >= save_bytes_max) {
        what.position.next_offset = (message_is_next ? (*message)->seq : dead->seq).offset();
        break;
      }
      bytes += message_is_next ? memory_of(**message) : memory_of(*dead);
      if (message_is_next)
        what.messages.push_back(*message++);
      else
        what.dead.push_back(*dead++);
    }
    // What is known of the origins belongs to the last record taken: beside a lower position a start would take the records in between for replays. What the
    // store has of them stays true meanwhile, and a start finds the rest by reading from there.
    if (judges_itself() && what.position.next_offset == state_.next_offset) what.position.origins = changed_origins();
    state_.unsaved_in_saving = what.messages.size();
    state_.dead_in_saving = what.dead.size();
    self_->send(state_.birth.writer, std::move(what));
  }

  void saved(const shard_saved& x) {
    state_.saving = false;
    // What was not written stays where it is, and so does the position.
    if (x.durable) {
      state_.saved_offset = std::max(state_.saved_offset, x.what.position.next_offset);
      parts_.log.stored(state_.birth.id, state_.saved_offset);
      if (judges_itself()) pass_on_new(x);
      parts_.counts.dead.add(static_cast<double>(x.what.dead.size()));
      drop_saved();
    } else {
      state_.owed_origins = x.what.position.origins;
    }
    grant_on();
    // A drain has no time for a whole backlog: the log has it.
    const auto waiting = state_.unsaved.size() + state_.dead.size();
    if (x.durable && waiting > 0 && (!state_.draining || waiting <= save_count_max))
      save();
    else
      ring();
    finish_drain();
  }

  void hand_on(const attach& x) {
    const bool by_device = acks_by_device(parts_.options.delivery);
    const auto box = by_device ? device_box(x.user, x.device) : x.user;
    if (state_.draining || state_.failures.is_spent(x.user, self_->clock().now(), parts_.options.delivery) ||
        (by_device && state_.failures.is_spent(box, self_->clock().now(), parts_.options.delivery))) {
      const auto why =
          state_.draining ? failure{ec::stopping, "the server drains", {}} : failure{ec::internal, "this user's mailbox failed repeatedly", {}};
      self_->send(caf::actor_cast<session_actor>(x.session), not_attached{why});
      return;
    }
    send_to(box_of(box), x);
    if (by_device) send_to(box_of(x.user), x);
  }

  void hand_on(const attach_reader& x) {
    if (state_.draining || state_.failures.is_spent(x.channel, self_->clock().now(), parts_.options.delivery)) {
      const auto why = state_.draining ? failure{ec::stopping, "the server drains", {}} : failure{ec::internal, "this channel failed repeatedly", {}};
      self_->send(caf::actor_cast<session_actor>(x.session), reader_refused{x.channel, why});
      return;
    }
    auto* entry = state_.channels.find(x.channel);
    if (entry == nullptr && state_.next_offset < state_.channels.log_read_at) return ring_in(state_.channels.make_wait(x, self_->clock().now()));
    if (entry == nullptr) entry = &open_channel(x.channel);
    ++entry->sent;
    self_->send(entry->who, x);
  }

  void wake_overdue(const judge_expired& x) {
    if (state_.draining) return;
    for (const auto& one : x.users)
      if (!state_.failures.is_spent(one.user, self_->clock().now(), parts_.options.delivery)) send_to(box_of(one.user), judge_expired{{one}});
  }

  void tell_inbox(const note_in_inbox& x) {
    if (const auto found = state_.boxes.find(x.user); found != state_.boxes.end() && found->second.box) send_to(found->second, x);
  }

  void maybe_passivate(const offer_passivation& x) {
    if (const auto* entry = state_.channels.find(x.box)) {
      if (entry->sent != x.seen || self_->current_sender() != entry->who) return;
      self_->send(entry->who, passivate{});
      state_.channels.forget(x.box);
      return finish_drain();
    }
    const auto found = state_.boxes.find(x.box);
    if (found == state_.boxes.end() || found->second.sent != x.seen || self_->current_sender() != found->second.box) return;
    if (found->second.devices && !found->second.devices->empty()) return;  // it goes after them
    self_->send(found->second.box, passivate{});
    forget(found);
    finish_drain();  // it may have been the last one, and its end is nobody's any more
  }

  void mailbox_ended(const caf::down_msg& x) {
    if (const auto channel = state_.channels.ended(x.source)) {
      if (x.reason && x.reason != caf::exit_reason::user_shutdown) note_failure("channel-failed", "channel", *channel, x.reason);
      return finish_drain();
    }
    const auto owner = state_.owners.find(x.source);
    if (owner == state_.owners.end()) return;
    const auto box = owner->second;
    const auto found = state_.boxes.find(box);
    if (x.reason && x.reason != caf::exit_reason::user_shutdown) note_failure("mailbox-failed", "user", box, x.reason);
    forget(found);
    finish_drain();
  }

  void drain_mailboxes(const begin_drain& x) {
    crash_point("drain-begun");
    state_.draining = true;
    state_.drain_asked_by = x.node;
    parts_.log.close_shard(state_.birth.id);
    for (auto& [box, entry] : state_.boxes)
      if (entry.box) self_->send(entry.box, drain{});
    for (const auto& [of, entry] : state_.channels.all()) self_->send(entry.who, drain{});
    let_readers_in();
    save();
    finish_drain();
  }

  void rang() {
    state_.rings = false;
    save();
    grant_on();
    if (const auto left = state_.channels.still_wait(self_->clock().now())) return ring_in(*left);
    let_readers_in();
  }

private:
  bool judges_itself() const { return !parts_.log.judges_duplicates(); }

  void let_readers_in() {
    for (const auto& x : state_.channels.take_waiting()) hand_on(x);
  }

  /// What has changed of the origins since the position that was stored last.
  std::vector<origin_position> changed_origins() {
    auto x = state_.origins.changes(state_.next_offset, rescan_reach);
    state_.origins.commit();
    for (auto& owed : std::exchange(state_.owed_origins, {}))
      if (std::none_of(x.begin(), x.end(), [&](const auto& y) { return y.from == owed.from; })) x.push_back(std::move(owed));
    return x;
  }

  /// The verdicts are there: what is no duplicate may be pushed.
  void pass_on_new(const shard_saved& x) {
    if (state_.draining) return;
    const std::unordered_set<message_ptr> duplicates(x.duplicates.begin(), x.duplicates.end());
    for (const auto& m : x.what.messages)
      if (!duplicates.contains(m)) pass_to_box(m);
    deliver_outgoing();
  }

  void deliver_outgoing() {
    for (auto* x : std::exchange(state_.touched, {})) {
      deliver what{std::exchange(x->outgoing, {})};
      if (x->box) send_to(*x, std::move(what));
    }
    if (!state_.channels.empty()) state_.channels.deliver_outgoing(self_);
  }

  /// It is made anew when its sessions attach again, which they do when they see it go. What it pushed is unknown, and it also read ahead from
  /// the store: all that the log holds now counts as pushed.
  void note_failure(std::string_view what, std::string_view kind, const address& of, const caf::error& why) {
    state_.takeover = std::max(state_.takeover, log_end());
    state_.failures.note(of, self_->clock().now(), parts_.options.delivery);
    ++state_.restarts;
    parts_.counts.actor_restarts.add();
    log_line(log_level::error, "shard", what).with(kind, readable(of)).with("why", caf::to_string(why));
  }

  /// What it does not get from here is in the store, or will be.
  shard_channels::entry& open_channel(const address& of) {
    const bool all_stored = parts_.store.shares_log();
    const auto known = sequence::before(parts_.log.generation(), all_stored ? state_.next_offset : state_.saved_offset);
    auto make = &channel;
    auto who = spawn_on(self_->system(), self_->where(), make, &parts_,
                        channel_birth{of, known, state_.takeover, state_.failures.has(of), caf::actor_cast<shard_actor>(self_), state_.birth.writer,
                                      state_.failures.suspect(of), state_.failures.poisoned(of)});
    self_->monitor(who);
    auto& entry = state_.channels.add(of, std::move(who));
    if (auto owed = unsaved_of(of); !owed.messages.empty()) {
      ++entry.sent;
      self_->send(entry.who, std::move(owed));
    }
    return entry;
  }

  void grant_on() {
    if (state_.withheld == 0) return;
    if (!parts_.backlog->is_full())
      parts_.log.grant(state_.birth.id, std::exchange(state_.withheld, 0));
    else
      ring_in(room_look);
  }

  void drop_saved() {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < state_.unsaved_in_saving; ++i) bytes += memory_of(*state_.unsaved[i]);
    for (std::size_t i = 0; i < state_.dead_in_saving; ++i) bytes += memory_of(state_.dead[i]);
    const auto count = state_.unsaved_in_saving + state_.dead_in_saving;
    if (count == 0) return;
    parts_.backlog->remove(count, bytes);
    state_.unsaved.erase(state_.unsaved.begin(), state_.unsaved.begin() + static_cast<std::ptrdiff_t>(std::exchange(state_.unsaved_in_saving, 0)));
    state_.dead.erase(state_.dead.begin(), state_.dead.begin() + static_cast<std::ptrdiff_t>(std::exchange(state_.dead_in_saving, 0)));
  }

  /// What the store may not have yet when a mailbox reads it. Without these the mailbox would take the next live message for the one that follows.
  deliver unsaved_of(const address& to) const {
    deliver owed;
    if (judges_itself()) return owed;  // they come to every mailbox that is there when they are stored
    for (const auto& m : state_.unsaved)
      if (m->to == to) owed.messages.push_back(m);
    return owed;
  }

  void hand_unsaved(shard_state::entry& to, const address& user) {
    if (auto owed = unsaved_of(user); !owed.messages.empty()) send_to(to, std::move(owed));
  }

  template <class T>
  void send_to(shard_state::entry& to, T&& what) {
    ++to.sent;
    self_->send(to.box, std::forward<T>(what));
  }

  /// The last seq that the log has given in this shard.
  sequence log_end() const { return sequence::before(parts_.log.generation(), parts_.log.end_offset(state_.birth.id)); }

  unsigned number() const { return static_cast<unsigned>(state_.birth.id); }

  void pass_on(const message_ptr& m) {
    if (!judges_itself()) pass_to_box(m);
  }

  void pass_to_box(const message_ptr& m) {
    // A user whose mailbox is not loaded has nobody waiting: the message is in the store.
    const auto found = state_.boxes.find(m->to);
    if (found == state_.boxes.end()) {
      if (!state_.channels.empty()) state_.channels.pass(m);
      return;
    }
    add_outgoing(found->second, m);
    if (!found->second.devices) return;
    for (const auto& box : *found->second.devices) add_outgoing(state_.boxes.find(box)->second, m);
  }

  void add_outgoing(shard_state::entry& to, const message_ptr& m) {
    if (to.outgoing.empty()) state_.touched.push_back(&to);
    to.outgoing.push_back(m);
  }

  /// @param box a user or, where devices have mailboxes, one of those: then the user's is there too
  shard_state::entry& box_of(const address& box) {
    const auto found = state_.boxes.find(box);
    if (found != state_.boxes.end()) {
      if (!found->second.box) begin_again(found->second, box);
      return found->second;
    }
    auto& made = state_.boxes.emplace(box, shard_state::entry{start(box), 0, {}, {}}).first->second;
    if (!device_of(box)) {
      hand_unsaved(made, box);
      return made;
    }
    const auto user = user_of(box);
    auto& whole = box_of(user);  // entries move
    if (!whole.devices) whole.devices = std::make_unique<std::vector<address>>();
    whole.devices->push_back(box);
    auto& entry = state_.boxes.find(box)->second;
    hand_unsaved(entry, user);
    return entry;
  }

  void begin_again(shard_state::entry& whole, const address& user) {
    whole.box = start(user);
    hand_unsaved(whole, user);
  }

  mailbox_actor start(const address& box) {
    auto make = &mailbox;
    auto made = spawn_on(self_->system(), self_->where(), make, &parts_,
                         mailbox_birth{user_of(box), box, state_.takeover, state_.failures.has(box), caf::actor_cast<shard_actor>(self_),
                                       state_.birth.writer, state_.failures.suspect(box)});
    self_->monitor(made);
    state_.owners.emplace(made->address(), box);
    parts_.counts.mailboxes.add(1);
    return made;
  }

  void forget(decltype(shard_state::boxes)::iterator found) {
    state_.owners.erase(found->second.box->address());
    parts_.counts.mailboxes.add(-1);
    if (found->second.devices && !found->second.devices->empty()) {
      found->second.box = nullptr;
      found->second.sent = 0;
      return;
    }
    const auto box = found->first;
    state_.boxes.erase(found);
    if (!device_of(box)) return;
    const auto whole = state_.boxes.find(user_of(box));
    std::erase(*whole->second.devices, box);
    if (whole->second.devices->empty() && !whole->second.box) state_.boxes.erase(whole);
  }

  static dead_letter dead_letter_of(const logged& record) {
    const auto& m = *record.what;
    dead_letter x;
    x.id = m.id;
    x.seq = m.seq;
    x.reason = record.reason;
    x.detail = record.detail;
    x.what = m.what;
    x.first = x.last = m.appended;
    x.source = m.what->extension("origin");
    x.topic = m.what->extension("origintopic");
    x.partition = number_in<std::int32_t>(m.what->extension("originpartition")).value_or(-1);
    x.offset = number_in<std::int64_t>(m.what->extension("originoffset")).value_or(-1);
    return x;
  }

  void ring() {
    if (state_.next_offset != state_.saved_offset) ring_in(position_interval);
  }

  void ring_in(milliseconds time) {
    if (state_.draining || std::exchange(state_.rings, true)) return;
    self_->ring_at(self_->clock().now() + time);
  }

  void finish_drain() {
    if (!state_.draining || !state_.boxes.empty() || !state_.channels.empty() || state_.saving) return;
    crash_point("drain-ended");
    if (auto node = caf::actor_cast<caf::actor>(std::exchange(state_.drain_asked_by, nullptr))) caf::anon_send(node, drained{state_.birth.id});
  }

  shard_self* self_;
  shard_state& state_;
  const services& parts_;
};

}  // namespace

shard_actor::behavior_type shard(shard_self* self, const services* parts, shard_birth birth) {
  self->state.birth = std::move(birth);
  self->set_down_handler([=](const caf::down_msg& x) { turn{self, *parts}.mailbox_ended(x); });
  turn{self, *parts}.open();
  return {
      [=](const take_logged& x) {
        turn{self, *parts}.take(x.batch);
      },
      [=](const attach& x) {
        turn{self, *parts}.hand_on(x);
      },
      [=](const attach_reader& x) {
        turn{self, *parts}.hand_on(x);
      },
      [=](const judge_expired& x) {
        turn{self, *parts}.wake_overdue(x);
      },
      [=](const note_in_inbox& x) {
        turn{self, *parts}.tell_inbox(x);
      },
      [=](const shard_saved& x) {
        turn{self, *parts}.saved(x);
      },
      [=](const offer_passivation& x) {
        turn{self, *parts}.maybe_passivate(x);
      },
      [=](const begin_drain& x) {
        turn{self, *parts}.drain_mailboxes(x);
      },
      [=](alarm) {
        turn{self, *parts}.rang();
      },
      [=](const look_at_mailbox& x) -> caf::result<mailbox_report> {
        const auto found = self->state.boxes.find(x.box);
        if (found != self->state.boxes.end() && found->second.box) return self->delegate(found->second.box, x);
        return mailbox_report{};
      },
      [=](const look_at_reader& x) { return readers_of(self, x); },
      [=](look) { return report_of(self, *parts); },
  };
}

}  // namespace doorstep
