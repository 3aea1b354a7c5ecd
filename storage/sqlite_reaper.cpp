// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite_reaper.hpp"

#include "runtime/event.hpp"
#include "runtime/number_text.hpp"
#include "storage/sqlite_format.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace doorstep {

namespace {

std::int64_t as_stored(std::uint64_t x) { return static_cast<std::int64_t>(x); }
std::uint64_t number(const SQLite::Column& x) { return static_cast<std::uint64_t>(x.getInt64()); }

/// The row after which a pass goes on; 0 at its beginning.
std::uint64_t row_in(const std::string& text) { return number_in<std::uint64_t>(text).value_or(0); }

/// A place in an order of two numbers, "first second"; below all where the text is empty.
std::pair<std::int64_t, std::int64_t> pair_in(const std::string& text) {
  const auto blank = std::min(text.find(' '), text.size());
  const auto first = number_in<std::int64_t>(std::string_view(text).substr(0, blank));
  const auto second = number_in<std::int64_t>(std::string_view(text).substr(std::min(blank + 1, text.size())));
  if (!first || !second) return {INT64_MIN, 0};
  return {*first, *second};
}
std::string as_text(std::int64_t first, std::int64_t second) { return std::to_string(first) + ' ' + std::to_string(second); }

/// Of statements that go on after a place, up to a time, for so many rows.
void begin_look(SQLite::Statement& q, const reap_step& what) {
  const auto from = pair_in(what.from);
  q.reset();
  q.bind(1, from.first);
  q.bind(2, from.second);
  q.bind(3, what.before.value);
  q.bind(4, static_cast<std::int64_t>(what.limit));
}

bool is_forgotten_in(const std::vector<cursor_record>& records, std::size_t from, const address& box) {
  return std::any_of(records.begin() + static_cast<std::ptrdiff_t>(from), records.end(),
                     [&](const auto& x) { return x.user == box && !is_registered(x); });
}

/// Keeps one range a mailbox.
class overdue_users {
public:
  void add(const address& user, sequence seq) {
    const auto [found, is_new] = places_.try_emplace(std::string(user.text()), all_.size());
    if (is_new) all_.push_back({user, seq, seq});
    auto& x = all_[found->second];
    x.first = std::min(x.first, seq);
    x.last = std::max(x.last, seq);
  }
  std::vector<overdue> take() { return std::move(all_); }

private:
  std::vector<overdue> all_;
  std::unordered_map<std::string, std::size_t> places_;
};

}  // namespace

struct sqlite_reaper::statements {
  explicit statements(SQLite::Database& db)
      : uncovered(db,
                  "SELECT appended FROM message WHERE row > coalesce((SELECT value FROM state WHERE name = 'indexed_row'), 0) ORDER BY row LIMIT 1"),
        rows(db,
             "SELECT row, shard, seq, address, appended, origin_offset >= (SELECT floor FROM origin WHERE id = message.origin) FROM message "
             "WHERE row > ?1 AND row <= coalesce((SELECT value FROM state WHERE name = 'indexed_row'), 0) ORDER BY row LIMIT ?2"),
        remove(db, "DELETE FROM message WHERE row = ?"),
        postings(db, "SELECT last_seq, first_seq, first_row, places FROM posting WHERE address = ?1 AND last_seq >= ?2 ORDER BY last_seq"),
        posting(db,
                "UPDATE posting SET first_seq = ?3, messages = ?4, first_row = ?5, places = ?6, bytes = NULL WHERE address = ?1 AND last_seq = ?2"),
        no_posting(db, "DELETE FROM posting WHERE address = ?1 AND last_seq = ?2"),
        gone_mark(db,
                  "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET version = excluded.version, record = excluded.record "
                  "WHERE excluded.version > cursor.version"),
        gone_to(db, "UPDATE shard SET gone_to = max(gone_to, ?2) WHERE shard = ?1"),
        log_runs(db, "DELETE FROM log_run WHERE shard = ?1 AND first_offset + records <= ?2"),
        dead(db, "SELECT last, entry, mirrored FROM dead_letter WHERE (last, entry) > (?1, ?2) AND last < ?3 ORDER BY last, entry LIMIT ?4"),
        remove_dead(db, "DELETE FROM dead_letter WHERE entry = ?"),
        expiring(db,
                 "SELECT e.expires, e.row, m.seq, m.address FROM expiring e LEFT JOIN message m ON m.row = e.row "
                 "WHERE (e.expires, e.row) > (?1, ?2) AND e.expires < ?3 ORDER BY e.expires, e.row LIMIT ?4"),
        no_device(db, "DELETE FROM device WHERE user = ? AND device = ?"),
        not_expiring(db, "DELETE FROM expiring WHERE expires = ? AND row = ?"),
        by_age(db, "SELECT row, seq, address, appended, event FROM message WHERE row > ?1 ORDER BY row LIMIT ?2") {}
  SQLite::Statement uncovered, rows, remove, postings, posting, no_posting, gone_mark, gone_to, log_runs;
  SQLite::Statement dead, remove_dead, expiring, no_device, not_expiring, by_age;
};

