// SPDX-License-Identifier: Apache-2.0
// The threads of the store. The writer: take what has come together, write it, tell. The readers: one question after the other.
#include "storage/mongo_store.hpp"

#include "runtime/burst.hpp"
#include "runtime/devices.hpp"
#include "runtime/log.hpp"
#include "runtime/threads.hpp"
#include "storage/commit_queue.hpp"
#include "storage/mongo_reader.hpp"
#include "storage/mongo_schema.hpp"
#include "storage/mongo_writer.hpp"
#include "storage/question_queue.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

/// A document may have 16 MiB; the fields beside the event are small.
constexpr std::size_t record_bytes_limit = 15 * 1024 * 1024;

failure stopping() { return {ec::stopping, "the store is stopped", {}}; }

/// Whether the server takes writes and answers questions: one outage for both. Answers that are lost now and then are not many outages, so it counts as working
/// when nothing has failed for a while; the writing thread sees to that, and asks a question of its own where nobody else does.
class store_health {
public:
  static constexpr milliseconds settles{2'000}, look{500};

  store_health(metrics& counts, std::string database) : counts_(counts), database_(std::move(database)) {}

  void note_write(const std::optional<failure>& why) { note(cannot_write_, why, "cannot write to database "); }
  void note_read(const std::optional<failure>& why) {
    if (!why || why->code == ec::unavailable) note(cannot_read_, why, "cannot read database ");
  }
  bool is_away() const { return away_.load(std::memory_order_relaxed); }
  bool cannot_read() const {
    const std::lock_guard lock(mutex_);
    return cannot_read_;
  }
  /// Has it worked for long enough?
  void judge() {
    const std::lock_guard lock(mutex_);
    if (!away_ || cannot_write_ || cannot_read_ || std::chrono::steady_clock::now() < failed_at_ + settles) return;
    away_ = false;
    counts_.away.end("store");
  }

private:
  void note(bool& what, const std::optional<failure>& why, const char* words) {
    if (!why && !is_away()) return;
    {
      const std::lock_guard lock(mutex_);
      what = why.has_value();
      if (why) {
        failed_at_ = std::chrono::steady_clock::now();
        away_ = true;
        counts_.away.begin("store", words + database_ + ": " + why->detail,
                           "messages are pushed from the log to users whose mailbox is in memory, acks get no receipt");
      }
    }
    judge();
  }

  metrics& counts_;
  const std::string database_;
  mutable std::mutex mutex_;
  bool cannot_write_ = false, cannot_read_ = false;
  steady_time failed_at_{};
  std::atomic<bool> away_ = false;
};

}  // namespace

struct mongo_store::impl {
  impl(const config& options, std::shared_ptr<mongo_pool> p, mongo_identity who, metrics& m)
      : counts(m),
        pool(std::move(p)),
        identity(std::move(who)),
        generation(identity.who.generation),
        by_device(acks_by_device(options.delivery)),
        stored_to(identity.positions),
        writer(pool, doubts, options.log.dedup_window, counts),
        health(m, options.store.database),
        queue(1, options.log.batch_entries_max, milliseconds{0}, options.store.commit_interval) {
    queue.stop_appends();
    writing = std::thread([this] {
      name_this_thread("store-writer");
      write_on();
    });
    for (std::size_t i = 1; i < options.store.connections_max; ++i)
      reading.emplace_back([this, with_bytes = options.delivery.mailbox_bytes_max != 0, by_device = by_device] {
        name_this_thread("store-reader");
        mongo_reader reader(pool, doubts, with_bytes, by_device);
        questions.answer(reader);
      });
  }

