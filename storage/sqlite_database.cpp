// SPDX-License-Identifier: Apache-2.0
// The two threads of the embedded database. The writer: take, commit, hand over, tell. The reader: one question after the other.
#include "storage/sqlite_database.hpp"

#include "runtime/burst.hpp"
#include "runtime/log.hpp"
#include "runtime/test_points.hpp"
#include "runtime/threads.hpp"
#include "storage/commit_queue.hpp"
#include "storage/embedded_handover.hpp"
#include "storage/question_queue.hpp"
#include "storage/sqlite_reader.hpp"
#include "storage/sqlite_writer.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

failure stopping() { return {ec::stopping, "the database is stopped", {}}; }

}  // namespace

struct sqlite_database::impl {
  impl(const config& options, metrics& m, bool owns, file_lock held, std::unique_ptr<sqlite_writer> w, std::unique_ptr<sqlite_reader> r)
      : counts(m),
        owns_log(owns),
        lock(std::move(held)),
        writer(std::move(w)),
        reader(std::move(r)),
        identity(writer->identity()),
        start_positions(writer->positions()),
        queue(options.log.queue_entries_max, options.log.batch_entries_max, options.log.linger, options.store.commit_interval),
        handover(
            ends(), [this](auto x) { ask_for_records(std::move(x)); }, [this](const failure* why) { note_reading(why); }) {}

  std::vector<std::uint64_t> ends() const {
    std::vector<std::uint64_t> out;
    for (std::uint32_t i = 0; i < identity.shards; ++i) out.push_back(writer->tail().end_of(i));
    return out;
  }
  void ask_for_records(std::function<void(const embedded_handover::read_records&)> x) {
    questions.put([x = std::move(x)](sqlite_reader* from, const failure& why_not) -> std::optional<failure> {
      x([&](std::uint32_t shard, std::uint64_t offset, std::size_t limit) -> result<std::vector<logged>> {
        if (!from) return why_not;
        return from->records(shard, offset, limit);
      });
      return {};
    });
  }
  /// The writing thread tries again what could not be read.
  void note_reading(const failure* why) {
    if (why == nullptr) return counts.away.end("log reads");
    counts.away.begin("log reads", why->detail, "what was accepted and is not in memory waits until it can be read");
    queue.look();
  }
  template <class T, class Ask>
  void ask(store_done<T> done, Ask question) {
    questions.put(
        [this, done = std::move(done), question = std::move(question)](sqlite_reader* from, const failure& why_not) -> std::optional<failure> {
          if (from && !reads_stopped)
            done(question(*from));
          else
            done(from ? stopping() : why_not);
          return {};  // a page that cannot be read fails at once, and says nothing of the others
        });
  }
  void write(store_work work, urgency when) {
    counts.store_queue.add(1);
    if (queue.put(work, when) == commit_queue::put_result::taken) return;
    counts.store_queue.add(-1);
    work.done(stopping());
  }
  void write_on();
  void settle(std::vector<append_work>& appends, std::vector<store_work>& writes, const std::optional<failure>& why);
  void start();
  void end_if_stopped();

  metrics& counts;
  const bool owns_log;
  file_lock lock;  // before everything that has the file open
  const std::unique_ptr<sqlite_writer> writer;
  const std::unique_ptr<sqlite_reader> reader;
  const database_identity identity;
  const std::vector<shard_position> start_positions;
  commit_queue queue;
  question_queue<sqlite_reader> questions{stopping()};
  std::atomic<bool> reads_stopped = false;
  embedded_handover handover;
  std::mutex stored_mutex;
  std::vector<std::uint64_t> stored;  ///< how far a store beside the log is, by shard
  std::thread writing, reading;
  std::mutex joining;
};

sqlite_database::sqlite_database(std::unique_ptr<impl> x) : impl_(std::move(x)) {}

sqlite_database::~sqlite_database() {
  stop_log();
  stop_store();
}

