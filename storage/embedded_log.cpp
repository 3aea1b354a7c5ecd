// SPDX-License-Identifier: Apache-2.0
// The mailbox log in the embedded database: the database does the work.
#include "storage/embedded_log.hpp"

#include <utility>

namespace doorstep {

embedded_log::embedded_log(std::shared_ptr<sqlite_database> database, bool alone) : database_(std::move(database)), alone_(alone) {}
embedded_log::~embedded_log() { stop(); }

std::uint32_t embedded_log::shard_count() const { return database_->shard_count(); }
std::uint32_t embedded_log::generation() const { return database_->generation(); }
bool embedded_log::append(std::vector<log_entry> entries, admission who, append_done done) {
  return database_->append(std::move(entries), who, std::move(done));
}
void embedded_log::open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) {
  database_->open_shard(shard, from_offset, std::move(sink));
}
void embedded_log::grant(shard_id shard, std::size_t records) { database_->grant(shard, records); }
void embedded_log::close_shard(shard_id shard) { database_->close_shard(shard); }
std::uint64_t embedded_log::end_offset(shard_id shard) const { return database_->end_offset(shard); }
std::size_t embedded_log::queued() const { return database_->queued(); }
std::size_t embedded_log::queue_max() const { return database_->queue_max(); }
void embedded_log::stored(shard_id shard, std::uint64_t next_offset) { database_->stored(shard, next_offset); }
void embedded_log::reap(reap_step step, std::function<void(result<reaped>)> done) {
  if (!alone_) return done(reaped{});  // the store's retention is the log's
  database_->reap_log(std::move(step), std::move(done));
}
void embedded_log::stop() {
  database_->stop_log();
  if (alone_) database_->stop_store();
}

}  // namespace doorstep
