// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_reader.hpp"

#include "storage/mongo_devices.hpp"
#include "storage/mongo_format.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep {

namespace {

bson_out above(const address& user, sequence seq) {
  auto out = bson_with("address", user.text());
  out.part("seq", bson_with("$gt", static_cast<std::int64_t>(seq.value)));
  return out;
}

bson_out sorted_by(const char* first, const char* second, std::size_t limit) {
  bson_out key, out;
  key.number(first, 1);
  if (second) key.number(second, 1);
  out.part("sort", key).number("limit", static_cast<std::int64_t>(limit));
  return out;
}

bson_out filter_of(const dead_letter_query& x) {
  bson_out out;
  if (!x.id.empty()) out.text("_id", x.id);
  if (!x.address.empty()) out.text("address", x.address);
  if (!x.topic.empty()) out.text("topic", x.topic);
  if (x.reason) out.text("reason", name(*x.reason));
  if (x.since || x.until) {
    bson_out range;
    if (x.since) range.number("$gte", x.since->value);
    if (x.until) range.number("$lt", x.until->value);
    out.part("last", range);
  }
  if (!x.requeued_too) out.flag("requeued", false);
  // Those of before there was a mirror say nothing of it.
  bson_out mirrored;
  if (x.unmirrored) out.part("mirrored", mirrored.flag("$ne", true));
  return out;
}

}  // namespace

result<void> mongo_reader::cursor_of(const address& key, cursor_record& record) {
  record.user = key;
  return at_.find(mongo_collection::cursors, bson_with("_id", key.text()), {}, [&](const bson_in& x) -> result<void> {
    auto read = cursor_from(x);
    if (!read) return read.error();
    record = std::move(*read);
    return {};
  });
}

/// The cursor and the inbox of a user, as they are stored.
result<void> mongo_reader::records_of(const address& user, cursor_record& record, inbox_record& inbox) {
  inbox.user = user;
  const auto of_user = bson_with("_id", user.text());
  auto found = cursor_of(user, record);
  if (!found) return found;
  found = at_.find(mongo_collection::inboxes, of_user, {}, [&](const bson_in& x) -> result<void> {
    auto read = inbox_from(x);
    if (!read) return read.error();
    inbox = std::move(*read);
    return {};
  });
  take_over_read_upto(record, inbox);
  return found;
}

/// What the late write would have said is lost to it, as to any write that failed; only its version is taken.
result<void> mongo_reader::raise_version(const address& box, std::uint64_t version) {
  // $max says the version; the rest is for a user without a document.
  bson_out blank;
  blank.number("v", mongo_format_version).number("floor", 0).numbers("above", {}).number("horizon", 0).flag("horizon_open", false);
  blank.number("read_upto", 0);
  if (device_of(box)) blank.number("seen", 0).number("since", 0);  // no device until it is written
  auto change = bson_with("$max", bson_with("version", static_cast<std::int64_t>(version)));
  change.part("$setOnInsert", blank);
  auto raised = at_.update_one(mongo_collection::cursors, bson_with("_id", box.text()), change, true);
  if (raised) doubts_.settle(box, version);
  return raised;
}

/// Which messages of a user are in the ranges, in filters with a bounded number of ranges each.
std::vector<bson_out> mongo_reader::filters_of(const address& user, const std::vector<sequence_range>& ranges, sequence upto) {
  constexpr std::size_t ranges_max = 64;
  std::vector<bson_out> out, either;
  for (std::size_t i = 0; i < ranges.size() && ranges[i].after < upto; ++i) {
    auto range = bson_with("$gt", static_cast<std::int64_t>(ranges[i].after.value));
    range.number("$lte", std::min(ranges[i].upto, upto).value);
    either.push_back(bson_with("seq", range));
    if (either.size() < ranges_max && i + 1 < ranges.size() && ranges[i + 1].after < upto) continue;
    auto filter = bson_with("address", user.text());
    filter.parts("$or", either);
    either.clear();
    out.push_back(std::move(filter));
  }
  return out;
}

result<std::uint64_t> mongo_reader::count(const address& user, const std::vector<sequence_range>& ranges, sequence upto) {
  std::uint64_t out = 0;
  for (const auto& filter : filters_of(user, ranges, upto)) {
    auto found = at_.count(mongo_collection::messages, filter);
    if (!found) return found;
    out += *found;
  }
  return out;
}

