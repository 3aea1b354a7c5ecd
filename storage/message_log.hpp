// SPDX-License-Identifier: Apache-2.0
// The mailbox log: what is durable here is accepted. Implementations: embedded_log (SQLite), kafka_log.
// Threads: append(), grant() and close_shard() may be called from any thread and never block; callbacks run on the log's own thread and must not block.
#pragma once

#include "runtime/error.hpp"
#include "runtime/message.hpp"
#include "runtime/stored.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace doorstep {

/// What became of one entry.
enum class verdict : std::uint8_t {
  appended,   ///< it has a seq
  duplicate,  ///< the same event was accepted within the dedup window; no second seq
  replay,     ///< a router appended it again after a restart; no second seq
};

struct appended {
  verdict what = verdict::appended;
  sequence seq;  ///< 0 unless appended
};

/// Called once per append, when all is durable: one verdict an entry in their order, or the failure that left all of them unwritten; with a log that does not
/// judge duplicates some of them may have landed all the same.
using append_done = std::function<void(result<std::vector<appended>>)>;

/// A message as the log hands it to its shard.
struct logged {
  message_ptr what;
  origin came_from;                             ///< `from` is null where append already judged replays
  dead_reason reason = dead_reason::malformed;  ///< for address::dead_letters()
  std::string detail;
};

/// Records of one shard in log order. `next_offset` is where reading goes on after them.
struct log_batch {
  shard_id shard{};
  std::vector<logged> records;
  std::uint64_t next_offset = 0;
};
using log_sink = std::function<void(log_batch)>;

/// Who may be turned away.
enum class admission {
  bounded,   ///< refused when the queue is full: HTTP
  credited,  ///< the caller holds its own credit and is always taken: partitions
};

class message_log {
public:
  virtual ~message_log() = default;
  virtual std::uint32_t shard_count() const = 0;
  virtual std::uint32_t generation() const = 0;
  /// True where append() drops replays and duplicates. Else every entry gets a seq, and whoever reads judges: replays by their origin, duplicates by the store.
  virtual bool judges_duplicates() const { return true; }

  /// Queues entries for the next group commit; all of them or none. Entries of one caller keep their order.
  /// @returns false when `admission::bounded` and the queue is full; then nothing was taken and `done` is not called.
  virtual bool append(std::vector<log_entry> entries, admission who, append_done done) = 0;

  /// Starts handing a shard's records to `sink`, from `from_offset` on, never more than was granted. Records are durable before they are handed over.
  virtual void open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) = 0;
  /// Allows `records` more.
  virtual void grant(shard_id shard, std::size_t records) = 0;
  virtual void close_shard(shard_id shard) = 0;
  /// The store beside the log has everything below, durably: lag tools may see it, and retention may take it.
  virtual void stored(shard_id, std::uint64_t /*next_offset*/) {}
  /// Retention of a log that has a store beside it and no retention of its own: of the oldest records those go that the store has. Safe to repeat.
  virtual void reap(reap_step, std::function<void(result<reaped>)> done) { done(reaped{}); }
  /// Why no more records of a shard are handed over, although there are some; empty: they are.
  virtual std::string why_stopped(shard_id) const { return {}; }

  /// Offset that the next record of the shard will get: the end of what is durable.
  virtual std::uint64_t end_offset(shard_id shard) const = 0;
  /// Entries queued and not yet durable, and the limit that `admission::bounded` meets.
  virtual std::size_t queued() const = 0;
  virtual std::size_t queue_max() const = 0;

  /// Writes what is queued, calls what is owed, stops the thread. Appends after this fail with ec::stopping.
  virtual void stop() = 0;
};

}  // namespace doorstep
