// SPDX-License-Identifier: Apache-2.0
// A record that could not be understood, as its dead letter keeps it: whole enough to be routed again once the configuration has been mended. Pure, any thread.
#pragma once

#include "runtime/message.hpp"
#include "runtime/recipients.hpp"

#include <string>
#include <vector>

namespace doorstep {

/// What else than the value it takes to route a record again: key, headers, time; for the extension `recordkept`.
/// @returns an empty text where that is over 16 KiB: such a record cannot be requeued.
std::string kept_record_text(const record_view& x);

class kept_record {
public:
  /// @returns ec::unsupported, saying why, where the dead letter does not hold the whole record.
  static result<kept_record> from(const dead_letter& x);
  /// Lasts as long as this.
  record_view view() const;

private:
  std::string topic_, value_;
  std::optional<std::string> key_;
  std::vector<header> headers_;
  mutable std::vector<header_view> header_views_;
  std::int32_t partition_ = 0;
  std::int64_t offset_ = 0;
  std::uint32_t generation_ = 0;
  unix_ms timestamp_;
  bool has_value_ = false;
};

}  // namespace doorstep
