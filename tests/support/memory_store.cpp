// SPDX-License-Identifier: Apache-2.0
// A message store in memory; callbacks run inside run() and with no lock held, so they may call the store again.
#include "tests/support/memory_store.hpp"

#include <algorithm>
#include <utility>

namespace doorstep::test {

void memory_store::ask(answer x) {
  std::unique_lock lock(mutex_);
  if (stopped_) {
    lock.unlock();
    x(failure{ec::stopping, "the store is stopped", {}});
    return;
  }
  asked_.push_back(std::move(x));
}

bool memory_store::run() {
  std::unique_lock lock(mutex_);
  const auto count = asked_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto next = std::move(asked_.front());
    asked_.pop_front();
    const auto why = failing_;
    lock.unlock();
    next(why);
    lock.lock();
  }
  return count > 0;
}

void memory_store::fail_with(std::optional<failure> why) {
  const std::lock_guard lock(mutex_);
  failing_ = std::move(why);
}

std::size_t memory_store::waiting() const {
  const std::lock_guard lock(mutex_);
  return asked_.size();
}

std::size_t memory_store::writes() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}

cursor_record memory_store::record_of(const address& user) const {
  const std::lock_guard lock(mutex_);
  const auto found = cursors_.find(user);
  if (found != cursors_.end()) return found->second;
  cursor_record none;
  none.user = user;
  return none;
}

std::vector<dead_letter> memory_store::dead() const {
  const std::lock_guard lock(mutex_);
  return dead_;
}

std::vector<shard_position> memory_store::positions() const {
  const std::lock_guard lock(mutex_);
  std::vector<shard_position> out;
  for (std::uint32_t i = 0; i < shards_; ++i) {
    out.push_back({shard_id{i}, positions_[i].next_offset});
    for (const auto& [from, x] : positions_[i].origins) out.back().origins.push_back(x);
  }
  return out;
}

std::vector<message_ptr> memory_store::store(const store_batch& batch) {
  constexpr std::int64_t window = 24LL * 3600 * 1000;
  const std::lock_guard lock(mutex_);
  std::vector<message_ptr> duplicates;
  ++writes_;
  for (const auto& x : batch.messages) {
    if (batch.duplicates) {
      auto& known = keys_[x->id + '/' + std::to_string(x->requeue)];
      if (known && known->seq < x->seq && x->appended.value - known->appended.value < window) {
        duplicates.push_back(x);
        continue;
      }
      if (!known || known->seq < x->seq) known = x;
    }
    messages_[x->to].emplace(x->seq, x);
  }
  for (const auto& x : batch.cursors) {
    auto& at = cursors_[x.user];
    if (x.version > at.version) at = x;
  }
  for (const auto& x : batch.dead) {
    std::erase_if(dead_, [&](const dead_letter& y) { return y.id == x.id && y.requeue < x.requeue; });
    if (std::none_of(dead_.begin(), dead_.end(), [&](const dead_letter& y) { return y.id == x.id; })) dead_.push_back(x);
  }
  for (const auto& x : batch.dead_changes) {
    const auto is_it = [&](const dead_letter& y) { return y.id == x.id && y.requeue == x.requeue && !y.requeued; };
    if (x.what == dead_letter_change::to::purged)
      std::erase_if(dead_, is_it);
    else if (const auto found = std::find_if(dead_.begin(), dead_.end(), is_it); found != dead_.end())
      found->requeued = true;
  }
  for (const auto& x : batch.positions) {
    auto& at = positions_[static_cast<std::uint32_t>(x.shard)];
    if (x.next_offset < at.next_offset) continue;
    at.next_offset = x.next_offset;
    for (const auto& origin : x.origins) at.origins.insert_or_assign(origin.from, origin);
  }
  return duplicates;
}

void memory_store::write(store_batch batch, urgency, store_done<void> done) {
  ask([this, batch = std::move(batch), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    if (auto duplicates = store(batch); !duplicates.empty()) batch.duplicates(std::move(duplicates));
    done({});
  });
}

std::vector<message_ptr> memory_store::own(const address& user, sequence after) const {
  const std::lock_guard lock(mutex_);
  std::vector<message_ptr> out;
  if (const auto found = messages_.find(user); found != messages_.end()) {
    for (auto it = found->second.upper_bound(after); it != found->second.end(); ++it) out.push_back(it->second);
  }
  return out;
}

stored_page memory_store::page_of(const address& user, sequence after, std::size_t limit) const {
  stored_page out;
  const auto shard = shard_of(user, shards_);
  std::uint64_t end = 0;
  std::uint32_t generation = 0;
  if (shared_) {
    end = shared_->end_offset(shard);
    generation = shared_->generation();
    out.messages = shared_->messages_of(user, after, limit + 1);
  } else {
    out.messages = own(user, after);
    const std::lock_guard lock(mutex_);
    end = positions_[static_cast<std::uint32_t>(shard)].next_offset;
  }
  out.complete_to = sequence::before(generation, end);
  out.more = out.messages.size() > limit;
  if (out.more) out.messages.resize(limit);
  return out;
}

void memory_store::load(address user, std::size_t limit, store_done<stored_mailbox> done) {
  ask([this, user = std::move(user), limit, done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    stored_mailbox out;
    out.record = record_of(user);
    out.page = page_of(user, out.record.acked.floor(), limit);
    out.above_floor = shared_ ? shared_->count_of(user, out.record.acked.floor()) : own(user, out.record.acked.floor()).size();
    out.unread = shared_ ? shared_->count_of(user, out.record.read_upto) : own(user, out.record.read_upto).size();
    done(std::move(out));
  });
}

void memory_store::read(address user, sequence after, std::size_t limit, store_done<stored_page> done) {
  ask([this, user = std::move(user), after, limit, done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    done(page_of(user, after, limit));
  });
}

void memory_store::dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) {
  ask([this, query = std::move(query), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    const auto all = dead();
    auto from = all.begin();
    if (!query.after.empty()) {
      from = std::find_if(all.begin(), all.end(), [&](const dead_letter& x) { return x.id == query.after; });
      from = from == all.end() ? from : std::next(from);
    }
    std::vector<dead_letter> page;
    for (; from != all.end() && page.size() < query.limit; ++from) {
      if (!query.id.empty() && from->id != query.id) continue;
      if (!query.address.empty() && from->to.text() != query.address) continue;
      if (!query.topic.empty() && from->topic != query.topic) continue;
      if (query.reason && from->reason != *query.reason) continue;
      if ((query.since && from->last < *query.since) || (query.until && from->last >= *query.until)) continue;
      if (from->requeued && !query.requeued_too) continue;
      page.push_back(*from);
    }
    done(std::move(page));
  });
}

void memory_store::stop() {
  while (run()) {}
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

}  // namespace doorstep::test
