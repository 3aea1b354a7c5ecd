// SPDX-License-Identifier: Apache-2.0
// The writing side. Everything a transaction would change in memory is staged and taken over only after COMMIT, so a failed one leaves no trace.
#include "storage/sqlite_writer.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/log.hpp"
#include "runtime/origin_filter.hpp"
#include "runtime/test_points.hpp"
#include "storage/sqlite_checkpoint.hpp"
#include "storage/sqlite_devices.hpp"
#include "storage/sqlite_flush.hpp"
#include "storage/sqlite_reaper.hpp"
#include "storage/sqlite_recovery.hpp"
#include "storage/sqlite_tables.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>
#include <sqlite3.h>
#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t segment_rows = 50'000;
/// Small transactions find room on a full disk where others do not: it counts as working when nothing has failed for so long.
constexpr milliseconds recovery_settles{2'000};
constexpr int probe_bytes = 64 * 1024;
constexpr std::size_t cursor_users = 10'000;     // freeze the book at this many records a flushed user, so that journal and map stay small
constexpr std::size_t flush_rows_least = 1'000;  // a few milliseconds

int note_log_pages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

struct sqlite_writer::impl {
  impl(const config& options, bool owns, metrics& m, std::unique_ptr<SQLite::Database> database, database_identity who, recovered_state start)
      : path(options.store.path),
        owns_log(owns),
        counts(m),
        identity(std::move(who)),
        db(std::move(database)),
        sql(*db),
        offsets(std::move(start.offsets)),
        positions(std::move(start.positions)),
        tail(owns ? offsets : positions, owns),
        dedup(*db, tail, options.log.dedup_window),
        flusher(*db, tail, cursors, dedup),
        by_device(acks_by_device(options.delivery)) {}

  // what the open transaction would change
  struct staged_state {
    std::vector<indexed_row> rows;
    boost::unordered_flat_map<std::uint64_t, std::uint64_t> keys;       ///< dedup key -> row
    boost::unordered_flat_map<std::uint64_t, std::uint64_t> last_seqs;  ///< address key -> seq, of messages that came with one
    std::vector<std::uint64_t> offsets, positions;
    std::vector<cursor_record> cursors;
    std::vector<std::shared_ptr<const origin_partition>> origins;  ///< new ones
    std::uint64_t next_row = 0, entry = 0;
    std::size_t appended = 0, duplicates = 0, replays = 0;
    int dead = 0;  ///< rows more than before
    bool freeze = false;
  };

  result<void> settle_scope(std::uint64_t& entry);
  void transaction(std::span<append_work> appends, std::span<store_work> writes);
  appended place(const log_entry& entry);
  void insert(const message& x, const log_entry* from, std::uint32_t shard, std::uint64_t key);
  std::int64_t origin_id(const std::shared_ptr<const origin_partition>& from);
  void stage(store_work& work);
  void reap(reap_work& work);
  bool is_stored(const message& x, std::uint64_t address, std::uint32_t shard);
  void take_over(bool appends, bool writes);
  failure give_back(const SQLite::Exception& x, std::span<append_work> appends);
  void note_failure(const std::string& why);
  void note_success();
  std::string part() const { return owns_log ? "log" : "store"; }

  const std::string path;
  const bool owns_log;
  metrics& counts;
  const database_identity identity;
  std::unique_ptr<SQLite::Database> db;
  sqlite_tables sql;
  std::vector<std::uint64_t> offsets, positions;
  std::vector<std::vector<origin_position>> shard_origins;  ///< as they were at the start
  tail_index tail;
  cursor_book cursors;
  sqlite_dedup dedup;
  index_flusher flusher;
  const bool by_device;
  sqlite_reaper reaper{*db, cursors, by_device};
  origin_filter origins;
  std::map<origin_partition, std::int64_t> origin_ids;
  std::shared_ptr<const origin_partition> last_origin;
  std::int64_t last_origin_id = 0;
  std::uint64_t next_row = 1, next_entry = 1;
  staged_state staged;
  const event* last_event = nullptr;  ///< entries of one event follow each other
  std::string event_text;
  std::uint64_t event_bytes = 0;
  bool failing = false;
  steady_time failed_at{};
  int log_pages = 0;  ///< of the write-ahead log, after the last commit
  wal_checkpointer checkpoints{path};
};

sqlite_writer::sqlite_writer(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
sqlite_writer::~sqlite_writer() = default;

result<std::unique_ptr<sqlite_writer>> sqlite_writer::open(const config& options, const log_identity* beside, metrics& counts) {
  database_identity identity;
  const bool owns_log = beside == nullptr;
  auto db = open_for_writing(options.store, static_cast<std::uint32_t>(options.log.shards), beside, identity);
  if (!db) return db.error();
  try {
    auto start = read_state(**db);
    auto made = std::make_unique<impl>(options, owns_log, counts, std::move(*db), std::move(identity), std::move(start));
    recovered_rows into{made->tail, made->cursors, made->origins, made->origin_ids, segment_rows, owns_log};
    if (auto done = recover_rows(*made->db, into); !done)
      return failure{done.error().code, options.store.path + ": " + done.error().detail, "store.path"};
    if (auto settled = made->settle_scope(into.next_entry); !settled) return settled.error();
    auto shard_origins = read_shard_origins(*made->db, made->positions.size());
    if (!shard_origins) return failure{shard_origins.error().code, options.store.path + ": " + shard_origins.error().detail, "store.path"};
    made->shard_origins = std::move(*shard_origins);
    made->next_row = into.next_row;
    made->next_entry = into.next_entry;
    made->flusher.reap(made->dedup.load());
    counts.dead_letters.set(made->db->execAndGet("SELECT count(*) FROM dead_letter").getDouble());
    sqlite3_wal_hook(made->db->getHandle(), note_log_pages, &made->log_pages);
    return std::unique_ptr<sqlite_writer>(new sqlite_writer(std::move(made)));
  } catch (const SQLite::Exception& x) {
    return database_failure(x, options.store.path);
  }
}

/// Before anything else is written.
result<void> sqlite_writer::impl::settle_scope(std::uint64_t& entry) {
  constexpr std::size_t records_a_row = 1'000;
  SQLite::Transaction transaction(*db);
  auto records = records_of_scope(*db, cursors, by_device);
  if (!records) return records.error();
  const auto first = entry;
  for (std::size_t from = 0; from < records->size(); from += records_a_row) {
    std::string bytes;
    for (auto i = from; i < std::min(from + records_a_row, records->size()); ++i) encode_cursor((*records)[i], bytes);
    sql.insert_journal(entry++, bytes);
  }
  transaction.commit();
  if (entry != first) cursors.put(std::move(*records), entry - 1);
  return {};
}

const database_identity& sqlite_writer::identity() const { return impl_->identity; }
const tail_index& sqlite_writer::tail() const { return impl_->tail; }
const cursor_book& sqlite_writer::cursors() const { return impl_->cursors; }
bool sqlite_writer::flush_pending() const { return impl_->flusher.pending() && !impl_->failing; }
bool sqlite_writer::failing() const { return impl_->failing; }

void sqlite_writer::probe() {
  try {
    impl_->db->exec("INSERT OR REPLACE INTO state VALUES ('probe', zeroblob(" + std::to_string(probe_bytes) + "))");
    impl_->note_success();
  } catch (const SQLite::Exception& x) {
    exit_if_sync_failed(x.getExtendedErrorCode(), impl_->path);
    impl_->note_failure(x.what());
  }
}

void sqlite_writer::impl::note_failure(const std::string& why) {
  failing = true;
  failed_at = std::chrono::steady_clock::now();
  counts.away.begin(part(), why,
                    owns_log ? "publishers get 503, sources wait, acks kept here get no receipt; what was accepted is kept"
                             : "messages are delivered from the log, acks get no receipt");
}

void sqlite_writer::impl::note_success() {
  if (!failing || std::chrono::steady_clock::now() < failed_at + recovery_settles) return;
  failing = false;
  counts.away.end(part());
}

std::vector<shard_position> sqlite_writer::positions() const {
  std::vector<shard_position> out;
  for (std::size_t i = 0; i < impl_->positions.size(); ++i)
    out.push_back({shard_id{static_cast<std::uint32_t>(i)}, impl_->positions[i], impl_->shard_origins[i]});
  return out;
}

std::optional<failure> sqlite_writer::run(std::span<append_work> appends, std::span<store_work> writes) {
  try {
    impl_->transaction(appends, writes);
  } catch (const SQLite::Exception& x) {
    return impl_->give_back(x, appends);
  }
  if (!appends.empty()) crash_point("append-committed");
  impl_->take_over(!appends.empty(), !writes.empty());
  impl_->checkpoints.committed(*impl_->db, impl_->log_pages);
  return {};
}

void sqlite_writer::impl::transaction(std::span<append_work> appends, std::span<store_work> writes) {
  staged = {};
  staged.offsets = offsets;
  staged.positions = positions;
  staged.next_row = next_row;
  staged.entry = next_entry;
  last_event = nullptr;
  event_text.clear();
  sql.begin();
  for (auto& work : appends) {
    work.verdicts.reserve(work.entries.size());
    for (const auto& entry : work.entries) work.verdicts.push_back(place(entry));
  }
  for (auto& work : writes) {
    stage(work);
    if (!work.reap) continue;
    reap(*work.reap);
  }
  for (std::uint32_t i = 0; i < offsets.size(); ++i) {
    if (staged.offsets[i] != offsets[i]) sql.next_offset(i, staged.offsets[i]);
    if (staged.positions[i] != positions[i]) sql.position({shard_id{i}, staged.positions[i]});
  }
  for (const auto& x : origins.changes(staged.next_row))
    sql.origin_at(origin_id(std::make_shared<const origin_partition>(x.from)), x.floor, x.rescan);
  if (!staged.cursors.empty()) {
    std::string bytes;
    for (const auto& x : staged.cursors) encode_cursor(x, bytes);
    sql.insert_journal(staged.entry++, bytes);
  }
  flusher.step(std::max(flush_rows_least, 2 * staged.rows.size()));
  if (staged.appended > 0) crash_point("append-staged");
  if (!staged.cursors.empty()) crash_point("cursor-staged");
  const auto before = std::chrono::steady_clock::now();
  sql.commit();
  counts.commit_time.observe(std::chrono::steady_clock::now() - before);
}

void sqlite_writer::impl::reap(reap_work& work) {
  using by = sqlite_reaper::settled_by;
  switch (work.step.what) {
    case reap_kind::messages: {
      const bool of_log = !work.stored.empty();
      if (of_log) db->exec("DELETE FROM expiring");  // the store judges expiry
      work.outcome = reaper.step(work.step, of_log ? work.stored : positions, of_log ? by::position : by::cursor);
      // With little traffic the tail holds months: then it goes to the disk before it is full.
      staged.freeze = work.outcome.next.empty() && !tail.oldest_frozen() && reaper.waits_for_indexes(work.step);
      break;
    }
    case reap_kind::dead_letters:
      work.outcome = reaper.step_dead_letters(work.step);
      staged.dead -= static_cast<int>(work.outcome.removed);
      break;
    case reap_kind::devices: work.outcome = reaper.step_devices(work.step, staged.cursors); break;
    case reap_kind::expired_named: work.outcome = reaper.step_expired_named(work.step); break;
    case reap_kind::expired_by_age: work.outcome = reaper.step_expired_by_age(work.step); break;
  }
}

appended sqlite_writer::impl::place(const log_entry& entry) {
  if (origins.is_replay(entry.came_from, entry.to, staged.next_row)) {
    ++staged.replays;
    return {verdict::replay, {}};
  }
  const auto key = dedup_key(entry.id, entry.requeue);
  const auto mine = staged.keys.find(key);
  if (dedup.is_duplicate({entry.id, entry.requeue, entry.appended}, key, mine == staged.keys.end() ? 0 : mine->second)) {
    ++staged.duplicates;
    return {verdict::duplicate, {}};
  }
  const auto shard = static_cast<std::uint32_t>(shard_of(entry.to, identity.shards));
  const auto seq = sequence::at(identity.generation, staged.offsets[shard]++);
  if (entry.what.get() != last_event) {
    last_event = entry.what.get();
    event_text = entry.what ? to_json(*entry.what) : std::string();
    event_bytes = content_bytes(entry.what.get());
  }
  message_row row{staged.next_row,        shard, seq.value,     entry.to.text(), &entry.id,  entry.appended, entry.requeue, 0,
                  entry.came_from.offset, {},    &entry.detail, &event_text,     event_bytes};
  if (entry.came_from.from) row.origin = origin_id(entry.came_from.from);
  const bool dead = entry.to.is_dead_letters();
  if (dead)
    row.reason = name(entry.reason);
  else if (entry.what)
    row.expires = entry.what->expires;
  if (entry.terms) row.terms = to_json(*entry.terms);
  sql.insert(row);
  staged.keys[key] = row.row;
  staged.rows.push_back({dead ? 0 : address_key(row.address), key, seq.value, row.row, shard, entry.appended, event_bytes});
  ++staged.next_row;
  ++staged.appended;
  return {verdict::appended, seq};
}

std::int64_t sqlite_writer::impl::origin_id(const std::shared_ptr<const origin_partition>& from) {
  if (from == last_origin) return last_origin_id;
  auto& id = origin_ids[*from];
  if (id == 0) {
    id = sql.insert_origin(*from, owns_log);
    staged.origins.push_back(from);
  }
  last_origin = from;
  return last_origin_id = id;
}

/// Messages of one address come in order, so one that is not above the last was written before.
bool sqlite_writer::impl::is_stored(const message& x, std::uint64_t address, std::uint32_t shard) {
  auto& last = staged.last_seqs[address];
  if (last == 0) {
    const auto newest = tail.of(address, shard, 0).places;
    last = newest.empty() ? sql.last_seq(address) : newest.back().seq;
  }
  if (x.seq.value <= last) return true;
  last = x.seq.value;
  return false;
}

void sqlite_writer::impl::stage(store_work& work) {
  const auto& batch = work.batch;
  work.duplicates.clear();
  for (const auto& x : batch.messages) {
    const auto address = address_key(x->to.text());
    const auto shard = static_cast<std::uint32_t>(shard_of(x->to, identity.shards));
    const auto key = dedup_key(x->id, x->requeue);
    if (batch.duplicates) {
      const auto mine = staged.keys.find(key);
      if (dedup.is_duplicate({x->id, x->requeue, x->appended, x->seq}, key, mine == staged.keys.end() ? 0 : mine->second)) {
        work.duplicates.push_back(x);
        continue;
      }
    }
    if (is_stored(*x, address, shard)) continue;
    const auto text = to_json(*x->what);
    const std::string no_detail;
    staged.keys[key] = staged.next_row;
    sql.insert({staged.next_row,
                shard,
                x->seq.value,
                x->to.text(),
                &x->id,
                x->appended,
                x->requeue,
                x->from ? origin_id(x->from) : 0,
                x->from_offset,
                {},
                &no_detail,
                &text,
                content_bytes(*x),
                to_json(x->terms),
                x->what->expires});
    staged.rows.push_back({address, key, x->seq.value, staged.next_row, shard, x->appended, content_bytes(*x)});
    ++staged.next_row;
  }
  for (const auto& x : batch.dead) staged.dead += sql.insert(x);
  for (const auto& x : batch.inboxes) sql.insert(x);
  for (const auto& x : batch.dead_changes) staged.dead -= sql.change(x);
  for (const auto& x : batch.positions) {
    auto& at = staged.positions.at(static_cast<std::uint32_t>(x.shard));
    if (x.next_offset >= at)
      for (const auto& origin : x.origins) sql.shard_origin(x.shard, origin);
    at = std::max(at, x.next_offset);
  }
  staged.duplicates += work.duplicates.size();
  for (const auto& x : batch.cursors)
    if (x.seen.value != 0) sql.note_device(x.user);
  staged.cursors.insert(staged.cursors.end(), batch.cursors.begin(), batch.cursors.end());
}

void sqlite_writer::impl::take_over(bool appends, bool writes) {
  offsets = staged.offsets;
  positions = staged.positions;
  next_row = staged.next_row;
  origins.commit();
  if (!staged.cursors.empty()) cursors.put(std::move(staged.cursors), next_entry);
  next_entry = staged.entry;
  tail.publish(staged.rows, owns_log ? offsets : positions);
  flusher.committed();
  if (tail.active_rows() >= segment_rows || staged.freeze) tail.freeze();
  if (cursors.active_records() >= 10 * cursor_users && !cursors.frozen()) cursors.freeze();
  counts.appended.add(static_cast<double>(staged.appended));
  counts.duplicates.add(static_cast<double>(staged.duplicates));
  counts.replays.add(static_cast<double>(staged.replays));
  counts.dead_letters.add(static_cast<double>(staged.dead));
  if (appends)
    counts.log_commits.add();
  else if (writes)
    counts.store_commits.add();
  note_success();
}

failure sqlite_writer::impl::give_back(const SQLite::Exception& x, std::span<append_work> appends) {
  exit_if_sync_failed(x.getExtendedErrorCode(), path);
  auto why = database_failure(x, path);
  why.code = ec::unavailable;
  db->tryExec("ROLLBACK");  // SQLite may have done it itself
  origins.rollback();
  flusher.rolled_back();
  for (const auto& from : staged.origins) origin_ids.erase(*from);
  last_origin = nullptr;
  std::size_t entries = 0;
  for (auto& work : appends) {
    work.verdicts.clear();
    entries += work.entries.size();
  }
  counts.append_failures.add(static_cast<double>(entries));
  note_failure(why.detail);
  return why;
}

}  // namespace doorstep