result<std::shared_ptr<sqlite_database>> sqlite_database::open(const config& options, metrics& counts, const log_identity* beside) {
  const auto began = std::chrono::steady_clock::now();
  auto lock = file_lock::take(options.store.path);
  if (!lock) return lock.error();
  const bool crashed = !was_stopped_cleanly(options.store.path);
  if (crashed)
    log_line(log_level::warn, "store", "not-stopped-cleanly")
        .with("path", options.store.path)
        .with("effect", "what was pushed may come again, flagged; nothing is lost");
  counts.started_after_crash.set(crashed ? 1 : 0);
  auto writer = sqlite_writer::open(options, beside, counts);
  if (!writer) return writer.error();
  auto reader = sqlite_reader::open(options, (*writer)->identity(), (*writer)->tail(), (*writer)->cursors());
  if (!reader) return reader.error();
  auto made = std::make_unique<impl>(options, counts, beside == nullptr, std::move(*lock), std::move(*writer), std::move(*reader));
  if (beside == nullptr) counts.log_queue_max.set(static_cast<double>(options.log.queue_entries_max));
  made->stored.resize(made->identity.shards);
  made->start();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  log_line(log_level::info, "store", "opened")
      .with("path", options.store.path)
      .with("store_id", made->identity.store_id)
      .with("shards", made->identity.shards)
      .with("ms", took.count());
  return std::shared_ptr<sqlite_database>(new sqlite_database(std::move(made)));
}

void sqlite_database::impl::start() {
  if (!owns_log) queue.stop_appends();
  writing = std::thread([this] {
    name_this_thread("db-writer");
    write_on();
  });
  reading = std::thread([this] {
    name_this_thread("db-reader");
    questions.answer(*reader);
  });
}

void sqlite_database::impl::write_on() {
  std::vector<append_work> appends;
  std::vector<store_work> writes;
  constexpr milliseconds look_again{500};  // while something fails, so that it does not take a publisher to find out that it works
  while (queue.take(appends, writes, writer->flush_pending(), writer->failing() || handover.failing() ? std::optional(look_again) : std::nullopt)) {
    if (appends.empty() && writes.empty() && writer->failing()) writer->probe();
    const auto why = writer->run(appends, writes);
    settle(appends, writes, why);
    handover.retry();
    appends.clear();
    writes.clear();
    queue.told();
  }
}

void sqlite_database::impl::settle(std::vector<append_work>& appends, std::vector<store_work>& writes, const std::optional<failure>& why) {
  const burst together;
  std::size_t entries = 0;
  for (const auto& x : appends) entries += x.entries.size();
  queue.settled(entries);
  counts.log_queue.add(-static_cast<double>(entries));
  counts.store_queue.add(-static_cast<double>(writes.size()));
  if (!why && !appends.empty()) handover.committed(appends);
  if (!appends.empty()) crash_point("handed-over");
  for (auto& x : appends) {
    if (why)
      x.done(*why);
    else
      x.done(std::move(x.verdicts));
  }
  for (auto& x : writes) {
    if (!x.batch.cursors.empty()) crash_point("cursor-committed");
    if (why) {
      x.done(*why);
      continue;
    }
    if (!x.duplicates.empty()) x.batch.duplicates(std::move(x.duplicates));
    x.done({});
  }
}

/// The writing thread ends by itself once nothing more can come; the reading thread is told to.
void sqlite_database::impl::end_if_stopped() {
  if (!queue.stopped()) return;
  questions.stop();
  const std::lock_guard only_one(joining);
  if (writing.joinable()) writing.join();
  if (reading.joinable()) reading.join();
}

std::uint32_t sqlite_database::shard_count() const { return impl_->identity.shards; }
std::uint32_t sqlite_database::generation() const { return impl_->identity.generation; }
const std::string& sqlite_database::id() const { return impl_->identity.store_id; }

bool sqlite_database::append(std::vector<log_entry> entries, admission who, append_done done) {
  const auto count = static_cast<double>(entries.size());
  if (seeded_bug("accepted-before-fsync")) {
    done(std::vector<appended>(entries.size(), {verdict::appended, sequence{1}}));
    done = [](const auto&) {};
    who = admission::credited;
  }
  append_work work{std::move(entries), std::move(done), {}};
  impl_->counts.log_queue.add(count);
  const auto put = impl_->queue.put(work, who);
  if (put == commit_queue::put_result::taken) return true;
  impl_->counts.log_queue.add(-count);
  if (put == commit_queue::put_result::full) return false;
  work.done(stopping());
  return true;
}

