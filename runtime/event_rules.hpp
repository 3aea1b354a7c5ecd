// SPDX-License-Identifier: Apache-2.0
// What CloudEvents 1.0 asks of attributes, whatever surface an event comes in by. Shared by event.cpp, event_json.cpp and, for RFC 3339, the HTTP paths. Pure, any thread.
#pragma once

#include "runtime/event.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// Collects the attributes of one event and checks each by its name.
class event_builder {
public:
  /// Takes one context attribute (also `specversion`) in its canonical text form. @returns what is wrong with it.
  std::optional<failure> attribute(std::string_view name, std::string value);
  /// Is any required attribute missing?
  std::optional<failure> missing() const;
  event what;

private:
  std::string* place_of(std::string_view name);
  bool has_specversion_ = false;
};

/// What is wrong with an event, in words that are short and text whatever the producer sent.
failure malformed_event(std::string field, std::string detail);
/// `*/json`, `*+json` or none: the data is JSON.
bool is_json_content_type(std::string_view content_type);
/// RFC 3339 date-time.
bool is_rfc3339(std::string_view text);
/// The moment a valid one names; parts of a millisecond are cut off.
unix_ms time_of_rfc3339(std::string_view text);
/// The moment in UTC, to the millisecond.
std::string rfc3339_of(unix_ms at);

}  // namespace doorstep
