// SPDX-License-Identifier: Apache-2.0
// To whom: "user:42", or a channel: "role:admin", "group:x", "topic:x", "all". Compared bytewise; decides the shard. Pure values, any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <compare>
#include <string>
#include <string_view>

namespace doorstep {

/// `kind:id`, or `all`. The id is 1 to 512 bytes of valid UTF-8 without control characters (U+0000-001F, U+007F-009F); nothing is normalised.
class address {
public:
  static constexpr std::size_t id_bytes_max = 512;

  address() = default;  ///< addresses nobody
  /// @returns ec::malformed, naming what is wrong with the id.
  static result<address> parse(std::string_view text);
  static result<address> user(std::string_view id);
  /// @param kind "role", "group" or "topic"
  static result<address> channel(std::string_view kind, std::string_view id);
  /// The channel of everybody.
  static address all();
  /// Where records that no user can get are kept in the log until the shard has stored them. Not reachable by parse().
  static address dead_letters();

  std::string_view text() const { return text_; }
  std::string_view kind() const { return std::string_view(text_).substr(0, colon_); }
  std::string_view id() const { return colon_ < text_.size() ? std::string_view(text_).substr(colon_ + 1) : std::string_view(); }
  bool is_user() const { return kind() == "user"; }
  /// Many readers, each with a cursor of its own.
  bool is_channel() const { return kind() == "role" || kind() == "group" || kind() == "topic" || kind() == "all"; }
  bool is_dead_letters() const { return kind() == "dead-letters"; }
  bool empty() const { return text_.empty(); }

  bool operator==(const address& other) const { return text_ == other.text_; }
  auto operator<=>(const address& other) const { return text_ <=> other.text_; }

private:
  address(std::string text, std::size_t colon) : text_(std::move(text)), colon_(colon) {}
  friend address trusted_address(std::string text);
  std::string text_;
  std::size_t colon_ = 0;
};

/// Under which the cursor of one reader of a channel is stored, and its inbox; no address that anybody can write.
address reader_key(const address& channel, std::string_view user);
/// Under which the store notes how far retention has taken messages of a channel: the floor of a cursor that nobody moves but retention.
address gone_key(const address& channel);

/// An address that was checked before it was stored; for readers of our own formats only.
address trusted_address(std::string text);

/// Kafka's default partitioner hash (murmur2 of the bytes, sign bit cleared).
std::uint32_t murmur2(std::string_view bytes);
/// Which of `count` shards an address lives in: murmur2(UTF-8 text) mod count.
shard_id shard_of(const address& to, std::uint32_t count);

}  // namespace doorstep

template <>
struct std::hash<doorstep::address> {
  // Not noexcept: then libstdc++ keeps the hash in the node, and a lookup does not visit the other nodes of its bucket to hash them again.
  std::size_t operator()(const doorstep::address& x) const { return std::hash<std::string_view>{}(x.text()); }
};
