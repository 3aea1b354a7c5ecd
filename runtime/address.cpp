// SPDX-License-Identifier: Apache-2.0
// Checks addresses where they enter, and places them in shards as Kafka's default partitioner would. Pure, any thread.
#include "runtime/address.hpp"

#include "runtime/utf8.hpp"

#include <cstdio>
#include <utility>

namespace doorstep {

namespace {

constexpr std::string_view user_kind = "user";
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

}  // namespace

result<address> address::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return failure{ec::malformed, "an address is kind:id, such as user:42", {}};
  if (text.substr(0, colon) != user_kind) return failure{ec::malformed, "the address is not of a known kind; known are: user", {}};
  return user(text.substr(colon + 1));
}

result<address> address::user(std::string_view id) {
  if (auto fault = fault_of_id(id); !fault.empty()) return failure{ec::malformed, std::move(fault), {}};
  std::string text;
  text.reserve(user_kind.size() + 1 + id.size());
  text.append(user_kind).append(1, ':').append(id);
  return address(std::move(text), user_kind.size());
}

address address::dead_letters() { return trusted_address(std::string(dead_letters_text)); }

address trusted_address(std::string text) {
  const auto colon = text.find(':');
  return {std::move(text), colon == std::string::npos ? 0 : colon};
}

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
