// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_schema.hpp"

#include "runtime/digest.hpp"
#include "storage/mongo_format.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

result<void> make_index(mongo_connection& at, const char* collection, const char* name, const bson_out& key) {
  bson_out index;
  index.part("key", key).text("name", name);
  bson_out what;
  what.text("createIndexes", collection).parts("indexes", [&] {
    std::vector<bson_out> all;
    all.push_back(std::move(index));
    return all;
  }());
  return at.command(what);
}

/// Some servers take an index and keep none; without it every page would read the whole collection.
result<void> check_index(mongo_connection& at, mongo_collection in, const char* name) {
  const auto names = at.index_names(in);
  if (!names) return names.error();
  if (std::find(names->begin(), names->end(), name) != names->end()) return {};
  return failure{ec::unavailable, std::string("MongoDB did not keep the index ") + name + ", which reading needs", {}};
}

result<void> make_indexes(mongo_connection& at) {
  bson_out by_user;
  by_user.number("address", 1).number("seq", 1);
  if (auto made = make_index(at, "messages", "address_seq", by_user); !made) return made;
  bson_out by_arrival;
  by_arrival.number("kept", 1).number("_id", 1);
  if (auto made = make_index(at, "dead_letters", "kept_id", by_arrival); !made) return made;
  bson_out by_age;
  by_age.number("appended", 1).number("_id", 1);
  if (auto made = make_index(at, "messages", "appended_id", by_age); !made) return made;
  if (auto there = check_index(at, mongo_collection::messages, "address_seq"); !there) return there;
  if (auto there = check_index(at, mongo_collection::messages, "appended_id"); !there) return there;
  return check_index(at, mongo_collection::dead_letters, "kept_id");
}

failure contradiction(const std::string& what) {
  return {ec::bad_config,
          "the store in MongoDB " + what + "; give each log a store.database of its own, or start with the log that this store was made with",
          "store.database"};
}

/// The first to come writes it; all read what stands there.
result<std::string> identify(mongo_connection& at, const log_identity& log) {
  bson_out whose;
  whose.number("v", mongo_format_version).text("store_id", base64url(random_bytes(16))).text("log_id", log.id);
  whose.number("shards", static_cast<std::int64_t>(log.ends.size())).number("generation", log.generation);
  if (auto made = at.update_one(mongo_collection::state, bson_with("_id", "store"), bson_with("$setOnInsert", whose), true); !made)
    return made.error();
  std::string store_id;
  auto found = at.find(mongo_collection::state, bson_with("_id", "store"), {}, [&](const bson_in& x) -> result<void> {
    if (auto known = check_format(x); !known) return known;
    store_id = x.text("store_id");
    if (x.count("shards") != log.ends.size())
      return contradiction("has " + std::to_string(x.count("shards")) + " shards and the log " + std::to_string(log.ends.size()));
    if (x.text("log_id") != log.id) return contradiction("belongs to another log");
    if (x.count("generation") != log.generation) return contradiction("belongs to another generation of the log");
    return {};
  });
  if (!found) return found.error();
  if (store_id.empty()) return failure{ec::corrupt, "the store in MongoDB has lost the document that says whose it is", {}};
  return store_id;
}

}  // namespace

result<mongo_identity> prepare_mongo(mongo_connection& at, const log_identity& log) {
  mongo_identity out;
  auto store_id = identify(at, log);
  if (!store_id) return store_id.error();
  out.store_id = std::move(*store_id);
  if (auto made = make_indexes(at); !made) return made.error();
  for (std::uint32_t i = 0; i < log.ends.size(); ++i) out.positions.push_back({shard_id{i}, 0});
  auto read = at.find(mongo_collection::shards, {}, {}, [&](const bson_in& x) -> result<void> {
    if (auto known = check_format(x); !known) return known;
    const auto shard = x.count("_id");
    if (shard >= log.ends.size()) return contradiction("knows a shard " + std::to_string(shard));
    out.positions[shard].next_offset = x.count("next_offset");
    if (out.positions[shard].next_offset > log.ends[shard]) return contradiction("is ahead of the log in shard " + std::to_string(shard));
    return {};
  });
  if (!read) return read.error();
  auto dead = at.count(mongo_collection::dead_letters, {});
  if (!dead) return dead.error();
  out.dead_letters = *dead;
  return out;
}

}  // namespace doorstep
