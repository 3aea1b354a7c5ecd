// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_reaper.hpp"

#include "runtime/number_text.hpp"
#include "storage/mongo_devices.hpp"
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
  std::int64_t time;  ///< by which it was found
  unix_ms expires;    ///< that it names; 0 = none, or it is settled
};

/// What is before step.before by the time in `field`. Where a step goes on: "time _id" of the last one looked at.
bson_out filter_of(const reap_step& step, const char* field) {
  auto younger = bson_with("$lt", step.before.value);
  const auto blank = step.from.find(' ');
  if (blank == std::string::npos) return bson_with(field, younger);
  const auto time = number_in<std::int64_t>(std::string_view(step.from).substr(0, blank)).value_or(0);
  younger.number("$gt", time);
  std::vector<bson_out> either;
  either.push_back(bson_with(field, younger));
  either.push_back(bson_with(field, time));
  either.back().part("_id", bson_with("$gt", std::string_view(step.from).substr(blank + 1)));
  bson_out out;
  out.parts("$or", either);
  return out;
}

bson_out options_of(const reap_step& step, const char* field, const std::vector<const char*>& also) {
  bson_out order, fields, out;
  order.number(field, 1).number("_id", 1);
  fields.number(field, 1);
  for (const auto* x : also)
    if (std::string_view(x) != field) fields.number(x, 1);  // a server may refuse a field that stands there twice
  out.part("sort", order).part("projection", fields).number("limit", static_cast<std::int64_t>(step.limit));
  return out;
}

std::string place_of(std::int64_t time, const std::string& id) { return std::to_string(time) + ' ' + id; }

/// Messages by the time in `field`.
result<std::vector<candidate>> candidates(mongo_connection& at, const reap_step& step, const char* field) {
  std::vector<candidate> all;
  auto found = at.find(mongo_collection::messages, filter_of(step, field), options_of(step, field, {"address", "seq", "expires"}),
                       [&](const bson_in& x) -> result<void> {
                         all.push_back({x.text("_id"), trusted_address(x.text("address")), {x.count("seq")}, x.number(field), {x.number("expires")}});
                         return {};
                       });
  if (!found) return found.error();
  return all;
}

/// By whom the messages of each user have to be acked that has one among these.
class judges_of_users {
public:
  static result<judges_of_users> read(mongo_connection& at, const std::vector<candidate>& all, bool by_device) {
    judges_of_users out;
    for (const auto& x : all) {
      const auto entry = out.known_.try_emplace(x.to);
      if (!entry.second || x.to.is_channel()) continue;  // who reads a channel judges for itself
      auto judges = mongo_judges_of(at, x.to, by_device);
      if (!judges) return judges.error();
      entry.first->second = std::move(*judges);
    }
    return out;
  }
  /// The mailboxes that are owed it.
  std::vector<address> owe(const candidate& x) const {
    std::vector<address> out;
    for (const auto& judge : known_.at(x.to))
      if (!judge.acked.is_acked(x.seq)) out.push_back(judge.user);
    return out;
  }

private:
  std::unordered_map<address, std::vector<cursor_record>> known_;
};

