// SPDX-License-Identifier: Apache-2.0
// One user's outbox in a hostile world, under a virtual clock and from a seed: a store that is slow, fails, applies without an answer or late, and may lag
// behind the log; crashes that lose what was not applied; clients that drop, resume, repeat acks, ack cumulatively or by id, nack, stall. After each step
// the invariants I3 to I8 of the guarantees are checked, and at the end that everything appended was acked or buried. A failure prints its seed;
// DOORSTEP_SIMULATION_SEED=n begins with that one, DOORSTEP_SIMULATION_STEPS=n takes so many steps (a million).
#include "runtime/outbox.hpp"
#include "tests/runtime/hazards.hpp"
#include "tests/runtime/push_oracle.hpp"
#include "tests/runtime/simulated_client.hpp"
#include "tests/runtime/simulated_store.hpp"
#include "tests/runtime/virtual_time.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {
namespace {

constexpr std::size_t steps_a_seed = 8'000;

class world {
public:
  explicit world(std::uint64_t seed) : random_(seed) {
    options_ = drawn_options([this](std::uint64_t x) { return pick(x); }, [this](double x) { return chance(x); });
    hazards_ = drawn_hazards([this](double x) { return chance(x); });
    hazards_.expires = chance(0.3) ? 0.2 : 0;
    hazards_.terms = chance(0.4) ? 0.6 : 0;
    hazards_.gives_up = gives_up(options_) || hazards_.expires > 0 || hazards_.terms > 0;
    store_.emplace(options_.order);
    pushes_.emplace(options_.order,
                    hazards_.terms > 0 || options_.order == delivery_terms::ordering::latest || options_.overflow == outbox_options::victim::newest);
    clients_.resize(1 + pick(4));
    for (auto& x : clients_) x.acks_by_id = chance(0.4), x.resumes = chance(0.7);
    after(0, [this] { append(); });
    after(5, [this] { shard_works(); });
    after(50, [this] { trouble(); });
    for (std::size_t i = 0; i < clients_.size(); ++i) after(static_cast<int>(pick(300)), [this, i] { client_lives(i); });
  }

  /// @returns the steps taken.
  std::size_t run() {
    std::size_t steps = 0;
    for (; steps < steps_a_seed; ++steps) step();
    calm_ = true;  // from here on nothing fails, and what was appended has to come to rest
    for (const auto limit = steps + 100'000; !at_rest(); ++steps) {
      if (steps == limit) throw violation("I3: not everything appended was acked: " + unsettled());
      step();
    }
    check_unread();
    return steps;
  }

private:
  // --- time and chance ---
  std::uint64_t pick(std::uint64_t below) { return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_); }
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  bool fails(double p) { return !calm_ && chance(p); }
  steady_time now() const { return time_.now(); }
  const cursor_record& record() const { return store_->record(); }
  void at(steady_time when, std::function<void()> what) { time_.at(when, std::move(what)); }
  void after(int ms, std::function<void()> what) { at(now() + milliseconds{ms}, std::move(what)); }
  /// Lost when the mailbox of today is gone by then.
  void after_in_this_life(int ms, std::function<void()> what) {
    after(ms, [this, life = life_, what = std::move(what)] {
      if (life == life_) what();
    });
  }
  void step() {
    time_.step();
    check_state();
  }

