// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_format.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/devices.hpp"
#include "runtime/digest.hpp"
#include "runtime/event.hpp"
#include "storage/origin_text.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace doorstep {

namespace {

std::string json_of(const std::shared_ptr<const event>& x) { return x ? to_json(*x) : std::string(); }

failure unreadable(const bson_in& x, const std::string& why) {
  return {ec::corrupt, "the document " + x.text("_id") + " cannot be read: " + why, {}};
}

}  // namespace

std::string mongo_message_id(const address& to, sequence seq) {
  constexpr std::size_t digits = 16;  // of 2^53
  const auto number = std::to_string(seq.value);
  std::string out(to.text());
  out += '#';
  out.append(digits - std::min(digits, number.size()), '0');
  return out += number;
}

std::string mongo_origin_field(const origin_partition& x) {
  const auto digest = sha256(origin_name(x));
  return base64url({reinterpret_cast<const char*>(digest.data()), 16});
}

bson_out document_of(const message& x) {
  bson_out out;
  out.number("v", mongo_format_version).text("address", x.to.text()).number("seq", x.seq.value).text("id", x.id);
  out.number("appended", x.appended.value).number("requeue", x.requeue).text("event", json_of(x.what));
  out.number("bytes", content_bytes(x));
  if (x.terms) out.text("terms", to_json(*x.terms));
  if (x.what && x.what->expires.value != 0) out.number("expires", x.what->expires.value);
  if (x.from) out.text("origin", origin_name(*x.from)).number("origin_offset", x.from_offset);
  return out;
}

bson_out document_of(const cursor_record& x) {
  std::vector<std::uint64_t> ranges;
  for (const auto& range : x.acked.above()) ranges.insert(ranges.end(), {range.after.value, range.upto.value});
  bson_out out;
  // One written before they were ranges keeps its `above`, which says nothing that the ranges do not.
  out.number("v", mongo_cursor_version).number("version", x.version).number("floor", x.acked.floor().value).numbers("ranges", ranges);
  out.number("horizon", x.horizon.upto.value).flag("horizon_open", x.horizon.open).number("read_upto", x.read_upto.value);
  if (device_of(x.user)) out.number("seen", x.seen.value).number("since", x.since.value);
  return out;
}

bson_out document_of(const inbox_record& x) {
  bson_out out;
  out.number("v", mongo_format_version).number("version", x.version);
  std::vector<std::uint64_t> numbers;
  for (std::size_t i = 0; i < inbox_marks_max; ++i) {
    numbers.clear();
    for (const auto& range : x.marks[i].ranges())
      numbers.insert(numbers.end(), {range.after.value, range.upto.value, static_cast<std::uint64_t>(range.at.value)});
    out.numbers(std::string(name(static_cast<inbox_mark>(i))).c_str(), numbers);
  }
  return out;
}

bson_out change_to(const dead_letter& x, std::int64_t kept) {
  bson_out set, origin;
  set.number("v", mongo_format_version).number("kept", kept).text("address", x.to.text()).number("seq", x.seq.value);
  set.text("reason", name(x.reason)).text("detail", x.detail).text("event", json_of(x.what)).text("terms", to_json(x.terms));
  set.number("last", x.last.value).number("attempts", x.attempts).number("requeue", x.requeue).flag("requeued", x.requeued).flag("mirrored", false);
  // A message that was requeued has no origin of its own: its earlier death says where it came from, and since when.
  auto& place = x.offset >= 0 ? set : origin;
  place.text("source", x.source).text("topic", x.topic).number("partition", x.partition).number("offset", x.offset);
  auto out = bson_with("$set", set);
  if (x.offset < 0) out.part("$setOnInsert", origin);
  out.part("$min", bson_with("first", x.first.value));
  return out;
}

result<void> check_format(const bson_in& x, std::int64_t newest) {
  const auto version = x.number("v");
  if (version >= mongo_format_version && version <= newest) return {};
  if (version > newest)
    return failure{
        ec::unsupported, "the document " + x.text("_id") + " was written by a newer Doorstep (format " + std::to_string(version) + ")", {}};
  return unreadable(x, "it says no format");
}

