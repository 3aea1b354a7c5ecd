// SPDX-License-Identifier: Apache-2.0
// What survives beside the log: users' messages, cursors, dead letters, positions. Implementations: sqlite_store, mongo_store.
// Threads: every call may come from any thread and never blocks; callbacks run on the store's own threads and must not block.
#pragma once

#include "runtime/cursor.hpp"
#include "runtime/error.hpp"
#include "runtime/message.hpp"
#include "runtime/origin_filter.hpp"
#include "runtime/stored.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

/// How far a shard's records are in the store; monotone by offset. Written after the messages it covers, in the same transaction where there is one.
struct shard_position {
  shard_id shard{};
  std::uint64_t next_offset = 0;
  std::vector<origin_position> origins{};  ///< where a log does not judge replays: what changed of its origin partitions; read back: all of them
};

/// A dead letter leaves by compare-and-set: nothing happens unless the row is still there, not requeued, and died as requeue number `requeue`.
struct dead_letter_change {
  enum class to : std::uint8_t {
    requeued,
    purged,
    mirrored
  };  ///< the row stays and says so / the row goes / the row stays, requeued or not, and says so
  std::string id;
  std::uint32_t requeue = 0;
  to what = to::requeued;
};

/// One transaction's worth, all or nothing where the engine has transactions: dead letters first, then the cursors that settle them, where it has none.
/// Every part is safe to write twice.
///
/// `dead`: a row is unique by id. One with a lower `requeue` gives way (the message was requeued and died again); else the first one stays.
struct store_batch {
  std::vector<message_ptr> messages;  ///< those the store does not have yet; none where log and store share one table
  std::vector<cursor_record> cursors;
  std::vector<dead_letter> dead;
  std::vector<shard_position> positions;
  std::vector<dead_letter_change> dead_changes{};
  std::vector<inbox_record> inboxes{};  ///< written before the cursors that they come with
  /// Set where the log does not judge duplicates: then `messages` are judged, in the order of the log, before they are stored. Called right before `done` of a
  /// write that succeeded, if it is not empty, with those that are not stored because the same message was within the dedup window.
  std::function<void(std::vector<message_ptr>)> duplicates{};
};

/// Who the store is, and beside which log it stands.
struct store_identity {
  std::string store_id;  ///< random, made with the store
  std::string log_id;
  std::uint32_t generation = 0;
};

/// When a write has to be durable.
enum class urgency {
  now,   ///< at the next commit, and there is one at once
  soon,  ///< rides on the next commit, at latest after store.commit_interval
};

/// Which dead letters, oldest entry first. A part that is empty lets everything through.
struct dead_letter_query {
  std::string after;  ///< id of the last one of the former page, or empty
  std::size_t limit = 100;
  std::string id{};       ///< only this one
  std::string address{};  ///< text of the address it was for
  std::string topic{};
  std::optional<dead_reason> reason{};
  std::optional<unix_ms> since{}, until{};  ///< dead_letter::last: at or after / before
  bool requeued_too = true;                 ///< false: only those that are still dead
  bool unmirrored = false;                  ///< only those that the mirror does not have; of the other parts only the limits count then
  std::size_t bytes_max = SIZE_MAX;         ///< a page ends with the one that reaches this, by memory_of()
};

template <class T>
using store_done = std::function<void(result<T>)>;

class message_store {
public:
  virtual ~message_store() = default;

  /// True where appended messages are in the store by the same durable write, so that store_batch::messages stays empty.
  virtual bool shares_log() const = 0;
  virtual store_identity identity() const = 0;
  /// Positions of all shards, read when the store was opened.
  virtual std::vector<shard_position> positions() const = 0;

  virtual void write(store_batch batch, urgency when, store_done<void> done) = 0;
  /// @param box a user, or device_box()
  virtual void load(address box, std::size_t limit, store_done<stored_mailbox> done) = 0;
  /// The registered devices of a user, in order of their ids; none where acks are the user's.
  virtual void devices(address user, store_done<std::vector<cursor_record>> done) = 0;
  /// The cursors of these keys (reader_key() or user addresses) in their order; version 0 where nobody has written one yet.
  virtual void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) = 0;
  /// Messages of `user` with seq > after, at most `limit`. Of a channel also how far retention has gone.
  virtual void read(address user, sequence after, std::size_t limit, store_done<stored_page> done) = 0;
  /// Which of `seqs` (rising) are messages of `user`, each with the stored one before it.
  virtual void locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) = 0;
  /// @param box a user, or device_box(): then `acked` is that device's; or a channel, with `query.reader`
  virtual void history(address box, history_query query, store_done<stored_history> done) = 0;
  /// Retention and expiry. What a user is owed stays, and so does what a shard might read again; messages of channels go by their age, and the last one that went is
  /// noted under gone_key(). Safe to repeat.
  virtual void reap(reap_step step, store_done<reaped> done) = 0;
  virtual void dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) = 0;

  /// From now on nothing is read: who asks, and who waits for an answer, is told ec::stopping. A drain writes and needs to know nothing more.
  virtual void stop_reading() = 0;
  /// Writes and calls back what is queued, then stops the threads. Calls after this fail with ec::stopping.
  virtual void stop() = 0;
};

}  // namespace doorstep
