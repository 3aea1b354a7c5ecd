// SPDX-License-Identifier: Apache-2.0
// The seam between disk and memory is one rule, kept under the lock: while `reading` is set only the reading thread moves `next`; otherwise only the
// writing thread does, and only from `next == offset of the record in hand`.
#include "storage/embedded_handover.hpp"

#include "runtime/test_points.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t read_records_max = 512;  // a batch from disk

}  // namespace

embedded_handover::embedded_handover(std::vector<std::uint64_t> ends, on_reader queue, on_read tell)
    : shards_(ends.size()), queue_(std::move(queue)), tell_(std::move(tell)) {
  for (std::size_t i = 0; i < ends.size(); ++i) shards_[i].end = ends[i];
}

void embedded_handover::open(shard_id shard, std::uint64_t from_offset, log_sink sink) {
  const std::lock_guard lock(mutex_);
  auto& x = at(shard);
  x.next = from_offset;
  x.granted = 0;
  x.sink = std::make_shared<const log_sink>(std::move(sink));
}

void embedded_handover::close(shard_id shard) {
  const std::lock_guard lock(mutex_);
  at(shard).sink = nullptr;
  at(shard).granted = 0;
}

std::uint64_t embedded_handover::end_of(shard_id shard) const {
  const std::lock_guard lock(mutex_);
  return shards_[static_cast<std::uint32_t>(shard)].end;
}

void embedded_handover::grant(shard_id shard, std::size_t records) {
  std::unique_lock lock(mutex_);
  auto& x = at(shard);
  if (!x.sink) return;
  x.granted += records;
  if (!behind(x)) return;
  x.reading = true;
  lock.unlock();
  start_reading(static_cast<std::uint32_t>(shard));
}

void embedded_handover::start_reading(std::uint32_t shard) {
  queue_([this, shard](const read_records& read) { read_on(shard, read); });
}

/// Called with `reading` set. One batch a call, so that others who want to read get their turn.
void embedded_handover::read_on(std::uint32_t shard, const read_records& read) {
  std::unique_lock lock(mutex_);
  auto& x = shards_[shard];
  const auto sink = x.sink;
  const auto from = x.next;
  const auto limit = std::min({x.granted, static_cast<std::size_t>(x.end - std::min(x.next, x.end)), read_records_max});
  if (!sink || limit == 0) {
    x.reading = false;
    return;
  }
  lock.unlock();
  auto found = read(shard, from, limit);
  lock.lock();
  if (!found) {
    x.reading = false;
    failing_ = true;
    lock.unlock();
    const auto why = found.error();
    tell_(&why);
    return;
  }
  if (x.sink == sink) {
    x.next += found->size();
    x.granted -= found->size();
    const auto next = x.next;
    lock.unlock();
    (*sink)({shard_id{shard}, std::move(*found), next});
    lock.lock();
  }
  x.reading = x.sink && x.granted > 0 && x.next < x.end;
  const bool more = x.reading;
  lock.unlock();
  tell_(nullptr);
  if (more) start_reading(shard);
}

void embedded_handover::committed(std::span<append_work> appends) {
  std::vector<log_batch> batches;
  std::vector<std::shared_ptr<const log_sink>> sinks;
  std::vector<std::uint32_t> late;
  {
    const std::lock_guard lock(mutex_);
    std::vector<std::size_t> batch_of(shards_.size(), SIZE_MAX);
    for (auto& work : appends) {
      for (std::size_t i = 0; i < work.entries.size(); ++i) {
        if (work.verdicts[i].what != verdict::appended) continue;
        auto& entry = work.entries[i];
        const auto seq = work.verdicts[i].seq;
        const auto shard = static_cast<std::uint32_t>(shard_of(entry.to, static_cast<std::uint32_t>(shards_.size())));
        auto& x = shards_[shard];
        x.end = seq.offset() + 1;
        if (!x.sink || x.reading || x.granted == 0 || x.next != seq.offset()) continue;
        if (batch_of[shard] == SIZE_MAX) {
          batch_of[shard] = batches.size();
          batches.push_back({shard_id{shard}, {}, 0});
          sinks.push_back(x.sink);
        }
        auto made =
            std::make_shared<const message>(message{std::move(entry.to), seq, std::move(entry.id), std::move(entry.what), entry.appended,
                                                    entry.requeue, std::move(entry.came_from.from), entry.came_from.offset, std::move(entry.terms)});
        auto& batch = batches[batch_of[shard]];
        const bool lost = seeded_bug("lost-at-handover") && seq.offset() % 32 == 7;
        if (!lost) batch.records.push_back({std::move(made), {}, entry.reason, std::move(entry.detail)});
        batch.next_offset = ++x.next;
        --x.granted;
      }
    }
    // sinks are called with no lock held; until then nobody else may hand over the same shard
    for (const auto& batch : batches) at(batch.shard).reading = true;
  }
  for (std::size_t i = 0; i < batches.size(); ++i) (*sinks[i])(std::move(batches[i]));
  {
    const std::lock_guard lock(mutex_);
    for (const auto& batch : batches) at(batch.shard).reading = false;
    for (std::uint32_t i = 0; i < shards_.size(); ++i) {
      if (!behind(shards_[i])) continue;
      shards_[i].reading = true;
      late.push_back(i);
    }
  }
  for (const auto shard : late) start_reading(shard);
}

bool embedded_handover::failing() const {
  const std::lock_guard lock(mutex_);
  return failing_;
}

bool embedded_handover::retry() {
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(failing_, false)) return false;
  }
  committed({});
  return true;
}

}  // namespace doorstep
