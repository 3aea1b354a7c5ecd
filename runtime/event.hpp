// SPDX-License-Identifier: Apache-2.0
// What happened: a CloudEvents 1.0 event, whatever surface it came in by. Pure values, any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/ids.hpp"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace doorstep {

/// CloudEvents 1.0 context attributes by their specified names, and the data. Empty string = attribute absent.
struct event {
  std::string id;      ///< unique with source; for plain JSON without one: "topic/partition/offset"
  std::string source;  ///< URI-reference
  std::string type;
  std::string subject;
  std::string time;  ///< RFC 3339, as the producer wrote it
  std::string data_content_type;
  std::string data_schema;
  /// Extension attributes, name -> text, in the order they came (names: lower-case letters and digits). `touser` and `expirytime` are among them.
  std::vector<std::pair<std::string, std::string>> extensions;
  std::string data;             ///< one JSON value as text; empty = no data. Data that is not JSON is kept as a JSON string
  unix_ms expires;              ///< of the extension `expirytime`, by whatever surface it came; 0 = never
  bool data_is_base64 = false;  ///< data is a JSON string that holds base64 of binary data (`data_base64` in JSON format)

  /// @returns the extension's text, or an empty view.
  std::string_view extension(std::string_view name) const;
};

/// A header of an HTTP answer.
struct header {
  std::string name;
  std::string value;
};

/// A header of a Kafka record or of an HTTP request where it lies, names compared without case.
struct header_view {
  std::string_view name;
  std::string_view value;
};

/// The event as one CloudEvents JSON object (JSON event format 1.0, section 3): the value of a mailbox-log record.
std::string to_json(const event& x);

/// Reads one CloudEvents JSON object (structured mode, and our own log records).
/// @returns ec::malformed with the attribute's name in `field`.
result<event> event_from_json(std::string_view text);
/// Reads a JSON array of them (batched mode). The failure names the element: "[3].source".
result<std::vector<event>> events_from_json_batch(std::string_view text);
/// Binary mode: attributes from headers that start with `prefix` ("ce-" over HTTP with percent-decoding, "ce_" in Kafka records), the payload is the data.
result<event> event_from_headers(std::span<const header_view> headers, std::string_view prefix, std::string_view content_type,
                                 std::string_view payload);

}  // namespace doorstep
