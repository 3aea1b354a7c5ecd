// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_reaper.hpp"

#include "runtime/number_text.hpp"
#include "storage/mongo_format.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace doorstep {

namespace {

/// A message as far as retention looks at it.
struct candidate {
  std::string id;
  address to;
  sequence seq;
  std::int64_t appended;
};

/// Where a step goes on: "appended _id" of the last one looked at.
bson_out filter_of(const reap_step& step) {
  auto younger = bson_with("$lt", step.before.value);
  const auto blank = step.from.find(' ');
  if (blank == std::string::npos) return bson_with("appended", younger);
  const auto appended = number_in<std::int64_t>(std::string_view(step.from).substr(0, blank)).value_or(0);
  younger.number("$gt", appended);
  std::vector<bson_out> either;
  either.push_back(bson_with("appended", younger));
  either.push_back(bson_with("appended", appended));
  either.back().part("_id", bson_with("$gt", std::string_view(step.from).substr(blank + 1)));
  bson_out out;
  out.parts("$or", either);
  return out;
}

bson_out options_of(const reap_step& step) {
  bson_out order, fields, out;
  order.number("appended", 1).number("_id", 1);
  fields.number("address", 1).number("seq", 1).number("appended", 1);
  out.part("sort", order).part("projection", fields).number("limit", static_cast<std::int64_t>(step.limit));
  return out;
}

/// The acked part of each user that has a message among these.
result<std::unordered_map<address, cursor>> cursors_of(mongo_connection& at, const std::vector<candidate>& all) {
  std::unordered_map<address, cursor> out;
  for (const auto& x : all) {
    const auto entry = out.try_emplace(x.to);
    if (!entry.second) continue;
    auto& acked = entry.first->second;
    auto found = at.find(mongo_collection::cursors, bson_with("_id", x.to.text()), {}, [&](const bson_in& document) -> result<void> {
      auto record = cursor_from(document);
      if (!record) return record.error();
      acked = std::move(record->acked);
      return {};
    });
    if (!found) return found.error();
  }
  return out;
}

}  // namespace

result<reaped> reap_messages(mongo_connection& at, const reap_step& step, const std::vector<shard_position>& positions) {
  std::vector<candidate> all;
  auto found = at.find(mongo_collection::messages, filter_of(step), options_of(step), [&](const bson_in& x) -> result<void> {
    all.push_back({x.text("_id"), trusted_address(x.text("address")), {x.count("seq")}, x.number("appended")});
    return {};
  });
  if (!found) return found.error();
  const auto acked = cursors_of(at, all);
  if (!acked) return acked.error();
  reaped out;
  std::map<std::uint32_t, sequence> gone_to;
  std::vector<mongo_operation> removals;
  for (const auto& x : all) {
    const auto shard = static_cast<std::uint32_t>(shard_of(x.to, static_cast<std::uint32_t>(positions.size())));
    if (x.seq.offset() >= positions[shard].next_offset || !acked->at(x.to).is_acked(x.seq)) {
      ++out.kept;
      continue;
    }
    gone_to[shard] = std::max(gone_to[shard], x.seq);
    removals.push_back({mongo_operation::kind::remove, bson_with("_id", x.id), {}});
  }
  // Said before it is done: that messages may be gone is true of none, too.
  std::vector<mongo_operation> marks;
  marks.reserve(gone_to.size());
  for (const auto& [shard, seq] : gone_to)
    marks.push_back({mongo_operation::kind::update, bson_with("_id", static_cast<std::int64_t>(shard)),
                     bson_with("$max", bson_with("gone_to", static_cast<std::int64_t>(seq.value)))});
  if (auto marked = at.write(mongo_collection::shards, marks); !marked) return marked.error();
  const auto done = at.write(mongo_collection::messages, removals);
  if (!done) return done.error();
  out.removed = static_cast<std::size_t>(done->removed);
  if (all.size() == step.limit) out.next = std::to_string(all.back().appended) + ' ' + all.back().id;
  return out;
}

}  // namespace doorstep