result<reaped> reap_messages(mongo_connection& at, const reap_step& step, const std::vector<shard_position>& positions, bool by_device) {
  const auto found = candidates(at, step, "appended");
  if (!found) return found.error();
  const auto& all = *found;
  const auto judges = judges_of_users::read(at, all, by_device);
  if (!judges) return judges.error();
  reaped out;
  std::map<std::uint32_t, sequence> gone_to;
  std::map<address, sequence> gone_of_channels;
  std::vector<mongo_operation> removals;
  for (const auto& x : all) {
    const auto shard = static_cast<std::uint32_t>(shard_of(x.to, static_cast<std::uint32_t>(positions.size())));
    if (x.seq.offset() >= positions[shard].next_offset || !judges->owe(x).empty()) {
      ++out.kept;
      continue;
    }
    if (x.to.is_channel()) gone_of_channels[x.to] = std::max(gone_of_channels[x.to], x.seq);
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
  std::vector<mongo_operation> channel_marks;
  for (const auto& [of, seq] : gone_of_channels) {
    const cursor_record mark{gone_key(of), cursor(seq, {}), {}, {}, seq.value};
    auto filter = bson_with("_id", mark.user.text());
    filter.part("version", bson_with("$lt", static_cast<std::int64_t>(mark.version)));
    channel_marks.push_back({mongo_operation::kind::upsert, std::move(filter), bson_with("$set", document_of(mark))});
  }
  if (auto marked = at.write(mongo_collection::cursors, channel_marks); !marked) return marked.error();
  const auto done = at.write(mongo_collection::messages, removals);
  if (!done) return done.error();
  out.removed = static_cast<std::size_t>(done->removed);
  if (all.size() == step.limit) out.next = place_of(all.back().time, all.back().id);
  return out;
}

result<reaped> reap_dead_letters(mongo_connection& at, const reap_step& step) {
  reaped out;
  std::size_t looked_at = 0;
  std::string last;
  std::vector<mongo_operation> removals;
  auto found =
      at.find(mongo_collection::dead_letters, filter_of(step, "last"), options_of(step, "last", {"mirrored"}), [&](const bson_in& x) -> result<void> {
        ++looked_at;
        last = place_of(x.number("last"), x.text("_id"));
        if (step.mirrored_only && !x.flag("mirrored")) {
          ++out.kept;
          return {};
        }
        // One that has died again meanwhile is another one.
        auto filter = bson_with("_id", x.text("_id"));
        filter.number("last", x.number("last"));
        removals.push_back({mongo_operation::kind::remove, std::move(filter), {}});
        return {};
      });
  if (!found) return found.error();
  const auto done = at.write(mongo_collection::dead_letters, removals);
  if (!done) return done.error();
  out.removed = static_cast<std::size_t>(done->removed);
  if (looked_at == step.limit) out.next = last;
  return out;
}

/// By the time that is named: what is settled need not be found again. By age: in the order of appends, what names a later time is left out.
result<reaped> find_expired(mongo_connection& at, const reap_step& step, bool by_device) {
  const bool named = step.what == reap_kind::expired_named;
  const auto found = candidates(at, step, named ? "expires" : "appended");
  if (!found) return found.error();
  const auto& all = *found;
  const auto judges = judges_of_users::read(at, all, by_device);
  if (!judges) return judges.error();
  reaped out;
  out.again = step.from;
  std::string last = step.from;
  std::unordered_map<address, std::size_t> places;
  std::vector<mongo_operation> settled;
  for (const auto& x : all) {
    const auto before_this = std::exchange(last, place_of(x.time, x.id));
    const auto owe = judges->owe(x);
    if (owe.empty()) {
      if (named)
        settled.push_back({mongo_operation::kind::update, bson_with("_id", x.id), bson_with("$unset", bson_with("expires", std::int64_t{1}))});
      continue;
    }
    if (!named && x.expires > step.now) continue;
    if (out.kept++ == 0) out.again = before_this;
    for (const auto& box : owe) {
      const auto [place, is_new] = places.try_emplace(box, out.expired.size());
      if (is_new) out.expired.push_back({box, x.seq, x.seq});
      auto& range = out.expired[place->second];
      range.first = std::min(range.first, x.seq);
      range.last = std::max(range.last, x.seq);
    }
  }
  if (const auto done = at.write(mongo_collection::messages, settled); !done) return done.error();
  if (out.kept == 0) out.again = last;
  if (all.size() == step.limit) out.next = last;
  return out;
}

}  // namespace

result<reaped> reap_stored(mongo_connection& at, const reap_step& step, const std::vector<shard_position>& positions, bool by_device) {
  switch (step.what) {
    case reap_kind::messages: return reap_messages(at, step, positions, by_device);
    case reap_kind::dead_letters: return reap_dead_letters(at, step);
    case reap_kind::devices: return forget_devices(at, step);
    case reap_kind::expired_named:
    case reap_kind::expired_by_age: return find_expired(at, step, by_device);
  }
  return reaped{};
}

}  // namespace doorstep