/// What the cursors say, those of each user read once a step.
class sqlite_reaper::judges_of_users {
public:
  explicit judges_of_users(sqlite_devices& devices) : devices_(devices) {}
  /// The mailboxes that are owed the message: the user's, or those of devices. Who reads a channel judges for itself: nobody is to be told.
  const std::vector<address>& owe(const address& user, sequence seq) {
    owing_.clear();
    if (user.is_channel()) return owing_;
    const auto [found, is_new] = known_.try_emplace(std::string(user.text()));
    if (is_new) {
      auto records = devices_.judges(user);
      if (records)
        found->second = std::move(*records);
      else
        found->second.emplace_back().user = user;  // what cannot be read settles nothing
    }
    for (const auto& x : found->second)
      if (!x.acked.is_acked(seq)) owing_.push_back(x.user);
    return owing_;
  }

private:
  sqlite_devices& devices_;
  std::unordered_map<std::string, std::vector<cursor_record>> known_;
  std::vector<address> owing_;
};

sqlite_reaper::sqlite_reaper(SQLite::Database& db, const cursor_book& cursors, bool by_device)
    : devices_(db, cursors, by_device), sql_(std::make_unique<statements>(db)) {}
sqlite_reaper::~sqlite_reaper() = default;

reaped sqlite_reaper::step(const reap_step& what, const std::vector<std::uint64_t>& positions, settled_by whom) {
  struct places_of_user {
    std::uint64_t first_seq = 0;
    std::vector<std::uint64_t> rows;
  };
  std::vector<std::uint64_t> rows;
  std::unordered_map<std::uint64_t, places_of_user> places;
  judges_of_users judges(devices_);
  std::map<std::uint32_t, sequence> gone_to;
  std::map<address, sequence> gone_of_channels;
  reaped out;
  std::size_t looked_at = 0;
  std::uint64_t last = 0;
  auto& q = sql_->rows;
  q.reset();
  q.bind(1, as_stored(row_in(what.from)));
  q.bind(2, static_cast<std::int64_t>(what.limit));
  bool young = false;
  while (q.executeStep()) {
    if (q.getColumn(4).getInt64() >= what.before.value) {
      young = true;
      break;
    }
    ++looked_at;
    last = number(q.getColumn(0));
    const auto shard = q.getColumn(1).getUInt();
    const sequence seq{number(q.getColumn(2))};
    const auto to = trusted_address(q.getColumn(3).getString());
    // What a shard would read again after a restart, or a replay of its source is recognised by, is not history yet.
    bool keep = seq.offset() >= positions.at(shard) || q.getColumn(5).getInt() != 0;
    if (!keep && !to.is_dead_letters() && whom == settled_by::cursor) keep = !judges.owe(to, seq).empty();
    if (keep) {
      ++out.kept;
      continue;
    }
    rows.push_back(last);
    gone_to[shard] = seq;
    if (to.is_dead_letters()) continue;
    if (to.is_channel() && whom == settled_by::cursor) gone_of_channels[to] = seq;
    auto& of = places[address_key(to.text())];
    if (of.rows.empty()) of.first_seq = seq.value;
    of.rows.push_back(last);
  }
  q.reset();
  for (const auto row : rows) {
    sql_->remove.reset();
    sql_->remove.bind(1, as_stored(row));
    sql_->remove.exec();
  }
  for (const auto& [address, of] : places) forget_places(address, of.first_seq, of.rows);
  for (const auto& [shard, seq] : gone_to) {
    sql_->gone_to.reset();
    sql_->gone_to.bind(1, static_cast<std::int64_t>(shard));
    sql_->gone_to.bind(2, as_stored(seq.value));
    sql_->gone_to.exec();
    sql_->log_runs.reset();
    sql_->log_runs.bind(1, static_cast<std::int64_t>(shard));
    sql_->log_runs.bind(2, as_stored(seq.offset() + 1));
    sql_->log_runs.exec();
  }
  for (const auto& [of, seq] : gone_of_channels) note_gone(of, seq);
  out.removed = rows.size();
  if (!young && looked_at == what.limit) out.next = std::to_string(last);
  return out;
}

