// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_writer.hpp"

#include "storage/mongo_format.hpp"

#include <mongoc/mongoc.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>

namespace doorstep {

namespace {

/// Operations of one command: small enough that a slow server answers within the socket's timeout.
constexpr std::size_t bulk_operations = 1000;

struct operation {
  enum class kind { upsert, update, remove } what = kind::upsert;
  bson_out filter, change;
};

/// Which operations of a bulk ran into a document that was there already; nothing where there was any other error.
std::optional<std::vector<bool>> duplicates_only(const bson_t& reply, std::size_t count) {
  bson_iter_t at, each;
  if (bson_iter_init_find(&at, &reply, "writeConcernErrors") && bson_iter_recurse(&at, &each) && bson_iter_next(&each)) return std::nullopt;
  std::vector<bool> found(count);
  bool any = false;
  if (!bson_iter_init_find(&at, &reply, "writeErrors") || !bson_iter_recurse(&at, &each)) return std::nullopt;
  while (bson_iter_next(&each)) {
    bson_iter_t code, index;
    if (!bson_iter_recurse(&each, &code) || !bson_iter_find(&code, "code") || bson_iter_as_int64(&code) != mongo_duplicate_key) return std::nullopt;
    if (!bson_iter_recurse(&each, &index) || !bson_iter_find(&index, "index")) return std::nullopt;
    const auto number = static_cast<std::size_t>(bson_iter_as_int64(&index));
    if (number >= count) return std::nullopt;
    found[number] = any = true;
  }
  if (!any) return std::nullopt;
  return found;
}

std::int64_t micros_now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

using newest_cursors = std::unordered_map<address, const cursor_record*>;

}  // namespace

void cursors_in_doubt::add(const newest_cursors& failed) {
  const std::lock_guard lock(mutex_);
  for (const auto& [user, record] : failed) {
    auto& at = versions_[user];
    at = std::max(at, record->version);
  }
}

void cursors_in_doubt::settle(const newest_cursors& written) {
  const std::lock_guard lock(mutex_);
  if (versions_.empty()) return;
  for (const auto& [user, record] : written) {
    if (const auto found = versions_.find(user); found != versions_.end() && found->second <= record->version) versions_.erase(found);
  }
}

void cursors_in_doubt::settle(const address& user, std::uint64_t version) {
  const std::lock_guard lock(mutex_);
  if (const auto found = versions_.find(user); found != versions_.end() && found->second <= version) versions_.erase(found);
}

std::optional<std::uint64_t> cursors_in_doubt::find(const address& user) const {
  const std::lock_guard lock(mutex_);
  const auto found = versions_.find(user);
  return found == versions_.end() ? std::nullopt : std::optional(found->second);
}

struct mongo_writer::impl {
  impl(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& d, metrics& m) : at(std::move(pool)), doubts(d), counts(m) {}

  std::optional<failure> write(mongoc_collection_t* to, const std::vector<operation>& all);
  std::optional<failure> write_bulk(mongoc_collection_t* to, std::vector<const operation*> left);
  std::optional<failure> write_messages(std::span<store_work> works);
  std::optional<failure> write_dead(std::span<store_work> works);
  std::optional<failure> write_cursors(const newest_cursors& newest);
  std::optional<failure> write_positions(std::span<store_work> works);

  mongo_connection at;
  cursors_in_doubt& doubts;
  metrics& counts;
  std::int64_t kept = 0;  ///< of the last dead letter: rises with each, by the clock where that is ahead
  std::int64_t upserted = 0, removed = 0;
};

mongo_writer::mongo_writer(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& doubts, metrics& counts)
    : impl_(std::make_unique<impl>(std::move(pool), doubts, counts)) {}
mongo_writer::~mongo_writer() = default;

std::optional<failure> mongo_writer::impl::write(mongoc_collection_t* to, const std::vector<operation>& all) {
  upserted = removed = 0;
  for (std::size_t from = 0; from < all.size(); from += bulk_operations) {
    std::vector<const operation*> part;
    for (auto i = from; i < std::min(all.size(), from + bulk_operations); ++i) part.push_back(&all[i]);
    if (auto why = write_bulk(to, std::move(part))) return why;
  }
  return {};
}

/// A duplicate key says that the operation is done, or was overtaken. The driver may name duplicates and keep silent about a connection that broke after them,
/// so what is left is written again until a bulk passes without any error: nothing is taken for written that no server has confirmed.
std::optional<failure> mongo_writer::impl::write_bulk(mongoc_collection_t* to, std::vector<const operation*> left) {
  bson_out unordered, upsert, plain;
  unordered.flag("ordered", false);
  upsert.flag("upsert", true);
  while (!left.empty()) {
    const mongo_handle<mongoc_bulk_operation_t> bulk(mongoc_collection_create_bulk_operation_with_opts(to, unordered.bytes()));
    bson_error_t why{};
    for (const auto* x : left) {
      const bool taken = x->what == operation::kind::remove
                             ? mongoc_bulk_operation_remove_one_with_opts(bulk.get(), x->filter.bytes(), plain.bytes(), &why)
                             : mongoc_bulk_operation_update_one_with_opts(bulk.get(), x->filter.bytes(), x->change.bytes(),
                                                                          (x->what == operation::kind::upsert ? upsert : plain).bytes(), &why);
      if (!taken) return failure{ec::internal, std::string("the MongoDB driver refuses a document: ") + why.message, {}};
    }
    bson_t reply = BSON_INITIALIZER;
    bson_destroy(&reply);  // execute() makes it anew
    const bool done = mongoc_bulk_operation_execute(bulk.get(), &reply, &why) != 0;
    const auto duplicates = done ? std::nullopt : duplicates_only(reply, left.size());
    upserted += bson_in(reply).number("nUpserted");
    removed += bson_in(reply).number("nRemoved");
    bson_destroy(&reply);
    if (done) return {};
    if (!duplicates) return at.failed(why);
    std::vector<const operation*> rest;
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (!(*duplicates)[i]) rest.push_back(left[i]);
    }
    left = std::move(rest);
  }
  return {};
}

