// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite_dead_letters.hpp"

#include "storage/sqlite_format.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

std::string_view text(const SQLite::Column& x) { return {x.getText(), static_cast<std::size_t>(x.getBytes())}; }

}  // namespace

struct sqlite_dead_letters::statements {
  explicit statements(SQLite::Database& db)
      : all(db,
            "SELECT id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, requeue, requeued, terms FROM "
            "dead_letter "
            "WHERE entry > coalesce((SELECT entry FROM dead_letter WHERE id = ?1), 0) AND (?3 = '' OR address = ?3) AND (?4 = '' OR topic = ?4) "
            "AND (?5 = '' OR reason = ?5) AND last >= ?6 AND last < ?7 AND (?8 = 1 OR requeued = 0) ORDER BY entry LIMIT ?2"),
        by_id(db,
              "SELECT id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, requeue, requeued, "
              "terms FROM dead_letter WHERE id = ?1"),
        unmirrored(db,
                   "SELECT id, address, seq, reason, detail, source, topic, partition, offset, event, first, last, attempts, requeue, requeued, "
                   "terms FROM dead_letter WHERE mirrored = 0 ORDER BY entry LIMIT ?2") {}
  SQLite::Statement all, by_id, unmirrored;
};

sqlite_dead_letters::sqlite_dead_letters(SQLite::Database& db) : sql_(std::make_unique<statements>(db)) {}
sqlite_dead_letters::~sqlite_dead_letters() = default;

result<std::vector<dead_letter>> sqlite_dead_letters::read(const dead_letter_query& query) {
  std::vector<dead_letter> out;
  auto& q = query.unmirrored ? sql_->unmirrored : query.id.empty() ? sql_->all : sql_->by_id;
  q.reset();
  if (query.unmirrored || query.id.empty()) q.bind(2, static_cast<std::int64_t>(query.limit));
  if (!query.unmirrored) q.bind(1, query.id.empty() ? query.after : query.id);
  if (!query.unmirrored && query.id.empty()) {
    q.bind(3, query.address);
    q.bind(4, query.topic);
    q.bind(5, query.reason ? std::string(name(*query.reason)) : std::string());
    q.bind(6, query.since.value_or(unix_ms{INT64_MIN}).value);
    q.bind(7, query.until.value_or(unix_ms{INT64_MAX}).value);
    q.bind(8, query.requeued_too ? 1 : 0);
  }
  std::size_t bytes = 0;
  while (bytes < query.bytes_max && q.executeStep()) {
    auto what = stored_event(text(q.getColumn(9)), true);
    if (!what) return what.error();
    const auto terms_column = q.getColumn(15);
    auto terms = stored_terms(terms_column.isNull() ? std::nullopt : std::optional(text(terms_column)));
    if (!terms) return terms.error();
    const auto to = q.getColumn(1).getString();
    out.push_back({q.getColumn(0).getString(),
                   to.empty() ? address() : trusted_address(to),
                   {static_cast<std::uint64_t>(q.getColumn(2).getInt64())},
                   stored_reason(text(q.getColumn(3))),
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
                   q.getColumn(14).getInt() != 0,
                   std::move(*terms)});
    bytes += memory_of(out.back());
  }
  q.reset();
  return out;
}

}  // namespace doorstep