  void write_on();
  void settle(std::vector<store_work>& writes, const std::optional<failure>& why);
  sequence complete_to(const address& user) const;
  shard_id shard_of_user(const address& user) const { return shard_of(user, static_cast<std::uint32_t>(identity.positions.size())); }
  std::vector<shard_position> positions_now() const {
    const std::lock_guard lock(positions_mutex);
    return stored_to;
  }
  void write(store_work work, urgency when) {
    counts.store_queue.add(1);
    if (queue.put(work, when) == commit_queue::put_result::taken) return;
    counts.store_queue.add(-1);
    work.done(stopping());
  }
  template <class T, class Ask>
  void ask(store_done<T> done, Ask question);
  void stop();

  metrics& counts;
  const std::shared_ptr<mongo_pool> pool;
  const mongo_identity identity;
  const std::uint32_t generation;
  const bool by_device;  ///< whether devices have cursors of their own
  mutable std::mutex positions_mutex;
  std::vector<shard_position> stored_to;  ///< messages below are stored
  cursors_in_doubt doubts;
  mongo_writer writer;
  store_health health;
  commit_queue queue;
  question_queue<mongo_reader> questions{stopping()};
  std::atomic<bool> reads_stopped = false;
  std::thread writing;
  std::vector<std::thread> reading;
  std::mutex joining;
};

void mongo_store::impl::write_on() {
  std::vector<append_work> none;
  std::vector<store_work> writes;
  while (queue.take(none, writes, false, health.is_away() ? std::optional(store_health::look) : std::nullopt)) {
    if (health.is_away() && health.cannot_read()) health.note_read(writer.ping());
    health.judge();
    const auto why = writes.empty() ? std::nullopt : writer.run(writes);
    settle(writes, why);
    writes.clear();
    queue.told();
  }
}

void mongo_store::impl::settle(std::vector<store_work>& writes, const std::optional<failure>& why) {
  const burst together;
  // An empty one, which only asks for its turn, says nothing.
  const auto is_empty = [](const store_work& x) {
    return x.batch.messages.empty() && x.batch.cursors.empty() && x.batch.dead.empty() && x.batch.positions.empty() && x.batch.dead_changes.empty() &&
           x.batch.inboxes.empty();
  };
  if (!std::all_of(writes.begin(), writes.end(), is_empty)) health.note_write(why);
  counts.store_queue.add(-static_cast<double>(writes.size()));
  if (!why) {
    const std::lock_guard lock(positions_mutex);
    for (const auto& work : writes) {
      for (const auto& x : work.batch.positions) {
        auto& at = stored_to.at(static_cast<std::uint32_t>(x.shard)).next_offset;
        at = std::max(at, x.next_offset);
      }
    }
  }
  for (auto& x : writes) {
    const auto failed = !why && x.reap ? writer.reap(*x.reap, positions_now(), by_device) : why;
    if (failed) {
      x.done(*failed);
      continue;
    }
    if (!x.duplicates.empty()) x.batch.duplicates(std::move(x.duplicates));
    x.done({});
  }
}

sequence mongo_store::impl::complete_to(const address& user) const {
  const std::lock_guard lock(positions_mutex);
  const auto end = stored_to[static_cast<std::uint32_t>(shard_of_user(user))].next_offset;
  return sequence::before(generation, end);
}

template <class T, class Ask>
void mongo_store::impl::ask(store_done<T> done, Ask question) {
  questions.put([this, done = std::move(done), question = std::move(question)](mongo_reader* from, const failure& why_not) -> std::optional<failure> {
    if (!from || reads_stopped) {
      done(from ? stopping() : why_not);
      return {};
    }
    result<T> found = question(*from);
    auto why = found ? std::nullopt : std::optional(found.error());
    health.note_read(why);
    if (why) queue.look();
    done(std::move(found));
    return why;
  });
}

void mongo_store::impl::stop() {
  queue.stop_writes();
  questions.stop();
  const std::lock_guard only_one(joining);
  if (writing.joinable()) writing.join();
  for (auto& x : reading) {
    if (x.joinable()) x.join();
  }
}

