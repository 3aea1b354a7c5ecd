// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite_devices.hpp"

#include "runtime/log.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <utility>

namespace doorstep {

struct sqlite_devices::statements {
  explicit statements(SQLite::Database& db)
      : cursor(db, "SELECT record FROM cursor WHERE user = ?"),
        of_user(db, "SELECT device FROM device WHERE user = ? ORDER BY device"),
        after(db, "SELECT user, device FROM device WHERE (user, device) > (?1, ?2) ORDER BY user, device LIMIT ?3") {}
  SQLite::Statement cursor, of_user, after;
};

sqlite_devices::sqlite_devices(SQLite::Database& db, const cursor_book& book, bool by_device)
    : book_(book), by_device_(by_device), sql_(std::make_unique<statements>(db)) {}
sqlite_devices::~sqlite_devices() = default;

result<cursor_record> sqlite_devices::newest(const address& box) { return newest_cursor(book_, sql_->cursor, box); }

result<std::vector<cursor_record>> sqlite_devices::of(const address& user) {
  std::vector<cursor_record> out;
  if (!by_device_) return out;
  std::vector<std::string> names;
  auto& q = sql_->of_user;
  q.reset();
  q.bind(1, std::string(user.text()));
  while (q.executeStep()) names.push_back(q.getColumn(0).getString());
  q.reset();
  for (const auto& name : names) {
    auto record = newest(device_box(user, name));
    if (!record) return record.error();
    if (is_registered(*record)) out.push_back(std::move(*record));
  }
  return out;
}

result<cursor_record> sqlite_devices::to_load(const address& box, const std::function<sequence()>& complete_to, std::size_t& count) {
  auto record = newest(box);
  if (!record || !by_device_) return record;
  const auto user = user_of(box);
  const auto all = of(user);
  if (!all) return all.error();
  count = all->size();
  if (!device_of(box) || is_registered(*record)) return record;
  const auto base = newest(user);
  if (!base) return base.error();
  return start_of_device(*record, *base, count != 0, count != 0 ? complete_to() : sequence());
}

result<std::vector<cursor_record>> sqlite_devices::judges(const address& user) {
  auto all = of(user);
  if (!all || !all->empty()) return all;
  auto own = newest(user);
  if (!own) return own.error();
  all->push_back(std::move(*own));
  return all;
}

std::vector<address> sqlite_devices::after(const address& after, std::size_t limit) {
  std::vector<address> out;
  auto& q = sql_->after;
  q.reset();
  q.bind(1, std::string(user_of(after).text()));
  q.bind(2, std::string(device_of(after).value_or("")));
  q.bind(3, static_cast<std::int64_t>(limit));
  while (q.executeStep()) out.push_back(device_box(trusted_address(q.getColumn(0).getString()), q.getColumn(1).getString()));
  q.reset();
  return out;
}

result<std::vector<cursor_record>> records_of_scope(SQLite::Database& db, const cursor_book& book, bool by_device) {
  std::vector<cursor_record> out;
  const std::string wanted = by_device ? "device" : "user";
  SQLite::Statement known(db, "SELECT value FROM state WHERE name = 'ack_scope'");
  const auto before = known.executeStep() ? known.getColumn(0).getString() : std::string("user");
  known.reset();
  if (before == wanted) return out;
  std::size_t users = 0;
  if (!by_device) {
    sqlite_devices from(db, book, true);
    SQLite::Statement each(db, "SELECT DISTINCT user FROM device");
    while (each.executeStep()) {
      const auto user = trusted_address(each.getColumn(0).getString());
      auto devices = from.of(user);
      if (!devices) return devices.error();
      if (devices->empty()) continue;
      const auto base = from.newest(user);
      if (!base) return base.error();
      out.push_back(base_of_all(*base, *devices));
      ++users;
      for (auto& x : *devices) {
        cursor_record gone;
        gone.user = x.user;
        gone.version = x.version + version_leap;
        out.push_back(std::move(gone));
      }
    }
    db.exec("DELETE FROM device");
  }
  SQLite::Statement keep(db, "INSERT OR REPLACE INTO state VALUES ('ack_scope', ?)");
  keep.bind(1, wanted);
  keep.exec();
  log_line(log_level::info, "store", "ack-scope-changed").with("from", before).with("to", wanted).with("users_with_devices", users);
  return out;
}

}  // namespace doorstep
