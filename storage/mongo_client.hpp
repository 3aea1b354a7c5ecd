// SPDX-License-Identifier: Apache-2.0
// The driver's pool and a thread's connection from it, with our settings: majority and journal on every write, majority reads from the primary, bounded waits.
// libmongoc blocks; a mongo_connection belongs to one thread at a time.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "storage/mongo_bson.hpp"

#include <memory>
#include <vector>

namespace doorstep {

class mongo_pool {
public:
  /// @returns ec::bad_config for a URI that cannot be used; the URI itself is in no text. Does not connect.
  static result<std::shared_ptr<mongo_pool>> open(const store_config& options);
  ~mongo_pool();
  mongo_pool(const mongo_pool&) = delete;
  mongo_pool& operator=(const mongo_pool&) = delete;

  const store_config& options() const { return options_; }

private:
  friend class mongo_connection;
  mongo_pool(const store_config& options, mongoc_client_pool_t* pool) : options_(options), pool_(pool) {}
  const store_config options_;
  mongoc_client_pool_t* const pool_;
};

/// One thread's connection and the collections it works on.
class mongo_connection {
public:
  explicit mongo_connection(std::shared_ptr<mongo_pool> pool);
  ~mongo_connection();
  mongo_connection(const mongo_connection&) = delete;
  mongo_connection& operator=(const mongo_connection&) = delete;

  mongoc_database_t* database() const { return database_.get(); }
  mongoc_collection_t* messages() const { return messages_.get(); }
  mongoc_collection_t* cursors() const { return cursors_.get(); }
  mongoc_collection_t* dead_letters() const { return dead_letters_.get(); }
  mongoc_collection_t* shards() const { return shards_.get(); }
  mongoc_collection_t* state() const { return state_.get(); }

  /// Documents that match, each handed to `take` while it lasts; `take` returns a failure to end.
  template <class Take>
  result<void> find(mongoc_collection_t* in, const bson_out& filter, const bson_out& options, Take take) {
    auto cursor = begin_find(in, filter, options);
    while (const auto* found = next(*cursor)) {
      if (result<void> taken = take(bson_in(*found)); !taken) return taken;
    }
    return end_find(*cursor);
  }
  result<std::uint64_t> count(mongoc_collection_t* in, const bson_out& filter);
  /// Updates at most one document. A duplicate key counts as done: another did it first.
  result<void> update_one(mongoc_collection_t* in, const bson_out& filter, const bson_out& change, bool upsert);
  result<void> command(const bson_out& what);
  result<std::vector<std::string>> index_names(mongoc_collection_t* in);
  /// ec::unavailable with the driver's words.
  failure failed(const bson_error_t& why) const;

private:
  mongo_handle<mongoc_cursor_t> begin_find(mongoc_collection_t* in, const bson_out& filter, const bson_out& options);
  static const bson_t* next(mongoc_cursor_t& cursor);
  result<void> end_find(mongoc_cursor_t& cursor);

  const std::shared_ptr<mongo_pool> pool_;
  mongoc_client_t* const client_;
  mongo_handle<mongoc_database_t> database_;
  mongo_handle<mongoc_collection_t> messages_, cursors_, dead_letters_, shards_, state_;
};

constexpr int mongo_duplicate_key = 11000;

}  // namespace doorstep