mongo_store::mongo_store(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
mongo_store::~mongo_store() { stop(); }

store_identity mongo_store::identity() const { return impl_->identity.who; }
std::vector<shard_position> mongo_store::positions() const { return impl_->identity.positions; }

void mongo_store::write(store_batch batch, urgency when, store_done<void> done) { impl_->write({std::move(batch), std::move(done)}, when); }

void mongo_store::load(address box, std::size_t limit, store_done<stored_mailbox> done) {
  // How far the store is has to be known before it is read: what comes in between is above it.
  impl_->ask<stored_mailbox>(std::move(done), [at = impl_.get(), box = std::move(box), limit](mongo_reader& from) {
    return from.load(box, limit, at->complete_to(user_of(box)));
  });
}

void mongo_store::cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) {
  impl_->ask<std::vector<cursor_record>>(std::move(done), [keys = std::move(keys)](mongo_reader& from) { return from.newest(keys); });
}

void mongo_store::devices(address user, store_done<std::vector<cursor_record>> done) {
  impl_->ask<std::vector<cursor_record>>(std::move(done), [user = std::move(user)](mongo_reader& from) { return from.devices(user); });
}

void mongo_store::read(address user, sequence after, std::size_t limit, store_done<stored_page> done) {
  impl_->ask<stored_page>(std::move(done), [at = impl_.get(), user = std::move(user), after, limit](mongo_reader& from) {
    return from.read(user, after, limit, at->complete_to(user));
  });
}

void mongo_store::locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) {
  impl_->ask<stored_places>(std::move(done), [at = impl_.get(), user = std::move(user), seqs = std::move(seqs)](mongo_reader& from) {
    return from.locate(user, seqs, at->complete_to(user));
  });
}

void mongo_store::history(address box, history_query query, store_done<stored_history> done) {
  impl_->ask<stored_history>(std::move(done), [at = impl_.get(), box = std::move(box), query](mongo_reader& from) {
    return from.history(box, query, at->shard_of_user(user_of(box)));
  });
}

void mongo_store::reap(reap_step step, store_done<reaped> done) { impl_->write(reap_work_of(std::move(step), std::move(done)), urgency::soon); }

void mongo_store::dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) {
  impl_->ask<std::vector<dead_letter>>(std::move(done), [query = std::move(query)](mongo_reader& from) { return from.dead_letters(query); });
}

void mongo_store::stop_reading() { impl_->reads_stopped = true; }

void mongo_store::stop() { impl_->stop(); }

result<void> check_mongo_uri(const store_config& options) {
  if (auto pool = mongo_pool::open(options); !pool) return pool.error();
  return {};
}

result<std::unique_ptr<message_store>> open_mongo_store(const config& options, const log_identity& log, metrics& counts) {
  if (options.log.record_bytes_max > record_bytes_limit)
    return failure{ec::bad_config,
                   "log.record_bytes_max is " + format_size(options.log.record_bytes_max) + "; a document of MongoDB holds at most 15MiB",
                   "log.record_bytes_max"};
  const auto began = std::chrono::steady_clock::now();
  auto pool = mongo_pool::open(options.store);
  if (!pool) return pool.error();
  auto prepared = [&] {
    mongo_connection at(*pool);
    return prepare_mongo(at, log, acks_by_device(options.delivery));
  }();
  if (!prepared) {
    auto why = prepared.error();
    if (why.code == ec::unavailable && why.field == "store.uri") why.code = ec::bad_config;  // to try again would help nobody
    return why;
  }
  counts.dead_letters.set(static_cast<double>(prepared->dead_letters));
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  log_line(log_level::info, "store", "opened")
      .with("database", options.store.database)
      .with("store_id", prepared->who.store_id)
      .with("shards", log.ends.size())
      .with("ms", took.count());
  return std::unique_ptr<message_store>(
      std::make_unique<mongo_store>(std::make_unique<mongo_store::impl>(options, std::move(*pool), std::move(*prepared), counts)));
}

}  // namespace doorstep