reaped sqlite_reaper::step_dead_letters(const reap_step& what) {
  reaped out;
  std::vector<std::int64_t> entries;
  std::size_t looked_at = 0;
  std::pair<std::int64_t, std::int64_t> last;
  auto& q = sql_->dead;
  begin_look(q, what);
  for (; q.executeStep(); ++looked_at) {
    last = {q.getColumn(0).getInt64(), q.getColumn(1).getInt64()};
    if (what.mirrored_only && q.getColumn(2).getInt() == 0)
      ++out.kept;
    else
      entries.push_back(last.second);
  }
  q.reset();
  for (const auto entry : entries) {
    sql_->remove_dead.reset();
    sql_->remove_dead.bind(1, entry);
    sql_->remove_dead.exec();
  }
  out.removed = entries.size();
  if (looked_at == what.limit) out.next = as_text(last.first, last.second);
  return out;
}

/// What is settled, or gone, need not be found again.
reaped sqlite_reaper::step_expired_named(const reap_step& what) {
  reaped out;
  judges_of_users judges(devices_);
  overdue_users users;
  std::vector<std::pair<std::int64_t, std::int64_t>> settled;
  std::size_t looked_at = 0;
  std::pair<std::int64_t, std::int64_t> last;
  auto& q = sql_->expiring;
  begin_look(q, what);
  for (; q.executeStep(); ++looked_at) {
    last = {q.getColumn(0).getInt64(), q.getColumn(1).getInt64()};
    if (q.getColumn(2).isNull()) {
      settled.push_back(last);
      continue;
    }
    const sequence seq{number(q.getColumn(2))};
    const auto to = trusted_address(q.getColumn(3).getString());
    const auto& owe = judges.owe(to, seq);
    if (owe.empty())
      settled.push_back(last);
    else
      ++out.kept;
    for (const auto& box : owe) users.add(box, seq);
  }
  q.reset();
  for (const auto& [expires, row] : settled) {
    sql_->not_expiring.reset();
    sql_->not_expiring.bind(1, expires);
    sql_->not_expiring.bind(2, row);
    sql_->not_expiring.exec();
  }
  if (looked_at == what.limit) out.next = as_text(last.first, last.second);
  out.expired = users.take();
  return out;
}

/// In the order of rows, as retention. The event is read only where it may name a time itself.
reaped sqlite_reaper::step_expired_by_age(const reap_step& what) {
  reaped out;
  judges_of_users judges(devices_);
  overdue_users users;
  std::size_t looked_at = 0;
  out.again = what.from;
  auto last = row_in(what.from);
  bool young = false;
  auto& q = sql_->by_age;
  q.reset();
  q.bind(1, as_stored(last));
  q.bind(2, static_cast<std::int64_t>(what.limit));
  while (q.executeStep()) {
    if (q.getColumn(3).getInt64() >= what.before.value) {
      young = true;
      break;
    }
    ++looked_at;
    const auto before_this = last;
    last = number(q.getColumn(0));
    const sequence seq{number(q.getColumn(1))};
    const auto to = trusted_address(q.getColumn(2).getString());
    if (to.is_dead_letters()) continue;
    const auto& owe = judges.owe(to, seq);
    if (owe.empty()) continue;
    const auto column = q.getColumn(4);
    const std::string_view text(column.getText(), static_cast<std::size_t>(column.getBytes()));
    if (text.find("\"expirytime\"") != std::string_view::npos) {
      const auto named = event_from_json(text);
      if (named && named->expires > what.now) continue;
    }
    if (out.kept++ == 0) out.again = std::to_string(before_this);
    for (const auto& box : owe) users.add(box, seq);
  }
  q.reset();
  if (out.kept == 0) out.again = std::to_string(last);
  if (!young && looked_at == what.limit) out.next = std::to_string(last);
  out.expired = users.take();
  return out;
}