std::optional<failure> mongo_writer::impl::write_messages(std::span<store_work> works) {
  std::vector<operation> all;
  for (const auto& work : works) {
    for (const auto& x : work.batch.messages)
      all.push_back({operation::kind::upsert, bson_with("_id", mongo_message_id(x->to, x->seq)), bson_with("$setOnInsert", document_of(*x))});
  }
  return write(at.messages(), all);
}

std::optional<failure> mongo_writer::impl::write_dead(std::span<store_work> works) {
  std::map<std::string_view, const dead_letter*> newest;
  std::vector<const dead_letter*> in_order;
  std::vector<operation> changes;
  for (const auto& work : works) {
    for (const auto& x : work.batch.dead) {
      auto& known = newest[x.id];
      if (known && known->requeue >= x.requeue) continue;  // the first one stays
      known = &x;
      in_order.push_back(&x);
    }
    for (const auto& x : work.batch.dead_changes) {
      auto filter = bson_with("_id", x.id);
      filter.number("requeue", x.requeue).flag("requeued", false);
      bson_out requeued;
      requeued.flag("requeued", true);
      if (x.what == dead_letter_change::to::purged)
        changes.push_back({operation::kind::remove, std::move(filter), {}});
      else
        changes.push_back({operation::kind::update, std::move(filter), bson_with("$set", requeued)});
    }
  }
  std::vector<operation> letters;
  for (const auto* x : in_order) {
    if (newest[x->id] != x) continue;
    kept = std::max(kept + 1, micros_now());
    // Matches an earlier death only. Where the same one stands, the insert that is then tried runs into its _id and changes nothing.
    auto filter = bson_with("_id", x->id);
    filter.part("requeue", bson_with("$lt", static_cast<std::int64_t>(x->requeue)));
    letters.push_back({operation::kind::upsert, std::move(filter), bson_with("$set", document_of(*x, kept))});
  }
  if (auto why = write(at.dead_letters(), letters)) return why;
  counts.dead_letters.add(static_cast<double>(upserted));
  if (auto why = write(at.dead_letters(), changes)) return why;
  counts.dead_letters.add(-static_cast<double>(removed));
  return {};
}

std::optional<failure> mongo_writer::impl::write_cursors(const newest_cursors& newest) {
  std::vector<operation> all;
  for (const auto& [user, record] : newest) {
    auto filter = bson_with("_id", user.text());
    filter.part("version", bson_with("$lt", static_cast<std::int64_t>(record->version)));
    all.push_back({operation::kind::upsert, std::move(filter), bson_with("$set", document_of(*record))});
  }
  return write(at.cursors(), all);
}

std::optional<failure> mongo_writer::impl::write_positions(std::span<store_work> works) {
  std::map<std::uint32_t, std::uint64_t> furthest;
  for (const auto& work : works) {
    for (const auto& x : work.batch.positions) {
      auto& offset = furthest[static_cast<std::uint32_t>(x.shard)];
      offset = std::max(offset, x.next_offset);
    }
  }
  std::vector<operation> all;
  for (const auto& [shard, offset] : furthest) {
    auto change = bson_with("$max", bson_with("next_offset", static_cast<std::int64_t>(offset)));
    change.part("$setOnInsert", bson_with("v", mongo_format_version));
    all.push_back({operation::kind::upsert, bson_with("_id", static_cast<std::int64_t>(shard)), std::move(change)});
  }
  return write(at.shards(), all);
}

std::optional<failure> mongo_writer::run(std::span<store_work> works) {
  const auto began = std::chrono::steady_clock::now();
  newest_cursors newest;
  for (const auto& work : works) {
    for (const auto& x : work.batch.cursors) {
      auto& at = newest[x.user];
      if (!at || at->version < x.version) at = &x;
    }
  }
  if (auto why = impl_->write_messages(works)) return why;
  if (auto why = impl_->write_dead(works)) return why;
  if (auto why = impl_->write_cursors(newest)) {
    impl_->doubts.add(newest);
    return why;
  }
  impl_->doubts.settle(newest);
  if (auto why = impl_->write_positions(works)) return why;
  impl_->counts.store_commits.add();
  impl_->counts.commit_time.observe(std::chrono::steady_clock::now() - began);
  return {};
}

}  // namespace doorstep
