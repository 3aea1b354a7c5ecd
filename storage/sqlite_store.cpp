// SPDX-License-Identifier: Apache-2.0
// The message store in a SQLite database: the database does the work.
#include "storage/sqlite_store.hpp"

#include "storage/embedded_log.hpp"

#include <utility>

namespace doorstep {

sqlite_store::sqlite_store(std::shared_ptr<sqlite_database> database) : database_(std::move(database)) {}
sqlite_store::~sqlite_store() { database_->stop_store(); }

bool sqlite_store::shares_log() const { return database_->owns_log(); }
store_identity sqlite_store::identity() const { return database_->identity(); }
std::vector<shard_position> sqlite_store::positions() const { return database_->positions(); }
void sqlite_store::write(store_batch batch, urgency when, store_done<void> done) { database_->write(std::move(batch), when, std::move(done)); }
void sqlite_store::load(address user, std::size_t limit, store_done<stored_mailbox> done) {
  database_->load(std::move(user), limit, std::move(done));
}
void sqlite_store::cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) {
  database_->cursors(std::move(keys), std::move(done));
}
void sqlite_store::devices(address user, store_done<std::vector<cursor_record>> done) { database_->devices(std::move(user), std::move(done)); }
void sqlite_store::read(address user, sequence after, std::size_t limit, store_done<stored_page> done) {
  database_->read(std::move(user), after, limit, std::move(done));
}
void sqlite_store::locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) {
  database_->locate(std::move(user), std::move(seqs), std::move(done));
}
void sqlite_store::history(address user, history_query query, store_done<stored_history> done) {
  database_->history(std::move(user), query, std::move(done));
}
void sqlite_store::reap(reap_step step, store_done<reaped> done) { database_->reap(std::move(step), std::move(done)); }
void sqlite_store::dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) {
  database_->dead_letters(std::move(query), std::move(done));
}
void sqlite_store::stop_reading() { database_->stop_reading(); }
void sqlite_store::stop() { database_->stop_store(); }

result<std::unique_ptr<message_store>> open_sqlite_store(const config& options, const log_identity& log, metrics& counts) {
  auto database = sqlite_database::open(options, counts, &log);
  if (!database) return database.error();
  return std::unique_ptr<message_store>(std::make_unique<sqlite_store>(std::move(*database)));
}

result<engines> open_embedded(const config& options, metrics& counts) {
  auto database = sqlite_database::open(options, counts, nullptr);
  if (!database) return database.error();
  auto log = std::make_unique<embedded_log>(*database);
  auto store = std::make_unique<sqlite_store>(*database);
  return engines{std::move(*database), std::move(log), std::move(store)};
}

result<engines> open_embedded_log(const config& options, metrics& counts) {
  auto database = sqlite_database::open(options, counts, nullptr);
  if (!database) return database.error();
  auto log = std::make_unique<embedded_log>(*database, true);
  return engines{std::move(*database), std::move(log), nullptr};
}

}  // namespace doorstep
