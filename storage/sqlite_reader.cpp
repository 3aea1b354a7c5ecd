// SPDX-License-Identifier: Apache-2.0
// Reading, in an order that leaves no gap while the writer commits and flushes: the cursor first, then the tail in memory, then the index on disk. What the
// tail no longer has was on disk before it was dropped; what the disk has of rows that the tail still holds is left out.
#include "storage/sqlite_reader.hpp"

#include "storage/sqlite_dead_letters.hpp"
#include "storage/sqlite_devices.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace doorstep {

namespace {

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }
std::uint64_t number(const SQLite::Column& x) { return static_cast<std::uint64_t>(x.getInt64()); }
std::string_view blob(const SQLite::Column& x) { return {static_cast<const char*>(x.getBlob()), static_cast<std::size_t>(x.getBytes())}; }
std::string_view text(const SQLite::Column& x) { return {x.getText(), static_cast<std::size_t>(x.getBytes())}; }

bool is_in(const std::vector<sequence_range>& ranges, sequence seq) {
  const auto at = std::lower_bound(ranges.begin(), ranges.end(), seq, [](const sequence_range& x, sequence y) { return x.upto < y; });
  return at != ranges.end() && at->after < seq;
}

/// One state of the database for all reads until its end. Each statement alone would lock, unlock and, after any commit of the writer, read again what the
/// cache has. Begun after the look at the tail, never before: what the tail had dropped by then is on disk in this state.
class snapshot {
public:
  struct statements {
    explicit statements(SQLite::Database& db) : begin(db, "BEGIN"), commit(db, "COMMIT"), rollback(db, "ROLLBACK") {}
    SQLite::Statement begin, commit, rollback;
  };
  explicit snapshot(statements& with) : with_(with) {
    with_.begin.tryReset();
    with_.begin.exec();
  }
  ~snapshot() {
    for (auto* x : {&with_.commit, &with_.rollback}) {
      x->tryReset();
      if (x->tryExecuteStep() == SQLITE_DONE) return;
    }
  }
  snapshot(const snapshot&) = delete;
  snapshot& operator=(const snapshot&) = delete;

private:
  statements& with_;
};

}  // namespace

struct sqlite_reader::impl {
  impl(const config& options, std::unique_ptr<SQLite::Database> database, const database_identity& who, const tail_index& t, const cursor_book& c)
      : path(options.store.path),
        with_bytes(options.delivery.mailbox_bytes_max != 0),
        db(std::move(database)),
        identity(who),
        tail(t),
        by_device(acks_by_device(options.delivery)),
        devices(*db, c, by_device),
        postings(*db, "SELECT first_seq, first_row, places FROM posting WHERE address = ? AND last_seq > ? ORDER BY last_seq"),
        counts(*db,
               "SELECT first_seq, first_row, messages, places, last_seq, bytes FROM posting WHERE address = ? AND last_seq > ? ORDER BY last_seq"),
        inbox(*db, "SELECT record FROM inbox WHERE user = ?"),
        gone_to(*db, "SELECT gone_to FROM shard WHERE shard = ?"),
        appended(*db, "SELECT appended FROM message WHERE row = ?"),
        bytes(*db, "SELECT bytes, CASE WHEN bytes IS NULL THEN event END FROM message WHERE row = ?"),
        row(*db, "SELECT seq, address, id, appended, requeue, event, reason, detail, origin, origin_offset, terms FROM message WHERE row = ?"),
        origin(*db, "SELECT source, generation, topic, partition FROM origin WHERE id = ?"),
        run(*db,
            "SELECT first_offset, records, first_row, places FROM log_run WHERE shard = ? AND first_offset <= ? ORDER BY first_offset DESC LIMIT 1"),
        letters(*db),
        snapshots(*db) {}

