// SPDX-License-Identifier: Apache-2.0
// The driver's pool and a thread's connection from it, with our settings: majority and journal on every write, majority reads from the primary, bounded waits.
// libmongoc blocks; a mongo_connection belongs to one thread at a time.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "storage/mongo_bson.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace doorstep {

class mongo_pool {
public:
  /// @returns ec::bad_config for a URI that cannot be used; the URI itself is in no text. Does not connect.
  static result<std::shared_ptr<mongo_pool>> open(const store_config& options);
  ~mongo_pool();

  const store_config& options() const { return options_; }

private:
  friend class mongo_connection;
  struct impl;
  mongo_pool(const store_config& options, std::unique_ptr<impl> x);
  const store_config options_;
  const std::unique_ptr<impl> impl_;
};

enum class mongo_collection : std::uint8_t { messages, cursors, dead_letters, shards, state, dedup, inboxes };

/// One document's change in a bulk. A duplicate key says that it is done, or was overtaken.
struct mongo_operation {
  enum class kind : std::uint8_t { upsert, update, remove } what = kind::upsert;
  bson_out filter, change;
};
struct mongo_bulk_counts {
  std::int64_t upserted = 0, removed = 0;
};

/// One thread's connection and the collections it works on. Failures are ec::unavailable with the driver's words.
class mongo_connection {
public:
  explicit mongo_connection(std::shared_ptr<mongo_pool> pool);
  ~mongo_connection();

  /// Documents that match, each handed to `take` while it lasts; `take` returns a failure to end.
  result<void> find(mongo_collection in, const bson_out& filter, const bson_out& options, const std::function<result<void>(const bson_in&)>& take);
  result<std::uint64_t> count(mongo_collection in, const bson_out& filter);
  /// Adds up a number of the documents that match, on the server; one without it adds nothing.
  result<void> sum(mongo_collection in, const bson_out& filter, const char* field, std::uint64_t& into);
  /// Updates at most one document. A duplicate key counts as done: another did it first.
  result<void> update_one(mongo_collection in, const bson_out& filter, const bson_out& change, bool upsert);
  /// All of them, in no order, in commands of a bounded size; repeated until one passes without any error, so that nothing is taken for written that no server
  /// has confirmed.
  result<mongo_bulk_counts> write(mongo_collection to, const std::vector<mongo_operation>& all);
  result<void> remove_all(mongo_collection from, const bson_out& filter);
  result<void> command(const bson_out& what);
  result<std::vector<std::string>> index_names(mongo_collection in);

private:
  struct impl;
  const std::unique_ptr<impl> impl_;
};

}  // namespace doorstep
