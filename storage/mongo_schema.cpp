// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_schema.hpp"

#include "runtime/digest.hpp"
#include "storage/mongo_devices.hpp"
#include "storage/mongo_format.hpp"
#include "storage/origin_text.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// @param sparse only documents that have the field
result<void> make_index(mongo_connection& at, const char* collection, const char* name, const bson_out& key, bool sparse = false) {
  bson_out index;
  index.part("key", key).text("name", name);
  if (sparse) index.flag("sparse", true);
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
  bson_out by_mirror;
  by_mirror.number("mirrored", 1).number("kept", 1);
  if (auto made = make_index(at, "dead_letters", "mirrored_kept", by_mirror); !made) return made;
  if (auto there = check_index(at, mongo_collection::dead_letters, "mirrored_kept"); !there) return there;
  bson_out by_death;
  by_death.number("last", 1).number("_id", 1);
  if (auto made = make_index(at, "dead_letters", "last_id", by_death); !made) return made;
  if (auto there = check_index(at, mongo_collection::dead_letters, "last_id"); !there) return there;
  if (auto made = make_index(at, "dedup", "appended", bson_with("appended", std::int64_t{1})); !made) return made;
  if (auto there = check_index(at, mongo_collection::dedup, "appended"); !there) return there;
  bson_out by_age;
  by_age.number("appended", 1).number("_id", 1);
  if (auto made = make_index(at, "messages", "appended_id", by_age); !made) return made;
  if (auto made = make_index(at, "messages", "expires", bson_with("expires", std::int64_t{1}), true); !made) return made;
  if (auto there = check_index(at, mongo_collection::messages, "expires"); !there) return there;
  if (auto there = check_index(at, mongo_collection::messages, "address_seq"); !there) return there;
  if (auto there = check_index(at, mongo_collection::messages, "appended_id"); !there) return there;
  return check_index(at, mongo_collection::dead_letters, "kept_id");
}

/// What the store says of itself and of its log, with positions of all shards.
struct known_state {
  std::string store_id;
  known_log log;
  std::vector<std::vector<origin_position>> origins;
};

result<void> read_positions(mongo_connection& at, known_state& into) {
  return at.find(mongo_collection::shards, {}, {}, [&](const bson_in& x) -> result<void> {
    if (auto known = check_format(x); !known) return known;
    const auto shard = x.count("_id");
    if (shard >= into.log.positions.size()) return failure{ec::corrupt, "the store in MongoDB knows a shard " + std::to_string(shard), {}};
    into.log.positions[shard] = x.count("next_offset");
    for (const auto& text : x.texts("origins")) {
      auto origin = origin_from_state(text);
      if (!origin) return failure{ec::corrupt, "the origins of shard " + std::to_string(shard) + " in MongoDB cannot be read", {}};
      into.origins[shard].push_back(std::move(*origin));
    }
    return {};
  });
}

/// @returns an empty store_id where there is no store yet.
result<known_state> read_state(mongo_connection& at) {
  known_state out;
  auto found = at.find(mongo_collection::state, bson_with("_id", "store"), {}, [&](const bson_in& x) -> result<void> {
    if (auto known = check_format(x); !known) return known;
    out.store_id = x.text("store_id");
    out.log = {x.text("log_id"), static_cast<std::uint32_t>(x.number("generation")), std::vector<std::uint64_t>(x.count("shards"))};
    out.origins.resize(x.count("shards"));
    return {};
  });
  if (!found) return found.error();
  if (auto read = read_positions(at, out); !read) return read.error();
  return out;
}

/// Begins with a log: the first to come writes it, all read what stands there.
result<known_state> begin_state(mongo_connection& at, const log_identity& log, const chosen_log& chosen) {
  bson_out whose;
  whose.number("v", mongo_format_version).text("store_id", base64url(random_bytes(16))).text("log_id", chosen.id);
  whose.number("shards", static_cast<std::int64_t>(log.ends.size())).number("generation", chosen.generation);
  if (auto made = at.update_one(mongo_collection::state, bson_with("_id", "store"), bson_with("$setOnInsert", whose), true); !made)
    return made.error();
  return read_state(at);
}

/// Positions of the former generation go first: after a crash in between the same is chosen again.
result<known_state> begin_generation(mongo_connection& at, const chosen_log& chosen) {
  if (auto gone = at.remove_all(mongo_collection::shards, {}); !gone) return gone.error();
  bson_out whose;
  whose.text("log_id", chosen.id).number("generation", chosen.generation);
  auto filter = bson_with("_id", "store");
  filter.part("generation", bson_with("$lt", static_cast<std::int64_t>(chosen.generation)));
  if (auto set = at.update_one(mongo_collection::state, filter, bson_with("$set", whose), false); !set) return set.error();
  return read_state(at);
}

result<known_state> settle_log(mongo_connection& at, const log_identity& log) {
  auto known = read_state(at);
  for (int round = 0; known && round < 3; ++round) {
    auto chosen = choose_log(known->log, log, "the store in MongoDB", "store.database");
    if (!chosen) return chosen.error();
    if (!known->store_id.empty() && !chosen->anew) return known;
    known = known->store_id.empty() ? begin_state(at, log, *chosen) : begin_generation(at, *chosen);
  }
  if (!known) return known;
  return failure{ec::corrupt, "the store in MongoDB does not keep the document that says whose it is", {}};
}

}  // namespace

result<mongo_identity> prepare_mongo(mongo_connection& at, const log_identity& log, bool by_device) {
  auto known = settle_log(at, log);
  if (!known) return known.error();
  if (auto settled = settle_scope(at, by_device); !settled) return settled.error();
  mongo_identity out;
  out.who = {known->store_id, known->log.id, known->log.generation};
  for (std::uint32_t i = 0; i < log.ends.size(); ++i) out.positions.push_back({shard_id{i}, known->log.positions[i], std::move(known->origins[i])});
  if (auto made = make_indexes(at); !made) return made.error();
  auto dead = at.count(mongo_collection::dead_letters, {});
  if (!dead) return dead.error();
  out.dead_letters = *dead;
  return out;
}

}  // namespace doorstep
