// SPDX-License-Identifier: Apache-2.0
// What waits for the next group commit, and when that is: published events and urgent writes at once, records of sources after a linger (their commit and
// their credit are batched anyway), other writes with them or after an interval. Any thread puts, the writing thread takes.
#pragma once

#include "runtime/ids.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace doorstep {

/// One append() on its way to the next commit.
struct append_work {
  std::vector<log_entry> entries;
  append_done done;
  std::vector<appended> verdicts;  ///< filled in by the commit
};

/// One reap() on its way, and what came of it.
struct reap_work {
  reap_step step;
  reaped outcome;
  std::vector<std::uint64_t> stored{};  ///< of a log beside its store: how far that is, by shard; nothing at or above is taken
};
/// One write() on its way to the next commit, or one reap(): then the batch is empty.
struct store_work {
  store_batch batch;
  store_done<void> done;
  std::vector<message_ptr> duplicates{};  ///< of batch.messages; filled in by the commit where the batch asks for it
  std::shared_ptr<reap_work> reap{};
};
inline store_work reap_work_of(reap_step step, store_done<reaped> done, std::vector<std::uint64_t> stored = {}) {
  auto work = std::make_shared<reap_work>(reap_work{std::move(step), {}, std::move(stored)});
  auto tell = [work, done = std::move(done)](const result<void>& x) { x ? done(std::move(work->outcome)) : done(x.error()); };
  return {{}, std::move(tell), {}, std::move(work)};
}

class commit_queue {
public:
  commit_queue(std::size_t entries_max, std::size_t batch_entries, milliseconds linger, milliseconds interval)
      : entries_max_(entries_max), batch_entries_(batch_entries), linger_(linger), interval_(interval) {}

  enum class put_result { taken, full, stopped };
  put_result put(append_work& work, admission who);
  put_result put(store_work& work, urgency when);

  /// Waits for the next transaction's worth; comes back empty-handed when `spare_work` is set and nothing else is due, or after `patience`.
  /// @returns false when there is no more to come.
  bool take(std::vector<append_work>& appends, std::vector<store_work>& writes, bool spare_work, std::optional<milliseconds> patience = {});
  /// Lets the thread that takes come back once, empty-handed if need be.
  void look();
  /// What was taken is durable, or failed: entries leave the queue before their callers are told.
  void settled(std::size_t entries);
  /// The callers have been told.
  void told();

  std::size_t queued() const;
  std::size_t entries_max() const { return entries_max_; }

  /// Refuses appends (writes) from now on and waits until those taken have been told.
  void stop_appends();
  void stop_writes();
  bool stopped() const;

private:
  bool due(steady_time now) const;
  std::optional<steady_time> next_due() const;
  void wake();

  const std::size_t entries_max_, batch_entries_;
  const milliseconds linger_, interval_;
  mutable std::mutex mutex_;
  std::condition_variable work_, drained_;
  std::deque<append_work> appends_;
  std::deque<store_work> writes_;
  std::size_t entries_ = 0;  ///< queued or in the open transaction
  std::size_t in_hand_appends_ = 0, in_hand_writes_ = 0;
  bool urgent_ = false;                   ///< a write or a published event wants the next commit
  std::optional<steady_time> append_by_;  ///< of the oldest entry that lingers
  std::optional<steady_time> write_by_;   ///< of the oldest write that waits
  bool waiting_ = false, look_ = false;
  bool no_appends_ = false, no_writes_ = false;
};

}  // namespace doorstep
