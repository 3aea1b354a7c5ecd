// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_writer.hpp"

#include "storage/mongo_dedup.hpp"
#include "storage/mongo_devices.hpp"
#include "storage/mongo_format.hpp"
#include "storage/mongo_reaper.hpp"
#include "storage/origin_text.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>

namespace doorstep {

namespace {

std::int64_t micros_now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::optional<failure> failure_of(const result<mongo_bulk_counts>& x) { return x ? std::nullopt : std::optional(x.error()); }

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
  impl(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& d, milliseconds window, metrics& m)
      : at(std::move(pool)), doubts(d), counts(m), dedup(at, window) {}

  std::optional<failure> write_messages(std::span<store_work> works);
  std::optional<failure> write_dead(std::span<store_work> works);
  std::optional<failure> write_inboxes(std::span<store_work> works);
  std::optional<failure> write_cursors(const newest_cursors& newest);
  std::optional<failure> write_positions(std::span<store_work> works);

  mongo_connection at;
  cursors_in_doubt& doubts;
  metrics& counts;
  mongo_dedup dedup;
  std::int64_t kept = 0;  ///< of the last dead letter: rises with each, by the clock where that is ahead
};

mongo_writer::mongo_writer(std::shared_ptr<mongo_pool> pool, cursors_in_doubt& doubts, milliseconds dedup_window, metrics& counts)
    : impl_(std::make_unique<impl>(std::move(pool), doubts, dedup_window, counts)) {}
mongo_writer::~mongo_writer() = default;

std::optional<failure> mongo_writer::impl::write_messages(std::span<store_work> works) {
  if (auto judged = dedup.judge(works); !judged) return judged.error();
  std::vector<mongo_operation> all;
  for (const auto& work : works) {
    const std::unordered_set<message_ptr> duplicates(work.duplicates.begin(), work.duplicates.end());
    for (const auto& x : work.batch.messages) {
      if (duplicates.contains(x)) continue;
      all.push_back({mongo_operation::kind::upsert, bson_with("_id", mongo_message_id(x->to, x->seq)), bson_with("$setOnInsert", document_of(*x))});
    }
  }
  return failure_of(at.write(mongo_collection::messages, all));
}

std::optional<failure> mongo_writer::impl::write_dead(std::span<store_work> works) {
  std::map<std::string_view, const dead_letter*> newest;
  std::vector<const dead_letter*> in_order;
  std::vector<mongo_operation> changes;
  for (const auto& work : works) {
    for (const auto& x : work.batch.dead) {
      auto& known = newest[x.id];
      if (known && known->requeue >= x.requeue) continue;  // the first one stays
      known = &x;
      in_order.push_back(&x);
    }
    for (const auto& x : work.batch.dead_changes) {
      using to = dead_letter_change::to;
      auto filter = bson_with("_id", x.id);
      filter.number("requeue", x.requeue);
      if (x.what != to::mirrored) filter.flag("requeued", false);
      bson_out now;
      now.flag(x.what == to::mirrored ? "mirrored" : "requeued", true);
      if (x.what == to::purged)
        changes.push_back({mongo_operation::kind::remove, std::move(filter), {}});
      else
        changes.push_back({mongo_operation::kind::update, std::move(filter), bson_with("$set", now)});
    }
  }
  std::vector<mongo_operation> letters;
  for (const auto* x : in_order) {
    if (newest[x->id] != x) continue;
    kept = std::max(kept + 1, micros_now());
    // Matches an earlier death only. Where the same one stands, the insert that is then tried runs into its _id and changes nothing.
    auto filter = bson_with("_id", x->id);
    filter.part("requeue", bson_with("$lt", static_cast<std::int64_t>(x->requeue)));
    letters.push_back({mongo_operation::kind::upsert, std::move(filter), change_to(*x, kept)});
  }
  const auto added = at.write(mongo_collection::dead_letters, letters);
  if (!added) return added.error();
  counts.dead_letters.add(static_cast<double>(added->upserted));
  const auto changed = at.write(mongo_collection::dead_letters, changes);
  if (!changed) return changed.error();
  counts.dead_letters.add(-static_cast<double>(changed->removed));
  return {};
}

std::optional<failure> mongo_writer::impl::write_inboxes(std::span<store_work> works) {
  std::unordered_map<address, const inbox_record*> newest;
  for (const auto& work : works) {
    for (const auto& x : work.batch.inboxes) {
      auto& at = newest[x.user];
      if (!at || at->version < x.version) at = &x;
    }
  }
  std::vector<mongo_operation> all;
  for (const auto& [user, record] : newest) {
    auto filter = bson_with("_id", user.text());
    filter.part("version", bson_with("$lt", static_cast<std::int64_t>(record->version)));
    all.push_back({mongo_operation::kind::upsert, std::move(filter), bson_with("$set", document_of(*record))});
  }
  return failure_of(at.write(mongo_collection::inboxes, all));
}

std::optional<failure> mongo_writer::impl::write_cursors(const newest_cursors& newest) {
  std::vector<mongo_operation> all;
  for (const auto& [user, record] : newest) all.push_back(mongo_write_of(*record));
  return failure_of(at.write(mongo_collection::cursors, all));
}

std::optional<failure> mongo_writer::impl::write_positions(std::span<store_work> works) {
  struct standing {
    std::uint64_t offset = 0;
    std::map<std::string, std::string> origins;  ///< field -> state
  };
  std::map<std::uint32_t, standing> furthest;
  for (const auto& work : works) {
    for (const auto& x : work.batch.positions) {
      auto& at_shard = furthest[static_cast<std::uint32_t>(x.shard)];
      if (x.next_offset < at_shard.offset) continue;
      at_shard.offset = x.next_offset;
      for (const auto& origin : x.origins) at_shard.origins["origins." + mongo_origin_field(origin.from)] = origin_state(origin);
    }
  }
  std::vector<mongo_operation> all;
  for (const auto& [shard, x] : furthest) {
    // Offset and origins rise together, so a late write changes neither: the insert that is then tried runs into its _id.
    auto filter = bson_with("_id", static_cast<std::int64_t>(shard));
    filter.part("next_offset", bson_with("$lt", static_cast<std::int64_t>(x.offset)));
    auto set = bson_with("next_offset", static_cast<std::int64_t>(x.offset));
    for (const auto& [field, state] : x.origins) set.text(field.c_str(), state);
    auto change = bson_with("$set", set);
    change.part("$setOnInsert", bson_with("v", mongo_format_version));
    all.push_back({mongo_operation::kind::upsert, std::move(filter), std::move(change)});
  }
  return failure_of(at.write(mongo_collection::shards, all));
}

std::optional<failure> mongo_writer::ping() {
  const auto found = impl_->at.count(mongo_collection::state, bson_with("_id", "store"));
  return found ? std::nullopt : std::optional(found.error());
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
  if (auto why = impl_->write_inboxes(works)) return why;
  if (auto why = impl_->write_cursors(newest)) {
    impl_->doubts.add(newest);
    return why;
  }
  impl_->doubts.settle(newest);
  if (auto why = impl_->write_positions(works)) return why;
  std::size_t duplicates = 0;
  for (const auto& work : works) duplicates += work.duplicates.size();
  impl_->counts.duplicates.add(static_cast<double>(duplicates));
  impl_->dedup.reap();
  impl_->counts.store_commits.add();
  impl_->counts.commit_time.observe(std::chrono::steady_clock::now() - began);
  return {};
}

std::optional<failure> mongo_writer::reap(reap_work& work, const std::vector<shard_position>& positions, bool by_device) {
  auto done = reap_stored(impl_->at, work.step, positions, by_device);
  if (!done) return done.error();
  if (work.step.what == reap_kind::dead_letters) impl_->counts.dead_letters.add(-static_cast<double>(done->removed));
  work.outcome = std::move(*done);
  return {};
}

}  // namespace doorstep