  result<inbox_record> inbox_of(const address& user, const cursor_record& record);
  result<stored_page> page(const address& user, const tail_index::view& view, std::uint64_t after, std::size_t limit);
  result<stored_history> history(const address& box, const history_query& query);
  /// @param out with the record, and without what is the user's
  result<stored_mailbox> load_device(const address& user, stored_mailbox out, std::size_t limit);
  void places_on_disk(std::uint64_t key, std::uint64_t after, std::uint64_t below, std::size_t limit, std::vector<message_place>& out);
  std::uint64_t count(std::uint64_t key, const tail_index::view& view, const std::vector<sequence_range>& ranges, sequence upto,
                      std::uint64_t* in_bytes = nullptr);
  std::uint64_t bytes_of(std::uint64_t row_id);
  unix_ms appended_at(std::uint64_t row_id);
  result<std::optional<logged>> message_at(std::uint64_t row_id);
  std::shared_ptr<const origin_partition> origin_of(std::int64_t id);
  std::uint32_t shard_number(const address& user) const { return static_cast<std::uint32_t>(shard_of(user, identity.shards)); }
  tail_index::view view_of(const address& user, std::uint64_t after) const { return tail.of(address_key(user.text()), shard_number(user), after); }
  sequence complete_to(const tail_index::view& view) const { return sequence::before(identity.generation, view.end); }
  /// seqs from here on are the tail's.
  static std::uint64_t bound(const tail_index::view& view) { return view.first_seq != 0 ? view.first_seq : UINT64_MAX; }

  const std::string path;
  const bool with_bytes;  ///< somebody wants to know the bytes of what is owed
  std::unique_ptr<SQLite::Database> db;
  const database_identity& identity;
  const tail_index& tail;
  const bool by_device;
  sqlite_devices devices;
  SQLite::Statement postings, counts, inbox, gone_to, appended, bytes, row, origin, run;
  sqlite_dead_letters letters;
  snapshot::statements snapshots;
  std::unordered_map<std::int64_t, std::shared_ptr<const origin_partition>> origins;  ///< read once each: there is one a source partition
};

