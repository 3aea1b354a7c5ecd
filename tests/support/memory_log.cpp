// SPDX-License-Identifier: Apache-2.0
// A mailbox log in memory; callbacks run inside run() and with no lock held, so they may call the log again.
#include "tests/support/memory_log.hpp"

#include <algorithm>
#include <utility>

namespace doorstep::test {

memory_log::memory_log(memory_log_options options) : options_(options), shards_(options.shards) {}

bool memory_log::run() {
  bool any = false;
  while (commit_one() || hand_over_one()) any = true;
  return any;
}

void memory_log::fail_with(std::optional<failure> why) {
  const std::lock_guard lock(mutex_);
  failing_ = std::move(why);
}

bool memory_log::append(std::vector<log_entry> entries, admission who, append_done done) {
  std::unique_lock lock(mutex_);
  if (stopped_) {
    lock.unlock();
    done(failure{ec::stopping, "the log is stopped", {}});
    return true;
  }
  if (who == admission::bounded && queued_ > 0 && queued_ + entries.size() > options_.queue_max) return false;
  queued_ += entries.size();
  jobs_.push_back({std::move(entries), std::move(done)});
  return true;
}

appended memory_log::place(log_entry& entry) {
  auto& shard = shards_[static_cast<std::uint32_t>(shard_of(entry.to, options_.shards))];
  const auto offset = shard.records.size();
  if (options_.judges) {
    if (origins_.is_replay(entry.came_from, entry.to, offset)) return {verdict::replay, {}};
    auto& seen = keys_[entry.id + '/' + std::to_string(entry.requeue)];
    if (seen.value != 0 && entry.appended.value - seen.value < options_.dedup_window.count()) return {verdict::duplicate, {}};
    seen = entry.appended;
  }
  const auto seq = sequence::at(options_.generation, offset);
  auto made = std::make_shared<const message>(message{entry.to, seq, std::move(entry.id), std::move(entry.what), entry.appended, entry.requeue,
                                                      entry.came_from.from, entry.came_from.offset, std::move(entry.terms)});
  if (!entry.to.is_dead_letters()) by_address_[made->to].push_back(made);
  shard.records.push_back({std::move(made), options_.judges ? origin{} : std::move(entry.came_from), entry.reason, std::move(entry.detail)});
  return {verdict::appended, seq};
}

bool memory_log::commit_one() {
  std::unique_lock lock(mutex_);
  if (jobs_.empty()) return false;
  auto next = std::move(jobs_.front());
  jobs_.pop_front();
  queued_ -= next.entries.size();
  if (failing_) {
    const auto why = *failing_;
    lock.unlock();
    next.done(why);
    return true;
  }
  std::vector<appended> verdicts;
  verdicts.reserve(next.entries.size());
  for (auto& entry : next.entries) verdicts.push_back(place(entry));
  origins_.commit();
  lock.unlock();
  next.done(std::move(verdicts));
  return true;
}

bool memory_log::hand_over_one() {
  std::unique_lock lock(mutex_);
  for (std::uint32_t i = 0; i < options_.shards; ++i) {
    auto& shard = shards_[i];
    if (!shard.sink || shard.granted == 0 || shard.next >= shard.records.size()) continue;
    const auto count = std::min<std::size_t>(shard.granted, shard.records.size() - shard.next);
    const auto first = shard.records.begin() + static_cast<std::ptrdiff_t>(shard.next);
    log_batch batch{shard_id{i}, std::vector<logged>(first, first + static_cast<std::ptrdiff_t>(count)), shard.next + count};
    shard.granted -= count;
    shard.next += count;
    const auto sink = shard.sink;
    lock.unlock();
    sink(std::move(batch));
    return true;
  }
  return false;
}

void memory_log::open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) {
  const std::lock_guard lock(mutex_);
  auto& at = shards_[static_cast<std::uint32_t>(shard)];
  at.next = from_offset;
  at.granted = 0;
  at.sink = std::move(sink);
}

void memory_log::grant(shard_id shard, std::size_t records) {
  const std::lock_guard lock(mutex_);
  auto& at = shards_[static_cast<std::uint32_t>(shard)];
  if (at.sink) at.granted += records;
}

void memory_log::close_shard(shard_id shard) {
  const std::lock_guard lock(mutex_);
  auto& at = shards_[static_cast<std::uint32_t>(shard)];
  at.sink = nullptr;
  at.granted = 0;
}

std::uint64_t memory_log::end_offset(shard_id shard) const {
  const std::lock_guard lock(mutex_);
  return shards_[static_cast<std::uint32_t>(shard)].records.size();
}

std::size_t memory_log::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

void memory_log::stop() {
  run();
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

std::vector<message_ptr> memory_log::messages_of(const address& to, sequence after, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_address_.find(to);
  if (found == by_address_.end()) return {};
  const auto& all = found->second;
  const auto first = std::upper_bound(all.begin(), all.end(), after, [](sequence a, const message_ptr& b) { return a < b->seq; });
  const auto count = std::min<std::size_t>(limit, static_cast<std::size_t>(all.end() - first));
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

std::vector<message_ptr> memory_log::older_than(unix_ms before) const {
  const std::lock_guard lock(mutex_);
  std::vector<message_ptr> out;
  for (const auto& [to, messages] : by_address_)
    for (const auto& x : messages)
      if (x->appended < before) out.push_back(x);
  return out;
}

void memory_log::forget(const message& x) {
  const std::lock_guard lock(mutex_);
  std::erase_if(by_address_[x.to], [&](const message_ptr& y) { return y->seq == x.seq; });
}

}  // namespace doorstep::test