/// The server adds them up; only messages of before there was the number are read.
result<void> mongo_reader::add_bytes(const address& user, const std::vector<sequence_range>& ranges, sequence upto, std::uint64_t& into) {
  for (auto& filter : filters_of(user, ranges, upto)) {
    auto added = at_.sum(mongo_collection::messages, filter, "bytes", into);
    if (!added) return added;
    bson_out missing;
    missing.flag("$exists", false);
    filter.part("bytes", missing);
    auto found = at_.find(mongo_collection::messages, filter, {}, [&](const bson_in& x) -> result<void> {
      auto read = message_from(x);
      if (!read) return read.error();
      into += content_bytes(**read);
      return {};
    });
    if (!found) return found;
  }
  return {};
}

/// The record of a device, or the one it begins with.
result<void> mongo_reader::record_of_device(const address& box, sequence complete_to, stored_mailbox& into) {
  auto record = mongo_cursor_of(at_, box);
  if (!record) return record.error();
  into.record = std::move(*record);
  if (is_registered(into.record)) return {};
  const auto base = mongo_cursor_of(at_, user_of(box));
  if (!base) return base.error();
  into.record = start_of_device(into.record, *base, into.devices != 0, complete_to);
  return {};
}

result<std::vector<cursor_record>> mongo_reader::devices(const address& user) {
  if (!by_device_) return std::vector<cursor_record>();
  return mongo_devices_of(at_, user);
}

result<void> mongo_reader::count_owed(const address& user, stored_mailbox& of) {
  of.owed = amount_owed(of.record.acked, of.page);
  if (!of.page.more) return {};
  const auto owed_in = unacked_ranges(of.record.acked);
  auto messages = count(user, owed_in, of.page.complete_to);
  if (!messages) return messages.error();
  of.owed = {*messages, 0};
  return with_bytes_ ? add_bytes(user, owed_in, of.page.complete_to, of.owed.bytes) : result<void>();
}

result<stored_mailbox> mongo_reader::load(const address& box, std::size_t limit, sequence complete_to) {
  if (const auto version = doubts_.find(box)) {
    if (auto raised = raise_version(box, *version); !raised) return raised.error();
  }
  const auto user = user_of(box);
  const bool is_device = device_of(box).has_value();
  stored_mailbox out;
  const auto all = devices(user);
  if (!all) return all.error();
  out.devices = all->size();
  if (auto found = is_device ? record_of_device(box, complete_to, out) : records_of(user, out.record, out.inbox); !found) return found.error();
  const auto floor = out.record.acked.floor();
  auto page = read(user, floor, limit, complete_to);
  if (!page) return page.error();
  out.page = std::move(*page);
  if (is_device) {
    if (auto done = count_owed(user, out); !done) return done.error();
    return out;
  }
  const auto counted = [&](const std::vector<sequence_range>& ranges, std::uint64_t& into) -> result<void> {
    if (!out.page.more && ranges.front().after >= floor) {  // then the page has them all
      std::vector<sequence> seqs;
      for (const auto& x : out.page.messages) seqs.push_back(x->seq);
      into = count_in(ranges, seqs, complete_to);
      return {};
    }
    auto found = count(user, ranges, complete_to);
    if (!found) return found.error();
    into = *found;
    return {};
  };
  const auto unread_in = unread_ranges(out.inbox), unseen_in = unseen_ranges(out.inbox);
  if (auto done = counted(unread_in, out.unread); !done) return done.error();
  out.unseen = out.unread;
  if (unseen_in != unread_in)
    if (auto done = counted(unseen_in, out.unseen); !done) return done.error();
  if (by_device_) return out;  // what is owed is owed to devices; who asks for the user keeps the inbox
  if (auto done = count_owed(user, out); !done) return done.error();
  return out;
}

result<std::vector<cursor_record>> mongo_reader::newest(const std::vector<address>& keys) {
  std::vector<cursor_record> out(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (const auto version = doubts_.find(keys[i])) {
      if (auto raised = raise_version(keys[i], *version); !raised) return raised.error();
    }
    if (auto found = cursor_of(keys[i], out[i]); !found) return found.error();
  }
  return out;
}

result<stored_page> mongo_reader::read(const address& user, sequence after, std::size_t limit, sequence complete_to) {
  stored_page out;
  out.complete_to = complete_to;
  auto found = at_.find(mongo_collection::messages, above(user, after), sorted_by("seq", nullptr, limit + 1), [&](const bson_in& x) -> result<void> {
    if (out.messages.size() == limit) {
      out.more = true;
      return {};
    }
    auto read = message_from(x);
    if (!read) return read.error();
    out.messages.push_back(std::move(*read));
    return {};
  });
  if (!found) return found.error();
  if (!user.is_channel()) return out;
  // After the page: what is missing there because it had just gone was noted before it went.
  cursor_record gone;
  if (auto noted = cursor_of(gone_key(user), gone); !noted) return noted.error();
  out.gone_to = gone.acked.floor();
  return out;
}

