// SPDX-License-Identifier: Apache-2.0
// The world of outbox_simulation.cpp: one user's outbox, the log and the shard in front of it, a store, clients and their connections, and what goes wrong with
// them, under a virtual clock and from a seed. Rooms: simulated_mailbox.cpp (log, shard, mailbox actor), simulated_clients.cpp, and the test itself.
#pragma once

#include "runtime/outbox.hpp"
#include "tests/runtime/hazards.hpp"
#include "tests/runtime/push_oracle.hpp"
#include "tests/runtime/simulated_client.hpp"
#include "tests/runtime/simulated_store.hpp"
#include "tests/runtime/virtual_time.hpp"

#include <cstdint>
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

class simulated_world {
public:
  explicit simulated_world(std::uint64_t seed);

  /// @returns the steps taken.
  std::size_t run();

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
  void after_in_this_life(int ms, std::function<void()> what);
  void step();

  // --- the log and its shard ---
  std::shared_ptr<const delivery_terms> terms();
  void append();
  void shard_works();
  std::uint64_t complete_to() const { return hazards_.lagging_store ? stored_upto_ : end_; }

  // --- the mailbox actor ---
  void wake();
  void load();
  stored_page page_after(sequence after, std::size_t limit);
  std::uint64_t unread_in_store(sequence read_upto) const { return count_between(log_, read_upto, {complete_to()}); }
  stored_amount owed_in_store() const { return amount_owed(record().acked, {log_, false, {complete_to()}}); }
  void carry_out();
  void read_store(const outbox_effects::fetch& x);
  void read_newest(const outbox_effects::fetch_newest& x);
  void consider_save();
  void plan_save(int ms);
  void write(simulated_batch batch);
  /// The REAPER has found some that may be past their time, as the store had them.
  void look_for_overdue();

  // --- trouble ---
  void trouble();
  void come_back_at_once(std::size_t i);
  void end_of_life();
  /// The whole process, or the mailbox alone. What was being written is in the store before the next life reads it, or never.
  void crash(bool process);
  void deliver_from(std::uint64_t upto) { delivered_ = static_cast<std::size_t>(first_above({upto}) - log_.begin()); }
  std::vector<message_ptr>::const_iterator first_above(sequence x) const;

  // --- connections and clients ---
  /// In order, as over TCP; lost when the other end is gone by then.
  void to_server(std::uint64_t id, std::function<void(simulated_connection&)> what);
  void to_client(std::uint64_t id, std::function<void(simulated_connection&)> what);
  void client_lives(std::size_t i);
  void connect(std::size_t i);
  void leave(std::uint64_t id);
  void push(const outbox_effects::push& x);
  void receive(std::uint64_t id, simulated_connection& c, std::uint64_t seq);
  void plan_ack(std::uint64_t id);
  void flush_acks(std::uint64_t id);
  void send_ack(std::uint64_t id, std::uint64_t up_to, std::vector<std::uint64_t> seqs, std::vector<std::uint64_t> covers);
  void receipt(const outbox_effects::receipt& x);
  void read(std::uint64_t upto);
  void count();
  void ask_for_count();

  // --- what must hold ---
  void check_state();
  bool at_rest() const;
  std::string unsettled() const;
  void check_counts();

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

}  // namespace doorstep::test