void sqlite_database::open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) {
  impl_->handover.open(shard, from_offset, std::move(sink));
}
void sqlite_database::grant(shard_id shard, std::size_t records) { impl_->handover.grant(shard, records); }
void sqlite_database::close_shard(shard_id shard) { impl_->handover.close(shard); }
std::uint64_t sqlite_database::end_offset(shard_id shard) const { return impl_->writer->tail().end_of(static_cast<std::uint32_t>(shard)); }
std::size_t sqlite_database::queued() const { return impl_->queue.queued(); }
std::size_t sqlite_database::queue_max() const { return impl_->queue.entries_max(); }

void sqlite_database::stored(shard_id shard, std::uint64_t next_offset) {
  const std::lock_guard lock(impl_->stored_mutex);
  auto& at = impl_->stored.at(static_cast<std::uint32_t>(shard));
  at = std::max(at, next_offset);
}
void sqlite_database::reap_log(reap_step step, store_done<reaped> done) {
  std::vector<std::uint64_t> stored;
  {
    const std::lock_guard lock(impl_->stored_mutex);
    stored = impl_->stored;
  }
  impl_->write(reap_work_of(std::move(step), std::move(done), std::move(stored)), urgency::soon);
}

void sqlite_database::stop_log() {
  impl_->queue.stop_appends();
  for (std::uint32_t i = 0; i < impl_->identity.shards; ++i) impl_->handover.close(shard_id{i});
  impl_->end_if_stopped();
}

bool sqlite_database::owns_log() const { return impl_->owns_log; }
store_identity sqlite_database::identity() const { return {impl_->identity.store_id, impl_->identity.log_id, impl_->identity.generation}; }
std::vector<shard_position> sqlite_database::positions() const { return impl_->start_positions; }

void sqlite_database::write(store_batch batch, urgency when, store_done<void> done) { impl_->write({std::move(batch), std::move(done)}, when); }

void sqlite_database::load(address box, std::size_t limit, store_done<stored_mailbox> done) {
  impl_->ask<stored_mailbox>(std::move(done), [box = std::move(box), limit](sqlite_reader& from) { return from.load(box, limit); });
}

void sqlite_database::devices(address user, store_done<std::vector<cursor_record>> done) {
  impl_->ask<std::vector<cursor_record>>(std::move(done), [user = std::move(user)](sqlite_reader& from) { return from.devices(user); });
}

void sqlite_database::cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) {
  impl_->ask<std::vector<cursor_record>>(std::move(done), [keys = std::move(keys)](sqlite_reader& from) { return from.newest(keys); });
}

void sqlite_database::read(address user, sequence after, std::size_t limit, store_done<stored_page> done) {
  impl_->ask<stored_page>(std::move(done), [user = std::move(user), after, limit](sqlite_reader& from) { return from.read(user, after, limit); });
}

void sqlite_database::locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) {
  impl_->ask<stored_places>(std::move(done),
                            [user = std::move(user), seqs = std::move(seqs)](sqlite_reader& from) { return from.locate(user, seqs); });
}

void sqlite_database::history(address user, history_query query, store_done<stored_history> done) {
  impl_->ask<stored_history>(std::move(done), [user = std::move(user), query](sqlite_reader& from) { return from.history(user, query); });
}

void sqlite_database::reap(reap_step step, store_done<reaped> done) { impl_->write(reap_work_of(std::move(step), std::move(done)), urgency::soon); }

void sqlite_database::dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) {
  impl_->ask<std::vector<dead_letter>>(std::move(done), [query = std::move(query)](sqlite_reader& from) { return from.dead_letters(query); });
}

void sqlite_database::stop_reading() { impl_->reads_stopped = true; }

void sqlite_database::stop_store() {
  impl_->queue.stop_writes();
  impl_->end_if_stopped();
}

}  // namespace doorstep
