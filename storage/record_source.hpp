// SPDX-License-Identifier: Apache-2.0
// Records from a topic in partition order, with credit. Implementation: kafka_source.
// Threads: callbacks of the listener run on the source's own thread and must not block; grant() and commit() may be called from any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/event.hpp"
#include "runtime/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doorstep {

struct topic_partition {
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const topic_partition&) const = default;
};

/// A record crosses two threads, so all its bytes are one piece of memory: what it is read from, own() copies.
struct source_record {
  std::int64_t offset = 0;
  std::optional<std::string_view> key;
  std::vector<header_view> headers;
  std::optional<std::string_view> value;  ///< none: a tombstone
  unix_ms timestamp;

  std::shared_ptr<const char[]> bytes{};  ///< what the views are of; null until own()

  /// Copies what the views are of, and makes them views of the copy. Copies of the record share it.
  void own() {
    std::size_t size = (key ? key->size() : 0) + (value ? value->size() : 0);
    for (const auto& x : headers) size += x.name.size() + x.value.size();
    auto place = std::make_shared_for_overwrite<char[]>(size);
    char* next = place.get();
    const auto keep = [&](std::string_view& x) {
      char* const from = next;
      next = std::copy(x.begin(), x.end(), next);
      x = {from, x.size()};
    };
    if (key) keep(*key);
    if (value) keep(*value);
    for (auto& x : headers) {
      keep(x.name);
      keep(x.value);
    }
    bytes = std::move(place);
  }
};

/// Consecutive records of one partition (offsets rise; compaction and control records leave gaps).
struct source_batch {
  topic_partition from;
  std::vector<source_record> records;
};

class source_listener {
public:
  virtual ~source_listener() = default;
  /// The group gave us a partition; records come after the first grant. `generation` rises when the topic is made anew; `committed` is -1 where the group has none.
  virtual void assigned(const topic_partition& what, std::uint32_t generation, std::int64_t committed) = 0;
  /// It is gone. The last offset given to commit() has been committed; later commits of it are ignored.
  virtual void revoked(const topic_partition& what) = 0;
  virtual void records(source_batch batch) = 0;
  /// A change of state: not reachable (with the reason) or back (empty text).
  virtual void reachable(bool yes, const std::string& why) = 0;
};

class record_source {
public:
  virtual ~record_source() = default;
  virtual const std::string& name() const = 0;
  /// Joins the group and begins to call the listener, which must outlive stop().
  virtual void start(source_listener& listener) = 0;
  /// Allows `records` more of a partition. Without credit the partition is paused.
  virtual void grant(const topic_partition& what, std::size_t records) = 0;
  /// Everything below `next_offset` is durable in the mailbox log. Committed to the broker every commit interval, at a revocation and at stop().
  virtual void commit(const topic_partition& what, std::int64_t next_offset) = 0;
  /// Goes back to `offset` after a failed append; records handed over before are handed over again.
  virtual void rewind(const topic_partition& what, std::int64_t offset) = 0;
  struct lag {
    topic_partition what;
    std::int64_t committed = -1;
    std::int64_t end = -1;
  };
  virtual std::vector<lag> lags() const = 0;
  /// Commits, leaves the group, joins the thread.
  virtual void stop() = 0;
};

}  // namespace doorstep
