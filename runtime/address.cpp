// SPDX-License-Identifier: Apache-2.0
// Checks addresses where they enter, and places them in shards as Kafka's default partitioner would. Pure, any thread.
#include "runtime/address.hpp"

#include "runtime/utf8.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace doorstep {

namespace {

constexpr std::string_view user_kind = "user";
constexpr std::string_view all_text = "all";
constexpr std::string_view dead_letters_text = "dead-letters:records";

/// Empty when the id may be used, else what is wrong with it.
std::string fault_of_id(std::string_view id) {
  if (id.empty()) return "the recipient id is empty";
  if (id.size() > address::id_bytes_max) {
    return "the recipient id has " + std::to_string(id.size()) + " bytes; at most " + std::to_string(address::id_bytes_max) + " are allowed";
  }
  for (std::size_t at = 0; at < id.size();) {
    const std::size_t place = at;
    char32_t point = 0;
    if (!decode_utf8(id, at, point)) return "the recipient id is not valid UTF-8 (byte " + std::to_string(place) + ")";
    if (is_control(point)) {
      char name[16];
      std::snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(point));
      return std::string("the recipient id has the control character ") + name + " (byte " + std::to_string(place) + ")";
    }
  }
  return {};
}

std::string joined(std::string_view kind, std::string_view id) {
  std::string text;
  text.reserve(kind.size() + 1 + id.size());
  return text.append(kind).append(1, ':').append(id);
}

}  // namespace

result<address> address::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (text == all_text) return all();
  if (colon == std::string_view::npos) return failure{ec::malformed, "an address is kind:id, such as user:42, or all", {}};
  const auto kind = text.substr(0, colon), id = text.substr(colon + 1);
  if (kind == user_kind) return user(id);
  if (kind == "role" || kind == "group" || kind == "topic") return channel(kind, id);
  return failure{ec::malformed, "the address is not of a known kind; known are: user, role, group, topic, all", {}};
}

result<address> address::user(std::string_view id) {
  if (auto fault = fault_of_id(id); !fault.empty()) return failure{ec::malformed, std::move(fault), {}};
  return address(joined(user_kind, id), user_kind.size());
}

result<address> address::channel(std::string_view kind, std::string_view id) {
  if (auto fault = fault_of_id(id); !fault.empty()) return failure{ec::malformed, std::move(fault), {}};
  return address(joined(kind, id), kind.size());
}

address address::all() { return trusted_address(std::string(all_text)); }

address address::dead_letters() { return trusted_address(std::string(dead_letters_text)); }

address trusted_address(std::string text) {
  const auto colon = text.find(':');
  const auto size = text.size();
  return {std::move(text), std::min(colon, size)};
}

// A line break stands in no address, so no two pairs give the same text.
address reader_key(const address& channel, std::string_view user) {
  auto text = joined("reader", channel.text());
  return trusted_address(text.append(1, '\n').append(user));
}

address gone_key(const address& channel) { return trusted_address(joined("gone", channel.text())); }

std::uint32_t murmur2(std::string_view bytes) {
  constexpr std::uint32_t m = 0x5bd1e995;
  const auto byte = [&](std::size_t i) { return std::uint32_t{static_cast<std::uint8_t>(bytes[i])}; };
  const std::size_t size = bytes.size();
  std::uint32_t h = 0x9747b28c ^ static_cast<std::uint32_t>(size);
  std::size_t at = 0;
  for (; at + 4 <= size; at += 4) {
    std::uint32_t k = byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24;
    k *= m;
    k ^= k >> 24;
    h = (h * m) ^ (k * m);
  }
  if (at < size) {
    for (std::size_t i = size; i > at; --i) h ^= byte(i - 1) << (8 * (i - 1 - at));
    h *= m;
  }
  h ^= h >> 13;
  h *= m;
  h ^= h >> 15;
  return h & 0x7fffffff;
}

shard_id shard_of(const address& to, std::uint32_t count) { return shard_id{murmur2(to.text()) % count}; }

}  // namespace doorstep