sqlite_reader::sqlite_reader(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
sqlite_reader::~sqlite_reader() = default;

result<std::unique_ptr<sqlite_reader>> sqlite_reader::open(const config& options, const database_identity& identity, const tail_index& tail,
                                                           const cursor_book& cursors) {
  auto db = open_for_reading(options.store);
  if (!db) return db.error();
  try {
    return std::unique_ptr<sqlite_reader>(new sqlite_reader(std::make_unique<impl>(options, std::move(*db), identity, tail, cursors)));
  } catch (const SQLite::Exception& x) {
    return database_failure(x, options.store.path);
  }
}

result<inbox_record> sqlite_reader::impl::inbox_of(const address& user, const cursor_record& record) {
  inbox_record out;
  out.user = user;
  inbox.reset();
  inbox.bind(1, std::string(user.text()));
  if (inbox.executeStep()) {
    auto stored = decode_inbox(blob(inbox.getColumn(0)), user);
    inbox.reset();
    return stored;
  }
  take_over_read_upto(record, out);
  return out;
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

/// Pieces of the index that are in a range as a whole are counted without a look at what is in them.
/// @param in_bytes adds up content_bytes() too
std::uint64_t sqlite_reader::impl::count(std::uint64_t key, const tail_index::view& view, const std::vector<sequence_range>& ranges, sequence upto,
                                         std::uint64_t* in_bytes) {
  const auto below = bound(view);
  std::uint64_t out = 0;
  std::vector<message_place> piece;
  std::vector<sequence> seqs;
  counts.reset();
  counts.bind(1, as_stored(key));
  counts.bind(2, as_stored(ranges.front().after.value));
  while (counts.executeStep()) {
    const message_place first{number(counts.getColumn(0)), number(counts.getColumn(1))};
    if (first.seq >= below) break;
    const auto last = number(counts.getColumn(4));
    const auto in = std::lower_bound(ranges.begin(), ranges.end(), last, [](const sequence_range& x, std::uint64_t y) { return x.upto.value < y; });
    const bool whole = in != ranges.end() && in->after.value < first.seq && last < below;
    if (whole) out += number(counts.getColumn(2));
    if (whole && (in_bytes == nullptr || !counts.getColumn(5).isNull())) {
      if (in_bytes != nullptr) *in_bytes += number(counts.getColumn(5));
      continue;
    }
    piece.clear();
    decode_places(blob(counts.getColumn(3)), first, piece);
    seqs.clear();
    for (const auto& x : piece) seqs.push_back({x.seq});
    if (!whole) out += count_in(ranges, seqs, {below - 1});
    if (in_bytes == nullptr) continue;
    for (const auto& x : piece)
      if (x.seq < below && is_in(ranges, {x.seq})) *in_bytes += bytes_of(x.row);
  }
  counts.reset();
  seqs.clear();
  for (const auto& x : view.places) seqs.push_back({x.seq});
  for (std::size_t i = 0; in_bytes != nullptr && i < seqs.size() && seqs[i] <= upto; ++i)
    if (is_in(ranges, seqs[i])) *in_bytes += view.bytes[i];
  return out + count_in(ranges, seqs, upto);
}

std::uint64_t sqlite_reader::impl::bytes_of(std::uint64_t row_id) {
  bytes.reset();
  bytes.bind(1, as_stored(row_id));
  std::uint64_t out = 0;
  if (bytes.executeStep()) {
    out = number(bytes.getColumn(0));
    // A row of before there was the number.
    if (bytes.getColumn(0).isNull())
      if (const auto what = stored_event(text(bytes.getColumn(1)), true)) out = content_bytes(what->get());
  }
  bytes.reset();
  return out;
}

unix_ms sqlite_reader::impl::appended_at(std::uint64_t row_id) {
  appended.reset();
  appended.bind(1, as_stored(row_id));
  const unix_ms out{appended.executeStep() ? appended.getColumn(0).getInt64() : 0};
  appended.reset();
  return out;
}

std::shared_ptr<const origin_partition> sqlite_reader::impl::origin_of(std::int64_t id) {
  auto& known = origins[id];
  if (known) return known;
  origin.reset();
  origin.bind(1, id);
  if (origin.executeStep())
    known = std::make_shared<const origin_partition>(origin_partition{origin.getColumn(0).getString(), origin.getColumn(1).getUInt(),
                                                                      origin.getColumn(2).getString(), origin.getColumn(3).getInt()});
  origin.reset();
  return known;
}

result<std::optional<logged>> sqlite_reader::impl::message_at(std::uint64_t row_id) {
  row.reset();
  row.bind(1, as_stored(row_id));
  if (!row.executeStep()) return std::optional<logged>();
  const auto reason = row.getColumn(6), from = row.getColumn(8), terms_text = row.getColumn(10);
  auto what = stored_event(text(row.getColumn(5)), !reason.isNull());
  if (!what) return what.error();
  auto terms = stored_terms(terms_text.isNull() ? std::nullopt : std::optional(text(terms_text)));
  if (!terms) return terms.error();
  const bool is_from = !from.isNull();
  logged out;
  out.what = std::make_shared<const message>(message{trusted_address(row.getColumn(1).getString()),
                                                     {number(row.getColumn(0))},
                                                     row.getColumn(2).getString(),
                                                     std::move(*what),
                                                     {row.getColumn(3).getInt64()},
                                                     row.getColumn(4).getUInt(),
                                                     is_from ? origin_of(from.getInt64()) : nullptr,
                                                     is_from ? row.getColumn(9).getInt64() : -1,
                                                     std::move(*terms)});
  if (!reason.isNull()) {
    out.reason = stored_reason(text(reason));
    out.detail = row.getColumn(7).getString();
  }
  row.reset();
  return std::optional(std::move(out));
}

result<stored_page> sqlite_reader::impl::page(const address& user, const tail_index::view& view, std::uint64_t after, std::size_t limit) {
  std::vector<message_place> places;
  places_on_disk(address_key(user.text()), after, bound(view), limit + 1, places);
  const auto first =
      std::upper_bound(view.places.begin(), view.places.end(), after, [](std::uint64_t x, const message_place& y) { return x < y.seq; });
  places.insert(places.end(), first, view.places.end());
  stored_page out;
  out.complete_to = complete_to(view);
  for (const auto& at : places) {
    if (out.messages.size() == limit) {
      out.more = true;
      break;
    }
    auto found = message_at(at.row);
    if (!found) return found.error();
    if (*found && (*found)->what->to == user)  // else another address with the same hash, or a row that retention has just removed
      out.messages.push_back(std::move((*found)->what));
  }
  return out;
}

result<stored_mailbox> sqlite_reader::impl::load_device(const address& user, stored_mailbox out, std::size_t limit) {
  const auto floor = out.record.acked.floor();
  const auto view = view_of(user, floor.value);
  auto messages = page(user, view, floor.value, limit);
  if (!messages) return messages.error();
  out.page = std::move(*messages);
  out.owed = amount_owed(out.record.acked, out.page);
  if (!out.page.more) return out;
  out.owed.bytes = 0;
  out.owed.messages =
      count(address_key(user.text()), view, unacked_ranges(out.record.acked), out.page.complete_to, with_bytes ? &out.owed.bytes : nullptr);
  return out;
}

result<stored_mailbox> sqlite_reader::load(const address& box, std::size_t limit) {
  try {
    const auto user = user_of(box);
    std::size_t devices = 0;
    auto record = impl_->devices.to_load(
        box, [&] { return impl_->complete_to(impl_->view_of(user, 0)); }, devices);
    if (!record) return record.error();
    if (device_of(box)) {
      stored_mailbox out;
      out.record = std::move(*record);
      out.devices = devices;
      return impl_->load_device(user, std::move(out), limit);
    }
    auto inbox = impl_->inbox_of(user, *record);
    if (!inbox) return inbox.error();
    const auto unread_in = unread_ranges(*inbox), unseen_in = unseen_ranges(*inbox);
    const auto floor = record->acked.floor();
    const auto view = impl_->view_of(user, std::min({floor, unread_in.front().after, unseen_in.front().after}).value);
    const snapshot state(impl_->snapshots);
    auto page = impl_->page(user, view, floor.value, limit);
    if (!page) return page.error();
    const auto key = address_key(user.text());
    const auto upto = page->complete_to;
    // Where the page has them all the count costs nothing.
    auto owed = amount_owed(record->acked, *page);
    if (impl_->by_device) owed = {};  // to nobody, while there are devices; and who asks keeps the inbox
    if (page->more && !impl_->by_device) {
      owed = {};
      owed.messages = impl_->count(key, view, unacked_ranges(record->acked), upto, impl_->with_bytes ? &owed.bytes : nullptr);
    }
    const auto unread = impl_->count(key, view, unread_in, upto), unseen = impl_->count(key, view, unseen_in, upto);
    return stored_mailbox{std::move(*record), std::move(*page), unread, owed, unseen, std::move(*inbox), devices};
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<cursor_record>> sqlite_reader::devices(const address& user) {
  try {
    return impl_->devices.of(user);
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<cursor_record>> sqlite_reader::newest(const std::vector<address>& keys) {
  try {
    std::vector<cursor_record> out;
    out.reserve(keys.size());
    for (const auto& key : keys) {
      auto record = impl_->devices.newest(key);
      if (!record) return record.error();
      out.push_back(std::move(*record));
    }
    return out;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<stored_page> sqlite_reader::read(const address& user, sequence after, std::size_t limit) {
  try {
    const auto view = impl_->view_of(user, after.value);
    auto out = [&] {
      const snapshot state(impl_->snapshots);
      return impl_->page(user, view, after.value, limit);
    }();
    if (!out || !user.is_channel()) return out;
    // After the page: what is missing there because it had just gone is noted by now.
    auto gone = impl_->devices.newest(gone_key(user));
    if (!gone) return gone.error();
    out->gone_to = gone->acked.floor();
    return out;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<stored_places> sqlite_reader::locate(const address& user, const std::vector<sequence>& seqs) {
  try {
    stored_places out;
    const auto view = impl_->view_of(user, 0);
    out.complete_to = impl_->complete_to(view);
    if (seqs.empty()) return out;
    std::vector<message_place> places;
    impl_->places_on_disk(address_key(user.text()), 0, std::min(impl_->bound(view), seqs.back().value + 1), SIZE_MAX, places);
    places.insert(places.end(), view.places.begin(), view.places.end());
    for (const auto seq : seqs) {
      const auto at = std::lower_bound(places.begin(), places.end(), seq.value, [](const message_place& x, std::uint64_t y) { return x.seq < y; });
      if (at == places.end() || at->seq != seq.value) continue;
      out.found.push_back({seq, at == places.begin() ? sequence{} : sequence{std::prev(at)->seq}});
    }
    return out;
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<stored_history> sqlite_reader::impl::history(const address& box, const history_query& query) {
  const auto user = user_of(box);
  const auto& whose = query.reader.empty() ? box : query.reader;
  auto record = devices.newest(whose);
  if (!record) return record.error();
  auto inbox = inbox_of(query.reader.empty() ? user : query.reader, *record);  // the user's, whatever the device
  if (!inbox) return inbox.error();
  stored_history out;
  out.acked = std::move(record->acked);
  out.since = record->since;
  out.inbox = std::move(*inbox);
  if (!user.is_channel()) {
    gone_to.reset();
    gone_to.bind(1, static_cast<std::int64_t>(shard_number(user)));
    if (gone_to.executeStep()) out.gone_to = {number(gone_to.getColumn(0))};
    gone_to.reset();
  }

  const auto view = view_of(user, query.after.value);
  const snapshot state(snapshots);
  const auto before = query.before ? query.before.value : UINT64_MAX;
  std::vector<message_place> places;
  places_on_disk(address_key(user.text()), query.after.value, std::min(bound(view), before), SIZE_MAX, places);
  for (const auto& x : view.places)
    if (x.seq < before) places.push_back(x);
  const auto is_older = [this](const message_place& x, unix_ms at) { return appended_at(x.row) < at; };
  auto first = places.begin(), last = places.end();
  if (query.since.value != 0) first = std::lower_bound(first, last, query.since, is_older);
  if (query.until.value != 0) last = std::lower_bound(first, last, query.until, is_older);
  const auto limit = static_cast<std::ptrdiff_t>(query.limit);
  out.more = last - first > limit;
  if (out.more) query.newest ? first = last - limit : last = first + limit;
  for (; first != last; ++first) {
    auto found = message_at(first->row);
    if (!found) return found.error();
    if (*found && (*found)->what->to == user) out.messages.push_back(std::move((*found)->what));
  }
  // Last, as in read(): what is missing on the page because it had just gone is noted by now.
  if (user.is_channel()) {
    auto gone = devices.newest(gone_key(user));
    if (!gone) return gone.error();
    out.gone_to = gone->acked.floor();
  }
  return out;
}

result<stored_history> sqlite_reader::history(const address& box, const history_query& query) {
  try {
    return impl_->history(box, query);
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<dead_letter>> sqlite_reader::dead_letters(const dead_letter_query& query) {
  try {
    return impl_->letters.read(query);
  } catch (const SQLite::Exception& x) {
    return database_failure(x, impl_->path);
  }
}

result<std::vector<logged>> sqlite_reader::records(std::uint32_t shard, std::uint64_t offset, std::size_t limit) {
  try {
    auto rows = impl_->tail.rows_of(shard, offset, limit);
    const snapshot state(impl_->snapshots);
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