result<message_ptr> message_from(const bson_in& x) {
  if (auto known = check_format(x); !known) return known.error();
  auto what = event_from_json(x.text("event"));
  if (!what) return unreadable(x, what.error().detail);
  auto terms = delivery_terms_from_json(x.text("terms"));
  if (!terms) return unreadable(x, terms.error().detail);
  message out{trusted_address(x.text("address")),
              {x.count("seq")},
              x.text("id"),
              std::make_shared<const event>(std::move(*what)),
              {x.number("appended")},
              static_cast<std::uint32_t>(x.number("requeue"))};
  out.terms = std::move(*terms);
  if (x.has("origin")) {
    if (auto from = origin_from_name(x.text("origin"))) {
      out.from = std::make_shared<const origin_partition>(std::move(*from));
      out.from_offset = x.number("origin_offset");
    }
  }
  return std::make_shared<const message>(std::move(out));
}

result<cursor_record> cursor_from(const bson_in& x) {
  if (auto known = check_format(x, mongo_cursor_version); !known) return known.error();
  std::vector<sequence_range> above;
  if (x.has("ranges")) {
    const auto numbers = x.numbers("ranges");
    if (numbers.size() % 2 != 0) return unreadable(x, "its ranges are cut off");
    for (std::size_t at = 0; at < numbers.size(); at += 2) above.push_back({{numbers[at]}, {numbers[at + 1]}});
  } else {
    for (const auto seq : x.numbers("above")) above.push_back({{seq - 1}, {seq}});
  }
  cursor_record out;
  out.user = trusted_address(x.text("_id"));
  out.acked = cursor::with_ranges({x.count("floor")}, above);
  out.horizon = {{x.count("horizon")}, x.flag("horizon_open")};
  out.read_upto = {x.count("read_upto")};
  out.version = x.count("version");
  out.seen = {x.number("seen")};
  out.since = {x.count("since")};
  return out;
}

result<inbox_record> inbox_from(const bson_in& x) {
  if (auto known = check_format(x); !known) return known.error();
  inbox_record out;
  out.user = trusted_address(x.text("_id"));
  out.version = x.count("version");
  for (std::size_t i = 0; i < inbox_marks_max; ++i) {
    const auto numbers = x.numbers(std::string(name(static_cast<inbox_mark>(i))).c_str());
    if (numbers.size() % 3 != 0) return unreadable(x, "its marks are cut off");
    std::vector<mark_ranges::range> ranges;
    for (std::size_t at = 0; at < numbers.size(); at += 3)
      ranges.push_back({{numbers[at]}, {numbers[at + 1]}, {static_cast<std::int64_t>(numbers[at + 2])}});
    out.marks[i] = mark_ranges(std::move(ranges));
  }
  return out;
}

result<dead_letter> dead_letter_from(const bson_in& x) {
  if (auto known = check_format(x); !known) return known.error();
  dead_letter out;
  out.id = x.text("_id");
  if (auto to = x.text("address"); !to.empty()) out.to = trusted_address(std::move(to));
  out.seq = {x.count("seq")};
  const auto reason = dead_reason_from(x.text("reason"));
  out.reason = reason ? *reason : dead_reason::malformed;
  out.detail = x.text("detail");
  out.source = x.text("source");
  out.topic = x.text("topic");
  out.partition = static_cast<std::int32_t>(x.number("partition"));
  out.offset = x.number("offset");
  if (auto text = x.text("event"); !text.empty()) {
    auto what = event_from_json(text);
    // It was kept as far as it was understood, so what cannot be read as an event is handed on as its data.
    if (!what) {
      event kept;
      kept.data = std::move(text);
      what = std::move(kept);
    }
    out.what = std::make_shared<const event>(std::move(*what));
  }
  out.first = {x.number("first")};
  out.last = {x.number("last")};
  out.attempts = static_cast<std::uint32_t>(x.number("attempts"));
  out.requeue = static_cast<std::uint32_t>(x.number("requeue"));
  out.requeued = x.flag("requeued");
  auto terms = delivery_terms_from_json(x.text("terms"));
  if (!terms) return unreadable(x, terms.error().detail);
  out.terms = std::move(*terms);
  return out;
}

}  // namespace doorstep