/// In the transaction that removes them. The seq is the version too, so that the mark only rises.
void sqlite_reaper::note_gone(const address& channel, sequence seq) {
  const cursor_record mark{gone_key(channel), cursor(seq, {}), {}, {}, seq.value};
  std::string bytes;
  encode_cursor(mark, bytes);
  auto& q = sql_->gone_mark;
  q.reset();
  q.bind(1, std::string(mark.user.text()));
  q.bind(2, as_stored(mark.version));
  q.bindNoCopy(3, static_cast<const void*>(bytes.data()), static_cast<int>(bytes.size()));
  q.exec();
}

/// In the order of names.
reaped sqlite_reaper::step_devices(const reap_step& what, std::vector<cursor_record>& records) {
  reaped out;
  const auto names = devices_.after(trusted_address(what.from), what.limit);
  const auto written = records.size();
  const auto is_written = [&](const address& box) {
    return std::any_of(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(written), [&](const auto& x) { return x.user == box; });
  };
  for (const auto& name : names) {
    if (is_written(name)) continue;
    const auto user = user_of(name);
    auto gone = devices_.newest(name);
    if (!gone || (is_registered(*gone) && gone->seen >= what.before)) continue;
    // Those that go in the same step are others no more.
    const auto devices = devices_.of(user);
    auto base = devices_.newest(user);
    if (!devices || !base) continue;
    if (is_registered(*gone)) {
      const auto is_gone = [&](const auto& x) { return x.user == gone->user || is_forgotten_in(records, written, x.user); };
      for (auto i = written; i < records.size(); ++i)
        if (records[i].user == user) *base = records[i];
      records.push_back(base_without(*base, *gone, std::all_of(devices->begin(), devices->end(), is_gone)));
      records.emplace_back().user = gone->user;
      records.back().version = gone->version + 1;
      ++out.removed;
    }
    sql_->no_device.reset();
    sql_->no_device.bind(1, std::string(user.text()));
    sql_->no_device.bind(2, std::string(device_of(name).value_or("")));
    sql_->no_device.exec();
  }
  if (names.size() == what.limit) out.next = std::string(names.back().text());
  return out;
}

bool sqlite_reaper::waits_for_indexes(const reap_step& what) {
  auto& q = sql_->uncovered;
  q.reset();
  const bool old = q.executeStep() && q.getColumn(0).getInt64() < what.before.value;
  q.reset();
  return old;
}

/// @param rows rising
void sqlite_reaper::forget_places(std::uint64_t address, std::uint64_t first_seq, const std::vector<std::uint64_t>& rows) {
  struct piece {
    std::uint64_t last_seq;
    std::vector<message_place> places;
  };
  std::vector<piece> changed;
  auto left = rows.size();
  auto& q = sql_->postings;
  q.reset();
  q.bind(1, as_stored(address));
  q.bind(2, as_stored(first_seq));
  while (left > 0 && q.executeStep()) {
    const auto column = q.getColumn(3);
    piece x{number(q.getColumn(0)), {}};
    decode_places({static_cast<const char*>(column.getBlob()), static_cast<std::size_t>(column.getBytes())},
                  {number(q.getColumn(1)), number(q.getColumn(2))}, x.places);
    const auto gone = std::erase_if(x.places, [&](const message_place& y) { return std::binary_search(rows.begin(), rows.end(), y.row); });
    left -= gone;
    if (gone > 0) changed.push_back(std::move(x));
  }
  q.reset();
  std::string bytes;
  for (const auto& x : changed) {
    auto& to = x.places.empty() ? sql_->no_posting : sql_->posting;
    to.reset();
    to.bind(1, as_stored(address));
    to.bind(2, as_stored(x.last_seq));
    if (!x.places.empty()) {
      bytes.clear();
      encode_places(x.places, bytes);
      to.bind(3, as_stored(x.places.front().seq));
      to.bind(4, static_cast<std::int64_t>(x.places.size()));
      to.bind(5, as_stored(x.places.front().row));
      to.bindNoCopy(6, static_cast<const void*>(bytes.data()), static_cast<int>(bytes.size()));
    }
    to.exec();
  }
}

}  // namespace doorstep
