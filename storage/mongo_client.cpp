// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_client.hpp"

#include "runtime/log.hpp"

#include <mongoc/mongoc.h>

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep {

namespace {

/// The driver's own lines are about connections: worth a throttled line of ours, never more.
void on_driver_line(mongoc_log_level_t level, const char* domain, const char* text, void*) {
  static log_throttle throttle;
  if (level > MONGOC_LOG_LEVEL_WARNING) return;
  if (const auto missed = throttle.pass())
    log_line(log_level::warn, "store", "driver").with("domain", domain).with("text", text).with("missed", *missed);
}

void start_driver() {
  static const bool once = [] {
    mongoc_init();
    mongoc_log_set_handler(on_driver_line, nullptr);
    return true;
  }();
  (void)once;
}

std::int32_t as_ms(milliseconds x) { return static_cast<std::int32_t>(x.count()); }

struct uri_release {
  void operator()(mongoc_uri_t* x) const { mongoc_uri_destroy(x); }
};

failure bad_uri(const std::string& why) { return {ec::bad_config, "store.uri cannot be used: " + why, "store.uri"}; }

}  // namespace

result<std::shared_ptr<mongo_pool>> mongo_pool::open(const store_config& options) {
  start_driver();
  if (options.uri.empty()) return failure{ec::bad_config, "store.engine = \"mongodb\" needs store.uri or store.uri_file", "store.uri"};
  bson_error_t why{};
  const std::unique_ptr<mongoc_uri_t, uri_release> uri(mongoc_uri_new_with_error(options.uri.c_str(), &why));
  if (!uri) return bad_uri(why.message);
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_SERVERSELECTIONTIMEOUTMS, as_ms(options.selection_timeout));
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_CONNECTTIMEOUTMS, as_ms(options.connect_timeout));
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_SOCKETTIMEOUTMS, as_ms(options.socket_timeout));
  mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_SERVERSELECTIONTRYONCE, false);
  // Every write is safe to repeat, and who asked for it repeats it: the driver's own retries would need sessions.
  if (!mongoc_uri_has_option(uri.get(), MONGOC_URI_RETRYWRITES)) mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_RETRYWRITES, false);
  if (!mongoc_uri_has_option(uri.get(), MONGOC_URI_RETRYREADS)) mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_RETRYREADS, false);
  auto* const pool = mongoc_client_pool_new(uri.get());
  if (!pool) return bad_uri("this libmongoc cannot do what it asks for (TLS, compression?)");
  mongoc_client_pool_max_size(pool, static_cast<std::uint32_t>(options.connections_max));
  mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
  mongoc_client_pool_set_appname(pool, "doorstep");
  return std::shared_ptr<mongo_pool>(new mongo_pool(options, pool));
}

mongo_pool::~mongo_pool() { mongoc_client_pool_destroy(pool_); }

mongo_connection::mongo_connection(std::shared_ptr<mongo_pool> pool) : pool_(std::move(pool)), client_(mongoc_client_pool_pop(pool_->pool_)) {
  database_.reset(mongoc_client_get_database(client_, pool_->options().database.c_str()));
  auto* const durable = mongoc_write_concern_new();
  // The server says "not yet" before the socket gives up, so that fewer writes end in doubt.
  mongoc_write_concern_set_wmajority(durable, std::max<std::int32_t>(1, as_ms(pool_->options().socket_timeout) * 8 / 10));
  mongoc_write_concern_set_journal(durable, true);
  auto* const majority = mongoc_read_concern_new();
  mongoc_read_concern_set_level(majority, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
  auto* const primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
  mongoc_database_set_write_concern(database_.get(), durable);
  const auto open = [&](mongo_handle<mongoc_collection_t>& at, const char* name) {
    at.reset(mongoc_database_get_collection(database_.get(), name));
    mongoc_collection_set_write_concern(at.get(), durable);
    mongoc_collection_set_read_concern(at.get(), majority);
    mongoc_collection_set_read_prefs(at.get(), primary);
  };
  open(messages_, "messages");
  open(cursors_, "cursors");
  open(dead_letters_, "dead_letters");
  open(shards_, "shards");
  open(state_, "state");
  mongoc_read_prefs_destroy(primary);
  mongoc_read_concern_destroy(majority);
  mongoc_write_concern_destroy(durable);
}

mongo_connection::~mongo_connection() {
  messages_.reset();
  cursors_.reset();
  dead_letters_.reset();
  shards_.reset();
  state_.reset();
  database_.reset();
  mongoc_client_pool_push(pool_->pool_, client_);
}

failure mongo_connection::failed(const bson_error_t& why) const {
  return {ec::unavailable, "MongoDB, database " + pool_->options().database + ": " + why.message + " (" + std::to_string(why.code) + ")", {}};
}

mongo_handle<mongoc_cursor_t> mongo_connection::begin_find(mongoc_collection_t* in, const bson_out& filter, const bson_out& options) {
  return mongo_handle<mongoc_cursor_t>(mongoc_collection_find_with_opts(in, filter.bytes(), options.bytes(), nullptr));
}

const bson_t* mongo_connection::next(mongoc_cursor_t& cursor) {
  const bson_t* found = nullptr;
  return mongoc_cursor_next(&cursor, &found) ? found : nullptr;
}

result<void> mongo_connection::end_find(mongoc_cursor_t& cursor) {
  bson_error_t why{};
  if (mongoc_cursor_error(&cursor, &why)) return failed(why);
  return {};
}

result<std::uint64_t> mongo_connection::count(mongoc_collection_t* in, const bson_out& filter) {
  bson_error_t why{};
  const auto found = mongoc_collection_count_documents(in, filter.bytes(), nullptr, nullptr, nullptr, &why);
  if (found < 0) return failed(why);
  return static_cast<std::uint64_t>(found);
}

result<void> mongo_connection::update_one(mongoc_collection_t* in, const bson_out& filter, const bson_out& change, bool upsert) {
  bson_out options;
  options.flag("upsert", upsert);
  bson_error_t why{};
  if (mongoc_collection_update_one(in, filter.bytes(), change.bytes(), options.bytes(), nullptr, &why)) return {};
  if (why.code == mongo_duplicate_key) return {};
  return failed(why);
}

result<void> mongo_connection::command(const bson_out& what) {
  bson_error_t why{};
  if (mongoc_database_write_command_with_opts(database_.get(), what.bytes(), nullptr, nullptr, &why)) return {};
  return failed(why);
}

result<std::vector<std::string>> mongo_connection::index_names(mongoc_collection_t* in) {
  std::vector<std::string> out;
  const mongo_handle<mongoc_cursor_t> cursor(mongoc_collection_find_indexes_with_opts(in, nullptr));
  while (const auto* found = next(*cursor)) out.push_back(bson_in(*found).text("name"));
  if (auto ended = end_find(*cursor); !ended) return ended.error();
  return out;
}

}  // namespace doorstep
