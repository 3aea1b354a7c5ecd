// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_reader.hpp"

#include "storage/mongo_format.hpp"

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
  return out;
}

}  // namespace

/// What the late write would have said is lost to it, as to any write that failed; only its version is taken.
result<void> mongo_reader::raise_version(const address& user, std::uint64_t version) {
  // $max says the version; the rest is for a user without a document.
  bson_out blank;
  blank.number("v", mongo_format_version).number("floor", 0).numbers("above", {}).number("horizon", 0).flag("horizon_open", false);
  blank.number("read_upto", 0);
  auto change = bson_with("$max", bson_with("version", static_cast<std::int64_t>(version)));
  change.part("$setOnInsert", blank);
  auto raised = at_.update_one(mongo_collection::cursors, bson_with("_id", user.text()), change, true);
  if (raised) doubts_.settle(user, version);
  return raised;
}

result<std::uint64_t> mongo_reader::count_above(const address& user, sequence seq) { return at_.count(mongo_collection::messages, above(user, seq)); }

result<stored_mailbox> mongo_reader::load(const address& user, std::size_t limit, sequence complete_to) {
  if (const auto version = doubts_.find(user)) {
    if (auto raised = raise_version(user, *version); !raised) return raised.error();
  }
  stored_mailbox out;
  out.record.user = user;
  auto found = at_.find(mongo_collection::cursors, bson_with("_id", user.text()), {}, [&](const bson_in& x) -> result<void> {
    auto record = cursor_from(x);
    if (!record) return record.error();
    out.record = std::move(*record);
    return {};
  });
  if (!found) return found.error();
  auto page = read(user, out.record.acked.floor(), limit, complete_to);
  if (!page) return page.error();
  const bool whole = !page->more;
  out.above_floor = page->messages.size();
  out.page = std::move(*page);
  const auto floor = out.record.acked.floor();
  if (whole && out.record.read_upto == floor) {  // then the page has counted them
    out.unread = out.above_floor;
    return out;
  }
  auto unread = count_above(user, out.record.read_upto);
  if (!unread) return unread.error();
  out.unread = *unread;
  if (whole) return out;
  auto rest = count_above(user, floor);
  if (!rest) return rest.error();
  out.above_floor = *rest;
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
  auto found = at_.find(mongo_collection::dead_letters, filter, sorted_by("kept", "_id", query.limit), [&](const bson_in& x) -> result<void> {
    auto read = dead_letter_from(x);
    if (!read) return read.error();
    out.push_back(std::move(*read));
    return {};
  });
  if (!found) return found.error();
  return out;
}

}  // namespace doorstep
