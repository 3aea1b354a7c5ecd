// SPDX-License-Identifier: Apache-2.0
// From a source record to an event and its addresses. Pure: the ROUTER calls it. Rules that name others are in routes.hpp.
#pragma once

#include "runtime/config.hpp"
#include "runtime/event.hpp"
#include "runtime/message.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// What a record says, format-neutral input.
struct record_view {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::optional<std::string_view> key;
  std::span<const header_view> headers;
  std::optional<std::string_view> value;
  unix_ms timestamp;
  /// Of the topic, as source_listener::assigned() said. Keeps ids made from offsets apart when a topic was made anew: the event's source is then
  /// "kafka:<topic>#<generation>". 0 = left out.
  std::uint32_t generation = 0;
};

struct routed_event {
  std::shared_ptr<const event> what;
  std::vector<address> to;  ///< no address twice, in the order named
  std::shared_ptr<const delivery_terms> terms{};
};

/// Reads a record as its source's format says: CloudEvents Kafka binding (content-type header application/cloudevents+json = structured, ce_ headers = binary),
/// or plain JSON with the source's pointers, all of them into the record's value; what they do not find falls back: the id to "topic/partition/offset", the
/// type to source.type_default, the time to the record's timestamp. Recipients: extension or header `touser` (one, a comma list, or a JSON array in text), else
/// source.recipient_pointer (a string, a whole number, or an array of them) into a CloudEvent's data or a plain value, else the key when source.recipient_key.
/// @returns ec::malformed with the reason where it cannot be understood (also a bad recipient id); an empty `to` where it names nobody.
result<routed_event> route_record(const record_view& record, const source_config& source);
/// The event alone, for those whose recipients rules name.
result<event> read_record(const record_view& record, const source_config& source);
/// Whom the event names by itself, as route_record() finds them; without a record (it came over HTTP: both null) only by `touser`. Empty where it names nobody.
result<std::vector<address>> named_recipients(const event& what, const record_view* record, const source_config* source);

/// The same for an event that came over HTTP: only `touser`. ec::malformed with field "touser" when it is missing or bad.
result<std::vector<address>> recipients_of(const event& what);

}  // namespace doorstep
