// SPDX-License-Identifier: Apache-2.0
// The bytes inside the tables. memcpy of native integers: every platform this is built for is little-endian, and a static_assert says so.
#include "storage/sqlite_format.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/devices.hpp"

#include <bit>
#include <cstring>
#include <utility>

namespace doorstep {

static_assert(std::endian::native == std::endian::little, "the stored formats are little-endian");

namespace {

constexpr std::size_t place_bytes = 8;
constexpr std::size_t key_bytes = 12;
constexpr std::size_t range_bytes = 24;
/// Set in a cursor's count of holes where they are ranges; until format 5 they were single seqs.
constexpr std::uint32_t are_ranges = 0x80000000;

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <class T>
T at(std::string_view bytes, std::size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <class T>
bool take(std::string_view& bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  value = at<T>(bytes, 0);
  bytes.remove_prefix(sizeof value);
  return true;
}

void put_above(std::string& out, const cursor& x) {
  put(out, static_cast<std::uint32_t>(x.above().size()) | are_ranges);
  for (const auto& range : x.above()) {
    put(out, range.after.value);
    put(out, range.upto.value);
  }
}

bool take_above(std::string_view& bytes, sequence floor, cursor& into) {
  std::uint32_t count = 0;
  if (!take(bytes, count)) return false;
  const bool ranges = (count & are_ranges) != 0;
  count &= ~are_ranges;
  if (bytes.size() < std::size_t{count} * (ranges ? 2 : 1) * sizeof(std::uint64_t)) return false;
  std::vector<sequence_range> above(count);
  for (auto& x : above) {
    if (ranges) take(bytes, x.after.value);
    take(bytes, x.upto.value);
    if (!ranges) x.after.value = x.upto.value - 1;
  }
  into = cursor::with_ranges(floor, above);
  return true;
}

/// FNV-1a with the finaliser of MurmurHash3, so that the high bits are mixed too.
std::uint64_t hash(std::string_view bytes, std::uint64_t seed) {
  auto h = 0xcbf29ce484222325ULL ^ seed;
  for (const char c : bytes) h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  h ^= h >> 33;
  return h == 0 ? 1 : h;  // 0 stands for "none" in the tables in memory
}

}  // namespace

std::uint64_t address_key(std::string_view address) { return hash(address, 0); }

std::uint64_t dedup_key(std::string_view id, std::uint32_t requeue) { return hash(id, 0x9e3779b97f4a7c15ULL * (std::uint64_t{requeue} + 1)); }

void encode_places(std::span<const message_place> places, std::string& out) {
  for (const auto& x : places) {
    put(out, static_cast<std::uint32_t>(x.seq - places.front().seq));
    put(out, static_cast<std::uint32_t>(x.row - places.front().row));
  }
}

void decode_places(std::string_view bytes, message_place first, std::vector<message_place>& out) {
  for (std::size_t i = 0; i + place_bytes <= bytes.size(); i += place_bytes)
    out.push_back({first.seq + at<std::uint32_t>(bytes, i), first.row + at<std::uint32_t>(bytes, i + 4)});
}

void encode_keys(std::span<const key_place> keys, std::uint64_t first_row, std::string& out) {
  for (const auto& x : keys) {
    put(out, x.key);
    put(out, static_cast<std::uint32_t>(x.row - first_row));
  }
}

void find_key(std::string_view bytes, std::uint64_t key, std::uint64_t first_row, std::vector<std::uint64_t>& rows) {
  for (std::size_t i = 0; i + key_bytes <= bytes.size(); i += key_bytes) {
    if (at<std::uint64_t>(bytes, i) == key) rows.push_back(first_row + at<std::uint32_t>(bytes, i + 8));
  }
}

void decode_keys(std::string_view bytes, std::vector<std::uint64_t>& keys) {
  for (std::size_t i = 0; i + key_bytes <= bytes.size(); i += key_bytes) keys.push_back(at<std::uint64_t>(bytes, i));
}

void encode_rows(std::span<const std::uint32_t> deltas, std::string& out) {
  for (const auto x : deltas) put(out, x);
}

std::uint32_t decode_row(std::string_view bytes, std::size_t index) { return at<std::uint32_t>(bytes, index * 4); }

void encode_cursor(const cursor_record& x, std::string& out) {
  put(out, static_cast<std::uint16_t>(x.user.text().size()));
  out += x.user.text();
  put(out, x.version);
  put(out, x.acked.floor().value);
  put(out, x.horizon.upto.value);
  put(out, static_cast<std::uint8_t>(x.horizon.open));
  put(out, x.read_upto.value);
  put_above(out, x.acked);
  if (!device_of(x.user)) return;
  put(out, x.seen.value);
  put(out, x.since.value);
}

result<cursor_record> decode_cursor(std::string_view& bytes) {
  const failure broken{ec::corrupt, "a cursor record cannot be read", {}};
  cursor_record out;
  std::uint16_t size = 0;
  if (!take(bytes, size) || bytes.size() < size) return broken;
  out.user = trusted_address(std::string(bytes.substr(0, size)));
  bytes.remove_prefix(size);
  sequence floor;
  std::uint8_t open = 0;
  if (!take(bytes, out.version) || !take(bytes, floor.value) || !take(bytes, out.horizon.upto.value) || !take(bytes, open) ||
      !take(bytes, out.read_upto.value) || !take_above(bytes, floor, out.acked))
    return broken;
  out.horizon.open = open != 0;
  if (device_of(out.user) && (!take(bytes, out.seen.value) || !take(bytes, out.since.value))) return broken;
  return out;
}

void encode_inbox(const inbox_record& x, std::string& out) {
  put(out, x.version);
  put(out, static_cast<std::uint8_t>(x.marks.size()));
  for (const auto& marks : x.marks) {
    put(out, static_cast<std::uint32_t>(marks.ranges().size()));
    for (const auto& range : marks.ranges()) {
      put(out, range.after.value);
      put(out, range.upto.value);
      put(out, range.at.value);
    }
  }
}

result<inbox_record> decode_inbox(std::string_view bytes, const address& user) {
  const failure broken{ec::corrupt, "an inbox record cannot be read", {}};
  inbox_record out;
  out.user = user;
  std::uint8_t kinds = 0;
  if (!take(bytes, out.version) || !take(bytes, kinds)) return broken;
  if (kinds > inbox_marks_max) return failure{ec::unsupported, "an inbox record was written by a newer Doorstep", {}};
  for (std::size_t i = 0; i < kinds; ++i) {
    std::uint32_t count = 0;
    if (!take(bytes, count) || bytes.size() < std::size_t{count} * range_bytes) return broken;
    std::vector<mark_ranges::range> ranges(count);
    for (auto& x : ranges) {
      take(bytes, x.after.value);
      take(bytes, x.upto.value);
      take(bytes, x.at.value);
    }
    out.marks[i] = mark_ranges(std::move(ranges));
  }
  return out;
}

dead_reason stored_reason(std::string_view name) {
  const auto found = dead_reason_from(name);
  return found ? *found : dead_reason::malformed;
}

result<std::shared_ptr<const delivery_terms>> stored_terms(std::optional<std::string_view> json) {
  if (!json) return std::shared_ptr<const delivery_terms>();
  auto read = delivery_terms_from_json(*json);
  if (!read) return failure{ec::corrupt, "stored delivery terms cannot be read: " + read.error().detail, read.error().field};
  return read;
}

result<std::shared_ptr<const event>> stored_event(std::string_view json, bool partial) {
  if (json.empty()) return std::shared_ptr<const event>();
  auto read = event_from_json(json);
  if (!read && partial) {
    event kept;
    kept.data = std::string(json);
    return std::make_shared<const event>(std::move(kept));
  }
  if (!read) return failure{ec::corrupt, "a stored event cannot be read: " + read.error().detail, read.error().field};
  return std::make_shared<const event>(std::move(*read));
}

}  // namespace doorstep
