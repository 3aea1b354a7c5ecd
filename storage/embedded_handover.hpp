// SPDX-License-Identifier: Apache-2.0
// Hands durable records to their shards: straight from memory where the shard is at the end of the log, else read from disk until it is. Never more than was
// granted, nothing twice, nothing left out. Any thread may open, grant and close; records come from the writing or the reading thread, never from both at a time.
#pragma once

#include "storage/commit_queue.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace doorstep {

class embedded_handover {
public:
  using read_records = std::function<result<std::vector<logged>>(std::uint32_t shard, std::uint64_t offset, std::size_t limit)>;
  /// Queues a call for the reading thread.
  using on_reader = std::function<void(std::function<void(const read_records&)>)>;
  /// Told after each reading, on the reading thread; null when it went well.
  using on_read = std::function<void(const failure* why)>;

  embedded_handover(std::vector<std::uint64_t> ends, on_reader queue, on_read tell);

  void open(shard_id shard, std::uint64_t from_offset, log_sink sink);
  void grant(shard_id shard, std::size_t records);
  void close(shard_id shard);
  std::uint64_t end_of(shard_id shard) const;

  /// Writing thread, after COMMIT and once the tail index has the rows: takes the entries apart.
  void committed(std::span<append_work> appends);
  /// Tries again where reading failed. @returns whether there was anything.
  bool retry();
  bool failing() const;

private:
  struct shard_state {
    std::uint64_t next = 0, end = 0;
    std::size_t granted = 0;
    std::shared_ptr<const log_sink> sink;  ///< null = closed; also tells one opening from the next
    bool reading = false;
  };
  shard_state& at(shard_id shard) { return shards_[static_cast<std::uint32_t>(shard)]; }
  bool behind(const shard_state& x) const { return x.sink && !x.reading && x.granted > 0 && x.next < x.end; }
  void read_on(std::uint32_t shard, const read_records& read);
  void start_reading(std::uint32_t shard);

  mutable std::mutex mutex_;
  std::vector<shard_state> shards_;
  bool failing_ = false;
  const on_reader queue_;
  const on_read tell_;
};

}  // namespace doorstep
