// SPDX-License-Identifier: Apache-2.0
// Reading, in an order that leaves no gap while the writer commits and flushes: the cursor first, then the tail in memory, then the index on disk. What the
// tail no longer has was on disk before it was dropped; what the disk has of rows that the tail still holds is left out.
#include "storage/sqlite_reader.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }
std::uint64_t number(const SQLite::Column& x) { return static_cast<std::uint64_t>(x.getInt64()); }
std::string_view blob(const SQLite::Column& x) { return {static_cast<const char*>(x.getBlob()), static_cast<std::size_t>(x.getBytes())}; }
std::string_view text(const SQLite::Column& x) { return {x.getText(), static_cast<std::size_t>(x.getBytes())}; }

dead_reason reason_of(const SQLite::Column& x) {
  const auto found = dead_reason_from(text(x));
  return found ? *found : dead_reason::malformed;
}

/// @param partial a dead letter's: it was kept as far as it was understood, so what cannot be read as an event is handed on as its data
result<std::shared_ptr<const event>> event_of(const SQLite::Column& x, bool partial) {
  if (x.getBytes() == 0) return std::shared_ptr<const event>();
  auto read = event_from_json(text(x));
  if (!read && partial) {
    event kept;
    kept.data = x.getString();
    return std::make_shared<const event>(std::move(kept));
  }
  if (!read) return failure{ec::corrupt, "a stored event cannot be read: " + read.error().detail, read.error().field};
  return std::make_shared<const event>(std::move(*read));
}

}  // namespace

struct sqlite_reader::impl {
  impl(std::string where, std::unique_ptr<SQLite::Database> database, const database_identity& who, const tail_index& t, const cursor_book& c)
      : path(std::move(where)),
        db(std::move(database)),
        identity(who),
        tail(t),
        cursors(c),
        cursor(*db, "SELECT record FROM cursor WHERE user = ?"),
        postings(*db, "SELECT first_seq, first_row, places FROM posting WHERE address = ? AND last_seq > ? ORDER BY last_seq"),
        counts(*db, "SELECT first_seq, first_row, messages, places FROM posting WHERE address = ? AND last_seq > ?"),
        row(*db, "SELECT seq, address, id, appended, requeue, event, reason, detail FROM message WHERE row = ?"),
        run(*db,
            "SELECT first_offset, records, first_row, places FROM log_run WHERE shard = ? AND first_offset <= ? ORDER BY first_offset DESC LIMIT 1"),
        dead(*db,
             "SELECT id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, requeue, requeued FROM "
             "dead_letter "
             "WHERE entry > coalesce((SELECT entry FROM dead_letter WHERE id = ?1), 0) AND (?3 = '' OR address = ?3) AND (?4 = '' OR topic = ?4) "
             "AND (?5 = '' OR reason = ?5) AND last >= ?6 AND last < ?7 AND (?8 = 1 OR requeued = 0) ORDER BY entry LIMIT ?2"),
        dead_by_id(*db,
                   "SELECT id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, requeue, requeued "
                   "FROM dead_letter WHERE id = ?1") {}

  result<cursor_record> record_of(const address& user);
  result<stored_page> page(const address& user, const tail_index::view& view, std::uint64_t after, std::size_t limit);
  void places_on_disk(std::uint64_t key, std::uint64_t after, std::uint64_t below, std::size_t limit, std::vector<message_place>& out);
  std::uint64_t count_on_disk(std::uint64_t key, std::uint64_t above, std::uint64_t below);
  result<std::optional<logged>> message_at(std::uint64_t row_id);
  tail_index::view view_of(const address& user, std::uint64_t after, std::uint64_t count_above) const {
    return tail.of(address_key(user.text()), static_cast<std::uint32_t>(shard_of(user, identity.shards)), after, count_above);
  }
  /// seqs from here on are the tail's.
  static std::uint64_t bound(const tail_index::view& view) { return view.first_seq != 0 ? view.first_seq : UINT64_MAX; }

  const std::string path;
  std::unique_ptr<SQLite::Database> db;
  const database_identity& identity;
  const tail_index& tail;
  const cursor_book& cursors;
  SQLite::Statement cursor, postings, counts, row, run, dead, dead_by_id;
};