  // --- the log and its shard ---
  std::shared_ptr<const delivery_terms> terms() {
    return drawn_terms([this](std::uint64_t x) { return pick(x); }, [this](double x) { return chance(x); });
  }
  void append() {
    if (calm_) return;
    const auto unacked = static_cast<std::size_t>(log_.end() - first_above(record().acked.floor()));
    for (auto count = unacked > 100 * options_.window ? 0 : chance(0.05) ? 30 : 1 + pick(3); count > 0; --count) {
      end_ += 1 + pick(3);  // the others are of other users
      const auto expires = chance(hazards_.expires) ? options_.clock.time_at(now() + milliseconds{pick(5'000)}) : unix_ms{};
      log_.push_back(simulated_message(end_, options_.clock.time_at(now()), expires, options_.bytes_max == 0 ? 0 : pick(300),
                                       chance(hazards_.terms) ? terms() : nullptr));
    }
    end_ += pick(2);
    after(1 + static_cast<int>(pick(120)), [this] { append(); });
  }
  void shard_works() {
    after(1 + static_cast<int>(pick(20)), [this] { shard_works(); });
    std::vector<message_ptr> batch;
    if (down_) return;
    for (auto count = 1 + pick(6); count > 0 && delivered_ < log_.size(); --count) batch.push_back(log_[delivered_++]);
    if (!batch.empty()) {
      wake();
      out_.clear();
      box_->deliver(batch, now(), out_);
      carry_out();
    }
    if (chance(calm_ ? 1 : 0.3)) stored_upto_ = std::max(stored_upto_, delivered_ == log_.size() ? end_ : log_[delivered_]->seq.value - 1);
  }
  std::uint64_t complete_to() const { return hazards_.lagging_store ? stored_upto_ : end_; }

  // --- the mailbox actor ---
  void wake() {
    if (box_) return;
    ++life_;
    box_ = std::make_unique<outbox>(options_, [this] { return random_(); });
    tick_at_ = steady_time::max();
    after_in_this_life(static_cast<int>(pick(60)), [this] { load(); });
  }
  void load() {
    if (fails(hazards_.store_fails)) return after_in_this_life(100, [this] { load(); });
    const auto unread = unread_in_store(read_upto_);
    stored_mailbox start{record(), page_after(record().acked.floor(), 2 * options_.window), unread, owed_in_store(), unread};
    start.inbox[inbox_mark::read].cover({}, read_upto_, {});
    after_in_this_life(static_cast<int>(pick(30)), [this, start = std::move(start)] {
      out_.clear();
      box_->load(start, {open_horizon_}, now(), out_);
      carry_out();
    });
  }
  stored_page page_after(sequence after, std::size_t limit) {
    return page_of_log(log_, after, limit, {complete_to()}, hazards_.lagging_store, [this] { return calm_ || chance(0.5); });
  }
  std::uint64_t unread_in_store(sequence read_upto) const { return count_between(log_, read_upto, {complete_to()}); }
  stored_amount owed_in_store() const { return amount_owed(record().acked, {log_, false, {complete_to()}}); }
  void carry_out() {
    pushes_->next_round();
    for (const auto& x : out_.pushes) push(x);
    for (const auto& x : out_.receipts) receipt(x);
    if (out_.read) read_store(*out_.read);
    if (out_.read_newest) read_newest(*out_.read_newest);
    if (out_.recount) count();
    consider_save();
    const auto due = box_->next_due();
    if (due && *due < tick_at_) {
      tick_at_ = *due;
      at(*due, [this, life = life_] {
        if (life != life_) return;
        tick_at_ = steady_time::max();
        out_.clear();
        box_->tick(now(), out_);
        carry_out();
      });
    }
  }
  void read_store(const outbox_effects::fetch& x) {
    const bool failed = fails(hazards_.store_fails);
    auto page = page_after(x.after, x.limit);
    after_in_this_life(1 + static_cast<int>(pick(static_cast<std::uint64_t>(hazards_.slow_store_ms))), [this, failed, page = std::move(page)] {
      out_.clear();
      if (failed)
        box_->page_failed(now());
      else
        box_->page(page, now(), out_);
      carry_out();
    });
  }
  void read_newest(const outbox_effects::fetch_newest& x) {
    const bool failed = fails(hazards_.store_fails);
    const auto upto = std::min(x.upto, sequence{complete_to()});
    const auto end = first_above(upto), begin = end - std::min(end - log_.begin(), static_cast<std::ptrdiff_t>(x.limit));
    after_in_this_life(1 + static_cast<int>(pick(static_cast<std::uint64_t>(hazards_.slow_store_ms))),
                       [this, failed, page = std::vector(begin, end)] {
                         out_.clear();
                         if (failed)
                           box_->newest_failed(now());
                         else
                           box_->newest(page, now(), out_);
                         carry_out();
                       });
  }
  void consider_save() {
    if (!box_->wants_save() || now() < save_not_before_) {
      if (box_->wants_save() && !save_planned_) plan_save(500);
      return;
    }
    if (!box_->save_is_urgent() && chance(0.5)) {
      if (!save_planned_) plan_save(20);
      return;
    }
    auto record = box_->begin_save({}, out_);
    write({std::move(record), std::exchange(out_.to_bury, {})});
  }
  void plan_save(int ms) {
    save_planned_ = true;
    after(ms, [this, life = life_] {
      save_planned_ = false;
      if (life == life_ && box_) consider_save();
    });
  }
  void write(simulated_batch batch) {
    if (batch.record.acked.floor() < record().acked.floor()) throw violation("I8: the floor went down");
    const bool failed = fails(hazards_.store_fails), applied = !failed || chance(0.6);
    const int takes = 1 + static_cast<int>(pick(static_cast<std::uint64_t>(hazards_.slow_store_ms))),
              late = failed && chance(0.5) ? static_cast<int>(pick(1'500)) : 0;
    if (applied)
      after(takes + late, [this, writer = writer_, batch] {
        if (writer == writer_) store_->apply(batch, log_, handled_);
      });
    writing_ = batch;
    after_in_this_life(takes, [this, failed] {
      writing_.reset();
      out_.clear();
      if (failed) save_not_before_ = now() + milliseconds{100};
      failed ? box_->save_failed() : box_->saved(now(), out_);
      carry_out();
    });
  }

  // --- trouble ---
  void trouble() {
    after(20 + static_cast<int>(pick(200)), [this] { trouble(); });
    if (calm_ || down_) return;
    if (hazards_.crashes && chance(0.06)) return crash(chance(0.5));
    if (box_ && box_->is_loaded() && box_->sessions() == 0 && chance(0.6)) {
      box_->close_horizon();
      out_.clear();
      carry_out();
      if (chance(0.5)) return come_back_at_once(static_cast<std::size_t>(pick(clients_.size())));
      const bool store_has_all = delivered_ == 0 || !hazards_.lagging_store || log_[delivered_ - 1]->seq.value <= stored_upto_;
      if (box_->is_idle() && box_->horizon_is_closed() && store_has_all) end_of_life();
    }
  }
  void come_back_at_once(std::size_t i) {
    after(static_cast<int>(pick(40)), [this, i] {
      if (!down_ && clients_[i].connected == 0) connect(i);
    });
  }
  void end_of_life() {
    ++life_;
    box_.reset();
    save_planned_ = false;
    save_not_before_ = {};
    writing_.reset();
    counting_ = count_again_ = false;
  }
  /// The whole process, or the mailbox alone. What was being written is in the store before the next life reads it, or never.
  void crash(bool process) {
    pushes_->crashed();
    if (writing_ && chance(0.5)) store_->apply(*writing_, log_, handled_);
    ++writer_;
    end_of_life();
    for (auto& [id, x] : connections_) x.served = false;
    open_horizon_ = end_;
    if (!process && hazards_.lagging_store) deliver_from(stored_upto_);
    if (!process) return;
    down_ = true;
    after(static_cast<int>(pick(300)), [this] {
      down_ = false;
      open_horizon_ = end_;
      deliver_from(hazards_.lagging_store ? stored_upto_ : pick(end_ + 1));
    });
  }
  void deliver_from(std::uint64_t upto) { delivered_ = static_cast<std::size_t>(first_above({upto}) - log_.begin()); }
  std::vector<message_ptr>::const_iterator first_above(sequence x) const {
    return std::partition_point(log_.begin(), log_.end(), [&](const message_ptr& m) { return m->seq <= x; });
  }

  // --- connections and clients ---
  /// In order, as over TCP; lost when the other end is gone by then.
  void to_server(std::uint64_t id, std::function<void(simulated_connection&)> what) {
    auto& x = connections_[id];
    x.to_server = std::max(x.to_server, now() + milliseconds{pick(30)});
    at(x.to_server, [this, id, what = std::move(what)] {
      auto& y = connections_[id];
      if (!y.served) return;
      out_.clear();
      what(y);
      if (box_) carry_out();
    });
  }
  void to_client(std::uint64_t id, std::function<void(simulated_connection&)> what) {
    auto& x = connections_[id];
    x.to_client = std::max(x.to_client, now() + milliseconds{pick(30)});
    at(x.to_client, [this, id, what = std::move(what)] {
      if (connections_[id].up) what(connections_[id]);
    });
  }
  void client_lives(std::size_t i) {
    auto& me = clients_[i];
    after(20 + static_cast<int>(pick(400)), [this, i] { client_lives(i); });
    if (me.connected == 0) {
      if (!down_ && (calm_ || chance(0.5))) connect(i);
      return;
    }
    auto& x = connections_[me.connected];
    if (!x.served || fails(hazards_.drops)) {
      x.up = false;
      const auto id = std::exchange(me.connected, 0);
      after(static_cast<int>(pick(500)), [this, id] {
        if (connections_[id].served) leave(id);
      });
    } else if (fails(0.05)) {
      me.stalls_until = now() + milliseconds{3'000};
    } else if (chance(0.1)) {
      to_server(me.connected, [this, upto = me.seen](simulated_connection&) { read(upto); });
    }
  }
  void connect(std::size_t i) {
    auto& me = clients_[i];
    wake();
    out_.clear();
    const auto slot = box_->attach({me.resumes ? me.seen : 0}, now(), out_);
    if (!slot) return;
    const auto id = ++connection_count_;
    me.connected = id;
    connections_[id].client = i;
    connections_[id].slot = *slot;
    by_slot_[*slot] = id;
    // The moments around the first push are where a horizon can be wrong.
    if (hazards_.crashes && fails(0.25))
      after_in_this_life(static_cast<int>(pick(60)), [this] {
        if (!calm_) crash(chance(0.5));
      });
    if (!me.unreceipted.empty()) send_ack(id, 0, {me.unreceipted.begin(), me.unreceipted.end()}, {});
    carry_out();
  }
  void leave(std::uint64_t id) {
    connections_[id].served = false;
    box_->detach(connections_[id].slot, now());
    out_.clear();
    carry_out();
  }
  void push(const outbox_effects::push& x) {
    const auto seq = x.what->seq.value;
    const auto id = by_slot_[x.slot];
    if (!connections_[id].served) throw violation("a push to a slot that nobody has");
    pushes_->pushed(x, *store_, options_.clock.time_at(now()));
    to_client(id, [this, seq, id](simulated_connection& c) { receive(id, c, seq); });
  }
  void receive(std::uint64_t id, simulated_connection& c, std::uint64_t seq) {
    auto& me = clients_[c.client];
    me.seen = std::max(me.seen, seq);
    // What comes below something that came before is acked by id, as what was nacked.
    if (!c.received.contains(seq) && !c.received.empty() && seq < c.received.rbegin()->first) c.nacked.insert(seq);
    auto& handled = c.received[seq];
    // What it has acked before it acks again, or the gap would stay: the server does not send it once more.
    const bool again = me.unreceipted.contains(seq);
    if (!handled && !again && fails(hazards_.nacks)) {
      c.nacked.insert(seq);
      to_server(id, [this, seq](simulated_connection& y) { box_->nack({"m" + std::to_string(seq)}, now(), out_, y.slot); });
      return;
    }
    if (!handled && !again && fails(hazards_.ignores)) return;
    handled = true;
    handled_.insert(seq);
    if (me.acks_by_id || c.nacked.contains(seq)) c.ids_to_ack.insert(seq);
    if (!std::exchange(c.ack_planned, true)) plan_ack(id);
  }
  void plan_ack(std::uint64_t id) {
    auto& me = clients_[connections_[id].client];
    const auto when = std::max(now() + milliseconds{pick(200)}, calm_ ? now() : me.stalls_until);
    at(when, [this, id] {
      if (connections_[id].up) flush_acks(id);
    });
  }
  void flush_acks(std::uint64_t id) {
    auto& c = connections_[id];
    c.ack_planned = false;
    const auto due = acks_due(c, clients_[c.client], hazards_.gives_up);
    if (!due.covers.empty()) send_ack(id, due.up_to, due.ids, due.covers);
  }
  void send_ack(std::uint64_t id, std::uint64_t up_to, std::vector<std::uint64_t> seqs, std::vector<std::uint64_t> covers) {
    auto& me = clients_[connections_[id].client];
    const auto request = ++me.request;
    std::vector<std::string> ids;
    for (auto seq : seqs) ids.push_back("m" + std::to_string(seq));
    covers.insert(covers.end(), seqs.begin(), seqs.end());
    me.unreceipted.insert(covers.begin(), covers.end());
    connections_[id].asked[request] = std::move(covers);
    to_server(id, [this, request, up_to, ids](simulated_connection& c) { box_->ack(c.slot, request, {up_to}, ids, now(), out_); });
  }
  void receipt(const outbox_effects::receipt& x) {
    if (x.request == 0) return store_->check_told(x.ids);
    const auto id = by_slot_[x.slot];
    auto& c = connections_[id];
    const auto asked = c.asked.find(x.request);
    if (!c.served || asked == c.asked.end()) throw violation("a receipt to somebody who asked for none");
    for (auto seq : asked->second)
      if (!record().acked.is_acked({seq})) throw violation("I4: a receipt before the store has the ack: m" + std::to_string(seq));
    if (x.up_to > record().acked.floor()) throw violation("I4: a receipt above the floor in the store");
    to_client(id, [this, covers = asked->second](simulated_connection& y) {
      for (auto seq : covers) clients_[y.client].unreceipted.erase(seq);
    });
  }
  void read(std::uint64_t upto) {
    if (calm_ || !box_->is_loaded()) return;
    read_upto_ = std::max(read_upto_, {upto});
    count();
  }
  void count() {
    box_->recount(read_upto_);
    count_again_ = counting_;
    if (!counting_) ask_for_count();
  }
  void ask_for_count() {
    counting_ = true;
    after_in_this_life(static_cast<int>(pick(100)), [this] {
      stored_mailbox found;
      found.unread = found.unseen = unread_in_store(read_upto_);
      found.page.complete_to = {complete_to()};
      after_in_this_life(static_cast<int>(pick(100)), [this, found] {
        counting_ = false;
        out_.clear();
        if (std::exchange(count_again_, false) || !box_->recounted(found, out_)) return ask_for_count();
        carry_out();
      });
    });
  }

  // --- what must hold ---
  void check_state() {
    if (!box_) return;
    if (box_->in_flight_count() > options_.window) throw violation("more than the window in flight");
    if (box_->queued_count() > 4 * options_.backlog_max) throw violation("I9: the backlog in memory grows");
    if (hazards_.terms > 0 || options_.order == delivery_terms::ordering::strict) pushes_->check_groups(box_->in_flight());
    if (life_ == floor_life_ && box_->floor() < floor_) throw violation("I8: the floor went down in memory");
    floor_life_ = life_;
    floor_ = box_->floor();
  }
  bool at_rest() const {
    if (!box_ || !box_->is_loaded() || box_->wants_save() || delivered_ < log_.size()) return false;
    if (std::any_of(clients_.begin(), clients_.end(), [](const simulated_client& x) { return !x.unreceipted.empty(); })) return false;
    return store_->has_settled(log_, handled_);
  }
  std::string unsettled() const {
    return "floor " + std::to_string(record().acked.floor().value) + " of " + std::to_string(end_) + ", " + std::to_string(box_->in_flight_count()) +
           " in flight, " + std::to_string(box_->queued_count()) + " queued, " + std::to_string(box_->owed_count()) + " owed";
  }
  void check_unread() {
    for (int i = 0; i < 2'000; ++i) step();
    const auto expected = count_between(log_, read_upto_, {end_});
    if (box_->unread() != expected || box_->unseen() != box_->unread())
      throw violation("unread is " + std::to_string(box_->unread()) + " and should be " + std::to_string(expected));
  }

  std::mt19937_64 random_;
  hazards hazards_;
  outbox_options options_;
  virtual_time time_;
  steady_time tick_at_ = steady_time::max(), save_not_before_{};
  std::uint64_t life_ = 0, writer_ = 0;
  bool calm_ = false, down_ = false, save_planned_ = false;
  std::vector<message_ptr> log_;
  std::uint64_t end_ = 0, stored_upto_ = 0, open_horizon_ = 0;
  std::size_t delivered_ = 0;
  std::optional<simulated_store> store_;
  std::optional<push_oracle> pushes_;
  std::optional<simulated_batch> writing_;
  sequence read_upto_;  ///< the inbox's mark, durable at once: what is tested is the counting
  bool counting_ = false, count_again_ = false;
  std::unique_ptr<outbox> box_;
  outbox_effects out_;
  std::vector<simulated_client> clients_;
  std::map<std::uint64_t, simulated_connection> connections_;
  std::map<unsigned, std::uint64_t> by_slot_;
  std::uint64_t connection_count_ = 0;
  std::uint64_t floor_life_ = 0;
  std::set<std::uint64_t> handled_;
  sequence floor_;
};

std::size_t run(std::uint64_t seed) {
  try {
    return world(seed).run();
  } catch (const violation& x) {
    ADD_FAILURE() << "DOORSTEP_SIMULATION_SEED=" << seed << ": " << x.what();
    return 0;
  }
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const given = std::getenv(variable);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

TEST(outbox_simulation, nothing_is_lost_repeated_unflagged_reordered_or_receipted_early_whatever_happens) {
  const auto wanted = number_from("DOORSTEP_SIMULATION_STEPS", 1'000'000);
  std::uint64_t steps = 0, seed = number_from("DOORSTEP_SIMULATION_SEED", 1);
  for (; steps < wanted && !HasFailure(); ++seed) steps += run(seed);
  for (std::size_t reason = 3; reason <= 6; ++reason)
    EXPECT_TRUE(HasFailure() || wanted < 300'000 || simulated_store::buried[reason] > 10) << reason << ": " << simulated_store::buried[reason];
  EXPECT_TRUE(HasFailure() || wanted < 300'000 || simulated_store::superseded > 100);
}

}  // namespace
}  // namespace doorstep::test
