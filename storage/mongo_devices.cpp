// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_devices.hpp"

#include "runtime/log.hpp"
#include "storage/mongo_format.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep {

namespace {

/// Names from the user's first device on up to the last one: what is next to the separator belongs to no address.
bson_out names_of_devices(const address& user) {
  const auto first = device_box(user, "");
  std::string end(first.text());
  ++end.back();
  bson_out range;
  range.text("$gte", first.text()).text("$lt", end);
  return bson_with("_id", range);
}

bson_out in_order_of_names(std::size_t limit = 0) {
  bson_out out;
  out.part("sort", bson_with("_id", std::int64_t{1}));
  if (limit != 0) out.number("limit", static_cast<std::int64_t>(limit));
  return out;
}

mongo_operation removal_of(const cursor_record& x) {
  auto filter = bson_with("_id", x.user.text());
  filter.number("version", x.version);
  return {mongo_operation::kind::remove, std::move(filter), {}};
}

/// Documents of devices behind `from`, whoever's. Only they say `seen`.
result<std::vector<cursor_record>> next_devices(mongo_connection& at, const std::string& from, std::size_t limit) {
  std::vector<cursor_record> out;
  bson_out behind, there;
  auto filter = bson_with("_id", behind.text("$gt", from));
  filter.part("seen", there.flag("$exists", true));
  auto found = at.find(mongo_collection::cursors, filter, in_order_of_names(limit), [&](const bson_in& x) -> result<void> {
    auto record = cursor_from(x);
    if (!record) return record.error();
    out.push_back(std::move(*record));
    return {};
  });
  if (!found) return found.error();
  return out;
}

result<void> write_one(mongo_connection& at, mongo_collection to, mongo_operation what) {
  std::vector<mongo_operation> all;
  all.push_back(std::move(what));
  const auto done = at.write(to, all);
  if (!done) return done.error();
  return {};
}

/// Each user's record is written before any of its devices goes.
result<std::size_t> write_records_of_users(mongo_connection& at) {
  constexpr std::size_t some = 500;
  std::size_t users = 0;
  address last;
  for (std::string from;;) {
    const auto page = next_devices(at, from, some);
    if (!page) return page.error();
    if (page->empty()) return users;
    for (const auto& x : *page) {
      from = x.user.text();
      const auto user = user_of(x.user);
      if (user == last) continue;
      last = user;
      const auto devices = mongo_devices_of(at, user);
      if (!devices) return devices.error();
      const auto base = mongo_cursor_of(at, user);
      if (!base) return base.error();
      if (devices->empty()) continue;
      if (auto done = write_one(at, mongo_collection::cursors, mongo_write_of(base_of_all(*base, *devices))); !done) return done.error();
      ++users;
    }
  }
}

result<void> write_scope(mongo_connection& at, const std::string& scope) {
  return at.update_one(mongo_collection::state, bson_with("_id", "store"), bson_with("$set", bson_with("ack_scope", scope)), false);
}

}  // namespace

result<cursor_record> mongo_cursor_of(mongo_connection& at, const address& box) {
  cursor_record out;
  out.user = box;
  auto found = at.find(mongo_collection::cursors, bson_with("_id", box.text()), {}, [&](const bson_in& x) -> result<void> {
    auto record = cursor_from(x);
    if (!record) return record.error();
    out = std::move(*record);
    return {};
  });
  if (!found) return found.error();
  return out;
}

result<std::vector<cursor_record>> mongo_devices_of(mongo_connection& at, const address& user) {
  std::vector<cursor_record> out;
  auto found = at.find(mongo_collection::cursors, names_of_devices(user), in_order_of_names(), [&](const bson_in& x) -> result<void> {
    auto record = cursor_from(x);
    if (!record) return record.error();
    if (is_registered(*record)) out.push_back(std::move(*record));
    return {};
  });
  if (!found) return found.error();
  return out;
}

result<std::vector<cursor_record>> mongo_judges_of(mongo_connection& at, const address& user, bool by_device) {
  std::vector<cursor_record> out;
  if (by_device) {
    auto devices = mongo_devices_of(at, user);
    if (!devices || !devices->empty()) return devices;
  }
  auto own = mongo_cursor_of(at, user);
  if (!own) return own.error();
  out.push_back(std::move(*own));
  return out;
}

mongo_operation mongo_write_of(const cursor_record& x) {
  auto filter = bson_with("_id", x.user.text());
  filter.part("version", bson_with("$lt", static_cast<std::int64_t>(x.version)));
  return {mongo_operation::kind::upsert, std::move(filter), bson_with("$set", document_of(x))};
}

/// The user's record first: one that says what the device had not acked, or how far it was pushed, does no harm beside the device.
result<reaped> forget_devices(mongo_connection& at, const reap_step& step) {
  reaped out;
  const auto page = next_devices(at, step.from, step.limit);
  if (!page) return page.error();
  for (const auto& x : *page) {
    if (!is_registered(x)) {  // what a write left that was in doubt
      if (auto gone = write_one(at, mongo_collection::cursors, removal_of(x)); !gone) return gone.error();
      continue;
    }
    if (x.seen >= step.before) continue;
    const auto user = user_of(x.user);
    const auto devices = mongo_devices_of(at, user);
    if (!devices) return devices.error();
    const auto base = mongo_cursor_of(at, user);
    if (!base) return base.error();
    const bool is_last = std::all_of(devices->begin(), devices->end(), [&](const auto& other) { return other.user == x.user; });
    if (auto left = write_one(at, mongo_collection::cursors, mongo_write_of(base_without(*base, x, is_last))); !left) return left.error();
    // One that has written meanwhile is there.
    if (auto gone = write_one(at, mongo_collection::cursors, removal_of(x)); !gone) return gone.error();
    ++out.removed;
  }
  if (page->size() == step.limit) out.next = std::string(page->back().user.text());
  return out;
}

/// The middle one of three steps decides: the users' records; that it is so; the devices go. Before it all is done again, after it nothing looks at the devices.
result<void> settle_scope(mongo_connection& at, bool by_device) {
  const std::string clearing = "clearing", wanted = by_device ? "device" : "user";
  std::string before = "user";
  auto found = at.find(mongo_collection::state, bson_with("_id", "store"), {}, [&](const bson_in& x) -> result<void> {
    if (x.has("ack_scope")) before = x.text("ack_scope");
    return {};
  });
  if (!found || before == wanted) return found;
  std::size_t users = 0;
  if (before == "device") {
    const auto written = write_records_of_users(at);
    if (!written) return written.error();
    users = *written;
    if (auto said = write_scope(at, clearing); !said) return said;
  }
  if (before != "user") {
    bson_out there;
    if (auto gone = at.remove_all(mongo_collection::cursors, bson_with("seen", there.flag("$exists", true))); !gone) return gone;
  }
  if (auto said = write_scope(at, wanted); !said) return said;
  log_line(log_level::info, "store", "ack-scope-changed").with("from", before).with("to", wanted).with("users_with_devices", users);
  return {};
}

}  // namespace doorstep
