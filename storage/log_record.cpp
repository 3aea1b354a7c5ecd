// SPDX-License-Identifier: Apache-2.0
#include "storage/log_record.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/number_text.hpp"
#include "storage/origin_text.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

constexpr std::string_view content_type = "application/cloudevents+json";
constexpr std::size_t record_overhead = 64;  // of a record in a batch, and what its share of the batch is
constexpr std::size_t header_overhead = 8;

failure malformed(std::string_view field, std::string detail) { return {ec::malformed, std::move(detail), std::string(field)}; }

std::string origin_text(const origin& x) { return origin_name(*x.from) + " " + std::to_string(x.offset); }

std::optional<origin> origin_from(std::string_view text) {
  const auto end = text.rfind(' ');
  if (end == std::string_view::npos) return std::nullopt;
  auto from = origin_from_name(text.substr(0, end));
  const auto offset = number_in<std::int64_t>(text.substr(end + 1));
  if (!from || !offset) return std::nullopt;
  return origin{std::make_shared<const origin_partition>(std::move(*from)), *offset, 0};
}

result<address> address_from(std::string_view text) {
  if (text == address::dead_letters().text()) return address::dead_letters();
  return address::parse(text);
}

/// What our headers say, in any order; the first of a name counts.
struct known_headers {
  std::optional<std::string_view> version, to, id, appended, from, floor, requeue, reason, detail, terms;
  std::optional<std::string_view>* named(std::string_view name) {
    if (name == "ds-v") return &version;
    if (name == "ds-address") return &to;
    if (name == "ds-id") return &id;
    if (name == "ds-appended") return &appended;
    if (name == "ds-origin") return &from;
    if (name == "ds-floor") return &floor;
    if (name == "ds-requeue") return &requeue;
    if (name == "ds-reason") return &reason;
    if (name == "ds-detail") return &detail;
    if (name == "ds-terms") return &terms;
    return nullptr;
  }
};

std::optional<failure> read_headers(const known_headers& in, log_entry& out) {
  auto to = address_from(in.to.value_or(""));
  if (!to) return malformed("ds-address", to.error().detail);
  out.to = std::move(*to);
  if (!in.id || in.id->empty()) return malformed("ds-id", "a record without an id");
  out.id = std::string(*in.id);
  const auto appended = number_in<std::int64_t>(in.appended.value_or(""));
  if (!appended) return malformed("ds-appended", "is not a time");
  out.appended = {*appended};
  if (in.requeue) {
    const auto requeue = number_in<std::uint32_t>(*in.requeue);
    if (!requeue) return malformed("ds-requeue", "is not a number");
    out.requeue = *requeue;
  }
  if (in.from) {
    auto from = origin_from(*in.from);
    const auto floor = number_in<std::int64_t>(in.floor.value_or(""));
    if (!from) return malformed("ds-origin", "is not an origin");
    if (!floor) return malformed("ds-floor", "is not a number");
    out.came_from = std::move(*from);
    out.came_from.floor = *floor;
  }
  auto terms = delivery_terms_from_json(in.terms.value_or(""));
  if (!terms) return malformed("ds-terms", terms.error().detail);
  out.terms = std::move(*terms);
  if (out.to.is_dead_letters()) {
    const auto reason = dead_reason_from(in.reason.value_or(""));
    if (!reason) return malformed("ds-reason", "is no reason");
    out.reason = *reason;
    out.detail = std::string(in.detail.value_or(""));
  }
  return std::nullopt;
}

}  // namespace

std::size_t encoded_record::bytes() const {
  auto out = record_overhead + key.size() + value.size();
  for (const auto& x : headers) out += header_overhead + x.name.size() + x.value.size();
  return out;
}

encoded_record encode_log_record(const log_record& x) {
  const auto& entry = x.entry;
  encoded_record out;
  out.key = std::string(entry.to.text());
  out.value = to_json(*entry.what);
  out.headers = {{"ds-v", std::to_string(log_record_version)},
                 {"ds-address", out.key},
                 {"ds-id", entry.id},
                 {"ds-appended", std::to_string(entry.appended.value)},
                 {"content-type", std::string(content_type)}};
  if (entry.came_from.from) {
    out.headers.push_back({"ds-origin", origin_text(entry.came_from)});
    out.headers.push_back({"ds-floor", std::to_string(entry.came_from.floor)});
  }
  if (entry.requeue > 0) out.headers.push_back({"ds-requeue", std::to_string(entry.requeue)});
  if (entry.terms) out.headers.push_back({"ds-terms", to_json(*entry.terms)});
  if (entry.to.is_dead_letters()) {
    out.headers.push_back({"ds-reason", std::string(name(entry.reason))});
    out.headers.push_back({"ds-detail", entry.detail});
  }
  out.headers.insert(out.headers.end(), x.others.begin(), x.others.end());
  return out;
}

result<log_record> decode_log_record(const source_record& x) {
  log_record out;
  known_headers said;
  for (const auto& header : x.headers) {
    auto* const known = said.named(header.name);
    if (known != nullptr && !*known)
      *known = header.value;
    else if (known == nullptr && header.name != "content-type")
      out.others.push_back({std::string(header.name), std::string(header.value)});
  }
  const auto version = number_in<int>(said.version.value_or(""));
  if (!version || *version < 1) return malformed("ds-v", "no record of the mailbox log: it says no version");
  if (*version > log_record_version)
    return failure{ec::unsupported,
                   "written by a newer Doorstep (record format " + std::to_string(*version) + ", this one knows up to " +
                       std::to_string(log_record_version) + ")",
                   "ds-v"};
  if (auto why = read_headers(said, out.entry)) return std::move(*why);
  if (!x.value) return malformed({}, "a record without a value");
  auto what = event_from_json(*x.value);
  if (!what && !out.entry.to.is_dead_letters()) return malformed("value", what.error().detail);
  if (!what) {  // kept as far as it was understood
    event kept;
    kept.data = std::string(*x.value);
    what = std::move(kept);
  }
  out.entry.what = std::make_shared<const event>(std::move(*what));
  return out;
}

}  // namespace doorstep
