// SPDX-License-Identifier: Apache-2.0
// The log, its shard and the mailbox actor around the outbox: what comes in, what is read, what is saved.
#include "tests/runtime/simulated_world.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace doorstep::test {

// --- the log and its shard ---

std::shared_ptr<const delivery_terms> simulated_world::terms() {
  return drawn_terms([this](std::uint64_t x) { return pick(x); }, [this](double x) { return chance(x); });
}

void simulated_world::append() {
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

void simulated_world::shard_works() {
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

// --- the mailbox actor ---

void simulated_world::wake() {
  if (box_) return;
  ++life_;
  box_ = std::make_unique<outbox>(options_, [this] { return random_(); });
  tick_at_ = steady_time::max();
  after_in_this_life(static_cast<int>(pick(60)), [this] { load(); });
}

void simulated_world::load() {
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

stored_page simulated_world::page_after(sequence after, std::size_t limit) {
  return page_of_log(log_, after, limit, {complete_to()}, hazards_.lagging_store, [this] { return calm_ || chance(0.5); });
}

void simulated_world::carry_out() {
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

void simulated_world::read_store(const outbox_effects::fetch& x) {
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

void simulated_world::read_newest(const outbox_effects::fetch_newest& x) {
  const bool failed = fails(hazards_.store_fails);
  const auto upto = std::min(x.upto, sequence{complete_to()});
  const auto end = first_above(upto), begin = end - std::min(end - log_.begin(), static_cast<std::ptrdiff_t>(x.limit));
  after_in_this_life(1 + static_cast<int>(pick(static_cast<std::uint64_t>(hazards_.slow_store_ms))), [this, failed, page = std::vector(begin, end)] {
    out_.clear();
    if (failed)
      box_->newest_failed(now());
    else
      box_->newest(page, now(), out_);
    carry_out();
  });
}

void simulated_world::consider_save() {
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

void simulated_world::plan_save(int ms) {
  save_planned_ = true;
  after(ms, [this, life = life_] {
    save_planned_ = false;
    if (life == life_ && box_) consider_save();
  });
}

void simulated_world::write(simulated_batch batch) {
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

void simulated_world::look_for_overdue() {
  after(200 + static_cast<int>(pick(2'000)), [this] { look_for_overdue(); });
  if (calm_ || down_ || log_.empty()) return;
  wake();
  const auto first = log_.cbegin() + static_cast<std::ptrdiff_t>(pick(log_.size())), last = first_above({complete_to()});
  if (!box_->is_loaded() || last <= first) return;
  after_in_this_life(1 + static_cast<int>(pick(static_cast<std::uint64_t>(hazards_.slow_store_ms))),
                     [this, found = std::vector(first, std::min(last, first + 50))] {
                       out_.clear();
                       box_->expire(found, now(), out_);
                       carry_out();
                     });
}

}  // namespace doorstep::test
