// SPDX-License-Identifier: Apache-2.0
// One user's outbox in a hostile world, under a virtual clock and from a seed: a store that is slow, fails, applies without an answer or late, and may lag
// behind the log; crashes that lose what was not applied; clients that drop, resume, repeat acks, ack cumulatively or by id, nack, stall. After each step
// the invariants I3 to I8 of the guarantees are checked, and at the end that everything appended was acked or buried. A failure prints its seed;
// DOORSTEP_SIMULATION_SEED=n begins with that one, DOORSTEP_SIMULATION_STEPS=n takes so many steps (a million).
#include "tests/runtime/simulated_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace doorstep::test {

constexpr std::size_t steps_a_seed = 8'000;

simulated_world::simulated_world(std::uint64_t seed) : random_(seed) {
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
  if (hazards_.expires > 0 || options_.ttl.count() != 0) after(100, [this] { look_for_overdue(); });
  for (std::size_t i = 0; i < clients_.size(); ++i) after(static_cast<int>(pick(300)), [this, i] { client_lives(i); });
}

std::size_t simulated_world::run() {
  std::size_t steps = 0;
  for (; steps < steps_a_seed; ++steps) step();
  calm_ = true;  // from here on nothing fails, and what was appended has to come to rest
  for (const auto limit = steps + 100'000; !at_rest(); ++steps) {
    if (steps == limit) throw violation("I3: not everything appended was acked: " + unsettled());
    step();
  }
  check_counts();
  return steps;
}

// --- time and chance ---

void simulated_world::after_in_this_life(int ms, std::function<void()> what) {
  after(ms, [this, life = life_, what = std::move(what)] {
    if (life == life_) what();
  });
}

void simulated_world::step() {
  time_.step();
  check_state();
}

// --- trouble ---

void simulated_world::trouble() {
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

void simulated_world::come_back_at_once(std::size_t i) {
  after(static_cast<int>(pick(40)), [this, i] {
    if (!down_ && clients_[i].connected == 0) connect(i);
  });
}

void simulated_world::end_of_life() {
  ++life_;
  box_.reset();
  save_planned_ = false;
  save_not_before_ = {};
  writing_.reset();
  counting_ = count_again_ = false;
}

void simulated_world::crash(bool process) {
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

std::vector<message_ptr>::const_iterator simulated_world::first_above(sequence x) const {
  return std::partition_point(log_.begin(), log_.end(), [&](const message_ptr& m) { return m->seq <= x; });
}

// --- what must hold ---

void simulated_world::check_state() {
  if (!box_) return;
  if (box_->in_flight_count() > options_.window) throw violation("more than the window in flight");
  if (box_->queued_count() > 4 * options_.backlog_max) throw violation("I9: the backlog in memory grows");
  if (hazards_.terms > 0 || options_.order == delivery_terms::ordering::strict) pushes_->check_groups(box_->in_flight());
  if (life_ == floor_life_ && box_->floor() < floor_) throw violation("I8: the floor went down in memory");
  floor_life_ = life_;
  floor_ = box_->floor();
}

bool simulated_world::at_rest() const {
  if (!box_ || !box_->is_loaded() || box_->wants_save() || delivered_ < log_.size()) return false;
  if (std::any_of(clients_.begin(), clients_.end(), [](const simulated_client& x) { return !x.unreceipted.empty(); })) return false;
  return store_->has_settled(log_, handled_);
}

std::string simulated_world::unsettled() const {
  return "floor " + std::to_string(record().acked.floor().value) + " of " + std::to_string(end_) + ", " + std::to_string(box_->in_flight_count()) +
         " in flight, " + std::to_string(box_->queued_count()) + " queued, " + std::to_string(box_->owed_count()) + " owed";
}

void simulated_world::check_counts() {
  for (int i = 0; i < 2'000; ++i) step();
  if (box_->owed_count() != 0) throw violation("I7: nothing is owed, and counted are " + std::to_string(box_->owed_count()));
  const auto expected = count_between(log_, read_upto_, {end_});
  if (box_->unread() != expected || box_->unseen() != box_->unread())
    throw violation("unread is " + std::to_string(box_->unread()) + " and should be " + std::to_string(expected));
}

namespace {

std::size_t run(std::uint64_t seed) {
  try {
    return simulated_world(seed).run();
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