result<stored_places> mongo_reader::locate(const address& user, const std::vector<sequence>& seqs, sequence complete_to) {
  stored_places out;
  out.complete_to = complete_to;
  bson_out order, options;
  order.number("seq", -1);
  options.part("sort", order).number("limit", 2);
  for (const auto seq : seqs) {
    auto filter = bson_with("address", user.text());
    filter.part("seq", bson_with("$lte", static_cast<std::int64_t>(seq.value)));
    std::vector<sequence> downward;
    auto found = at_.find(mongo_collection::messages, filter, options, [&](const bson_in& x) -> result<void> {
      downward.push_back({x.count("seq")});
      return {};
    });
    if (!found) return found.error();
    if (!downward.empty() && downward[0] == seq) out.found.push_back({seq, downward.size() > 1 ? downward[1] : sequence{}});
  }
  return out;
}

result<stored_history> mongo_reader::history(const address& box, const history_query& query, shard_id shard) {
  stored_history out;
  cursor_record record;
  const auto user = user_of(box);
  if (auto found = records_of(query.reader.empty() ? user : query.reader, record, out.inbox); !found) return found.error();
  if (device_of(box)) {
    auto own = mongo_cursor_of(at_, box);
    if (!own) return own.error();
    record = std::move(*own);
  }
  out.acked = std::move(record.acked);
  out.since = record.since;
  cursor_record gone;
  auto found = user.is_channel() ? cursor_of(gone_key(user), gone)
                                 : at_.find(mongo_collection::shards, bson_with("_id", static_cast<std::int64_t>(shard)), {},
                                            [&](const bson_in& x) -> result<void> {
                                              out.gone_to = {x.count("gone_to")};
                                              return {};
                                            });
  if (!found) return found.error();
  if (user.is_channel()) out.gone_to = gone.acked.floor();
  auto filter = bson_with("address", user.text());
  auto range = bson_with("$gt", static_cast<std::int64_t>(query.after.value));
  if (query.before) range.number("$lt", query.before.value);
  filter.part("seq", range);
  if (query.since.value != 0 || query.until.value != 0) {
    bson_out time;
    if (query.since.value != 0) time.number("$gte", query.since.value);
    if (query.until.value != 0) time.number("$lt", query.until.value);
    filter.part("appended", time);
  }
  bson_out order, options;
  order.number("seq", query.newest ? -1 : 1);
  options.part("sort", order).number("limit", static_cast<std::int64_t>(query.limit + 1));
  found = at_.find(mongo_collection::messages, filter, options, [&](const bson_in& x) -> result<void> {
    out.more = out.messages.size() == query.limit;
    if (out.more) return {};
    auto read = message_from(x);
    if (!read) return read.error();
    out.messages.push_back(std::move(*read));
    return {};
  });
  if (!found) return found.error();
  if (query.newest) std::reverse(out.messages.begin(), out.messages.end());
  return out;
}

result<std::vector<dead_letter>> mongo_reader::dead_letters(const dead_letter_query& query) {
  auto filter = filter_of(query);
  if (!query.after.empty() && query.id.empty()) {
    std::int64_t kept = 0;
    auto last = at_.find(mongo_collection::dead_letters, bson_with("_id", query.after), {}, [&](const bson_in& x) -> result<void> {
      kept = x.number("kept");
      return {};
    });
    if (!last) return last.error();
    std::vector<bson_out> either;
    either.push_back(bson_with("kept", bson_with("$gt", kept)));
    either.push_back(bson_with("kept", kept));
    either.back().part("_id", bson_with("$gt", query.after));
    filter.parts("$or", either);
  }
  std::vector<dead_letter> out;
  std::size_t bytes = 0;
  auto found = at_.find(mongo_collection::dead_letters, filter, sorted_by("kept", "_id", query.limit), [&](const bson_in& x) -> result<void> {
    if (bytes >= query.bytes_max) return {};
    auto read = dead_letter_from(x);
    if (!read) return read.error();
    bytes += memory_of(*read);
    out.push_back(std::move(*read));
    return {};
  });
  if (!found) return found.error();
  return out;
}

}  // namespace doorstep
