// SPDX-License-Identifier: Apache-2.0
// A source_listener that notes what it is told and can be waited for. Called on the source's thread, asked on the test's.
#pragma once

#include "storage/record_source.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

/// Notes what it is told. With `flow` it grants that much to start with, gives credit back and commits as records come, as a PARTITION actor would.
class source_recorder : public source_listener {
public:
  struct partition {
    std::uint32_t generation = 0;
    std::int64_t committed = -2;
    int assigned = 0, revoked = 0;
    bool held = false;
    std::size_t granted = 0, handed = 0;
    bool over_credit = false;
    std::vector<std::int64_t> offsets;
    std::vector<std::uint32_t> generations;
    std::vector<source_record> records;
  };

  explicit source_recorder(std::size_t flow = 0, bool commits = true) : flow_(flow), commits_(commits) {}
  void attach(record_source& source) { source_ = &source; }

  void assigned(const topic_partition& what, std::uint32_t generation, std::int64_t committed) override {
    change([&] {
      auto& x = partitions_[what];
      x.generation = generation;
      x.generations.push_back(generation);
      x.committed = committed;
      x.granted = x.handed = 0;
      x.held = true;
      ++x.assigned;
    });
    if (flow_ > 0) grant(what, flow_);
  }
  void revoked(const topic_partition& what) override {
    change([&] {
      partitions_[what].held = false;
      ++partitions_[what].revoked;
    });
  }
  void records(source_batch batch) override {
    const auto last = batch.records.back().offset;
    const auto count = batch.records.size();
    change([&] {
      auto& x = partitions_[batch.from];
      x.handed += count;
      x.over_credit = x.over_credit || x.handed > x.granted;
      for (auto& record : batch.records) {
        x.offsets.push_back(record.offset);
        x.records.push_back(std::move(record));
      }
    });
    if (flow_ == 0) return;
    if (commits_) source_->commit(batch.from, last + 1);
    grant(batch.from, count);
  }
  void reachable(bool yes, const std::string& why) override {
    change([&] { reachable_.emplace_back(yes, why); });
  }

  void grant(const topic_partition& what, std::size_t count) {
    change([&] { partitions_[what].granted += count; });
    source_->grant(what, count);
  }

  /// Waits until `what` holds for what was noted.
  template <class Condition>
  [[nodiscard]] bool wait(Condition what, std::chrono::seconds limit = std::chrono::seconds{20}) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return what(*this); });
  }
  [[nodiscard]] bool wait_for_records(const topic_partition& what, std::size_t count, std::chrono::seconds limit = std::chrono::seconds{20}) {
    return wait([&](source_recorder& x) { return x.partitions_[what].offsets.size() >= count; }, limit);
  }
  partition operator[](const topic_partition& what) {
    const std::lock_guard lock(mutex_);
    return partitions_[what];
  }

  std::map<topic_partition, partition> partitions_;
  std::vector<std::pair<bool, std::string>> reachable_;

private:
  void change(const std::function<void()>& what) {
    const std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }
  const std::size_t flow_;
  const bool commits_;
  record_source* source_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace doorstep