sqlite_reader::sqlite_reader(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
sqlite_reader::~sqlite_reader() = default;

result<std::unique_ptr<sqlite_reader>> sqlite_reader::open(const store_config& options, const database_identity& identity, const tail_index& tail,
                                                           const cursor_book& cursors) {
  auto db = open_for_reading(options);
  if (!db) return db.error();
  try {
    return std::unique_ptr<sqlite_reader>(new sqlite_reader(std::make_unique<impl>(options.path, std::move(*db), identity, tail, cursors)));
  } catch (const SQLite::Exception& x) {
    return database_failure(x, options.path);
  }
}

result<cursor_record> sqlite_reader::impl::record_of(const address& user) {
  cursor_record out;
  out.user = user;
  if (auto newest = cursors.find(user)) out = std::move(*newest);
  cursor.reset();
  cursor.bind(1, std::string(user.text()));
  if (!cursor.executeStep()) return out;
  auto bytes = blob(cursor.getColumn(0));
  auto stored = decode_cursor(bytes);
  cursor.reset();
  if (!stored) return stored.error();
  return stored->version > out.version ? std::move(*stored) : std::move(out);
}

void sqlite_reader::impl::places_on_disk(std::uint64_t key, std::uint64_t after, std::uint64_t below, std::size_t limit,
                                         std::vector<message_place>& out) {
  std::vector<message_place> piece;
  postings.reset();
  postings.bind(1, as_stored(key));
  postings.bind(2, as_stored(after));
  while (out.size() < limit && postings.executeStep()) {
    const message_place first{number(postings.getColumn(0)), number(postings.getColumn(1))};
    if (first.seq >= below) break;
    piece.clear();
    decode_places(blob(postings.getColumn(2)), first, piece);
    for (const auto& x : piece) {
      if (x.seq > after && x.seq < below) out.push_back(x);
    }
  }
  postings.reset();
}

std::uint64_t sqlite_reader::impl::count_on_disk(std::uint64_t key, std::uint64_t above, std::uint64_t below) {
  std::uint64_t out = 0;
  std::vector<message_place> piece;
  counts.reset();
  counts.bind(1, as_stored(key));
  counts.bind(2, as_stored(above));
  while (counts.executeStep()) {
    const message_place first{number(counts.getColumn(0)), number(counts.getColumn(1))};
    if (first.seq >= below) break;
    if (first.seq > above) {
      out += number(counts.getColumn(2));
      continue;
    }
    piece.clear();
    decode_places(blob(counts.getColumn(3)), first, piece);
    out +=
        static_cast<std::uint64_t>(std::count_if(piece.begin(), piece.end(), [&](const message_place& x) { return x.seq > above && x.seq < below; }));
  }
  counts.reset();
  return out;
}

result<std::optional<logged>> sqlite_reader::impl::message_at(std::uint64_t row_id) {
  row.reset();
  row.bind(1, as_stored(row_id));
  if (!row.executeStep()) return std::optional<logged>();
  auto what = event_of(row.getColumn(5), !row.getColumn(6).isNull());
  if (!what) return what.error();
  logged out;
  out.what = std::make_shared<const message>(message{trusted_address(row.getColumn(1).getString()),
                                                     {number(row.getColumn(0))},
                                                     row.getColumn(2).getString(),
                                                     std::move(*what),
                                                     {row.getColumn(3).getInt64()},
                                                     row.getColumn(4).getUInt()});
  if (!row.getColumn(6).isNull()) {
    out.reason = reason_of(row.getColumn(6));
    out.detail = row.getColumn(7).getString();
  }
  row.reset();
  return std::optional(std::move(out));
}

result<stored_page> sqlite_reader::impl::page(const address& user, const tail_index::view& view, std::uint64_t after, std::size_t limit) {
  std::vector<message_place> places;
  places_on_disk(address_key(user.text()), after, bound(view), limit + 1, places);
  places.insert(places.end(), view.places.begin(), view.places.end());
  stored_page out;
  out.complete_to = sequence::before(identity.generation, view.end);
  for (const auto& at : places) {
    if (out.messages.size() == limit) {
      out.more = true;
      break;
    }
    auto found = message_at(at.row);
    if (!found) return found.error();
    if (*found && (*found)->what->to == user)  // else another address with the same hash, or a row that history has removed
      out.messages.push_back(std::move((*found)->what));
  }
  return out;
}

result<stored_mailbox> sqlite_reader::load(const address& user, std::size_t limit) {
  try {
    auto record = impl_->record_of(user);
    if (!record) return record.error();
    const auto floor = record->acked.floor().value, read = record->read_upto.value;
    const auto view = impl_->view_of(user, floor, read);
    auto page = impl_->page(user, view, floor, limit);
    if (!page) return page.error();
    const auto unread = view.above_count + impl_->count_on_disk(address_key(user.text()), read, impl_->bound(view));
    // Where the page has them all the count costs nothing.
    const auto above_floor =
        page->more ? view.places.size() + impl_->count_on_disk(address_key(user.text()), floor, impl_->bound(view)) : page->messages.size();
    return stored_mailbox{std::move(*record), std::move(*page), unread, above_floor};
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<stored_page> sqlite_reader::read(const address& user, sequence after, std::size_t limit) {
  try {
    return impl_->page(user, impl_->view_of(user, after.value, UINT64_MAX), after.value, limit);
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<dead_letter>> sqlite_reader::dead_letters(const dead_letter_query& query) {
  try {
    std::vector<dead_letter> out;
    auto& q = query.id.empty() ? impl_->dead : impl_->dead_by_id;
    q.reset();
    q.bind(1, query.id.empty() ? query.after : query.id);
    if (query.id.empty()) {
      q.bind(2, static_cast<std::int64_t>(query.limit));
      q.bind(3, query.address);
      q.bind(4, query.topic);
      q.bind(5, query.reason ? std::string(name(*query.reason)) : std::string());
      q.bind(6, query.since.value_or(unix_ms{INT64_MIN}).value);
      q.bind(7, query.until.value_or(unix_ms{INT64_MAX}).value);
      q.bind(8, query.requeued_too ? 1 : 0);
    }
    while (q.executeStep()) {
      auto what = event_of(q.getColumn(9), true);
      if (!what) return what.error();
      const auto to = q.getColumn(1).getString();
      out.push_back({q.getColumn(0).getString(),
                     to.empty() ? address() : trusted_address(to),
                     {number(q.getColumn(2))},
                     reason_of(q.getColumn(3)),
                     q.getColumn(4).getString(),
                     q.getColumn(5).getString(),
                     q.getColumn(6).getString(),
                     q.getColumn(7).getInt(),
                     q.getColumn(8).getInt64(),
                     std::move(*what),
                     {q.getColumn(10).getInt64()},
                     {q.getColumn(11).getInt64()},
                     q.getColumn(12).getUInt(),
                     q.getColumn(13).getUInt(),
                     q.getColumn(14).getInt() != 0});
    }
    q.reset();
    return out;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<logged>> sqlite_reader::records(std::uint32_t shard, std::uint64_t offset, std::size_t limit) {
  try {
    auto rows = impl_->tail.rows_of(shard, offset, limit);
    if (!rows) {
      rows.emplace();
      auto& q = impl_->run;
      q.reset();
      q.bind(1, static_cast<std::int64_t>(shard));
      q.bind(2, as_stored(offset));
      if (q.executeStep()) {
        const auto first = number(q.getColumn(0)), count = number(q.getColumn(1)), base = number(q.getColumn(2));
        for (auto at = offset - first; at < count && rows->size() < limit; ++at) rows->push_back(base + decode_row(blob(q.getColumn(3)), at));
      }
      q.reset();
    }
    std::vector<logged> out;
    for (const auto at : *rows) {
      auto found = impl_->message_at(at);
      if (!found) return found.error();
      if (!*found)
        return failure{ec::corrupt, impl_->path + ": row " + std::to_string(at) + " of shard " + std::to_string(shard) + " is missing", {}};
      out.push_back(std::move(**found));
    }
    if (out.empty())
      return failure{ec::corrupt, impl_->path + ": shard " + std::to_string(shard) + " has no record at offset " + std::to_string(offset), {}};
    return out;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

}  // namespace doorstep
