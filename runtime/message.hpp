// SPDX-License-Identifier: Apache-2.0
// An event on its way to one address: first as an entry for the mailbox log, then, once the log gave it a place, as a message. Immutable and shared.
#pragma once

#include "runtime/address.hpp"
#include "runtime/delivery_terms.hpp"
#include "runtime/event.hpp"
#include "runtime/ids.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace doorstep {

/// A partition of a source topic, as replays are recognised by. Shared by all records that came from it.
struct origin_partition {
  std::string source;            ///< the configured name of the source
  std::uint32_t generation = 0;  ///< rises when the source's topic is made anew
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const origin_partition&) const = default;
};

/// Where an entry came from. `from` is null for what came over HTTP or was requeued: nobody replays those.
struct origin {
  std::shared_ptr<const origin_partition> from;
  std::int64_t offset = -1;
  std::int64_t floor = 0;  ///< every record of `from` below this was durable in the log when the router made the entry
};

/// Why a record or message was given up. Stored and on the wire by name.
enum class dead_reason : std::uint8_t { malformed = 1, no_route, max_attempts, nacked, expired, overflow, poison };
constexpr std::size_t dead_reasons_max = 8;  ///< above the highest value
std::string_view name(dead_reason x);
result<dead_reason> dead_reason_from(std::string_view name);

/// base64url of the first 128 bits of SHA-256 over (source, event id, address): 22 characters, the same after every replay.
std::string message_id(std::string_view source, std::string_view event_id, const address& to);

/// One thing for the mailbox log to keep. For address::dead_letters() the event is the record as far as it was understood and `reason`/`detail` say why.
struct log_entry {
  address to;
  std::string id;  ///< message_id()
  std::shared_ptr<const event> what;
  origin came_from;
  unix_ms appended;
  std::uint32_t requeue = 0;  ///< how often it was taken back from the dead letters; part of the dedup key
  dead_reason reason = dead_reason::malformed;
  std::string detail;
  std::shared_ptr<const delivery_terms> terms{};  ///< null where the configuration says it all
};

/// What a user is owed: an entry with its place. The log has it durably before anybody holds one of these.
struct message {
  address to;
  sequence seq;
  std::string id;
  std::shared_ptr<const event> what;
  unix_ms appended;
  std::uint32_t requeue = 0;
  std::shared_ptr<const origin_partition> from{};  ///< the source partition; null over HTTP, of a requeued one, and where an old store has none
  std::int64_t from_offset = -1;
  std::shared_ptr<const delivery_terms> terms{};  ///< null where the configuration says it all
};
using message_ptr = std::shared_ptr<const message>;
/// What of it counts against delivery.mailbox_bytes_max: the bytes of its event's attributes and data. Stored with it, so that they can be added up unread.
std::uint64_t content_bytes(const event* x);
inline std::uint64_t content_bytes(const message& x) { return content_bytes(x.what.get()); }
/// What it takes in memory, about, its event included.
std::size_t memory_of(const message& x);

/// A record or message that was given up, kept whole.
struct dead_letter {
  std::string id;  ///< "topic/partition/offset" of a record, or the message id
  address to;      ///< empty for a record
  sequence seq;    ///< of the log record that carried it
  dead_reason reason = dead_reason::malformed;
  std::string detail;
  std::string source, topic;
  std::int32_t partition = -1;
  std::int64_t offset = -1;
  std::shared_ptr<const event> what;
  unix_ms first, last;
  std::uint32_t attempts = 0;
  std::uint32_t requeue = 0;  ///< requeue number of the message that died
  bool requeued = false;      ///< taken back since, as number requeue + 1
  std::shared_ptr<const delivery_terms> terms{};
};
std::size_t memory_of(const dead_letter& x);

}  // namespace doorstep
