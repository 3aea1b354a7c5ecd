// SPDX-License-Identifier: Apache-2.0
// How a message is delivered where a route says it, beside what the configuration says for all. A pure value; travels with its message.
#pragma once

#include "runtime/ids.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace doorstep {

/// How one message is delivered where that differs from the configuration: what a route says, carried with the message through log and store.
struct delivery_terms {
  enum class ordering : std::uint8_t { configured, window, strict, latest };
  ordering order = ordering::configured;
  std::string key;                            ///< order group within the address; `latest` keeps the newest unacked one of a key
  std::optional<milliseconds> ttl;            ///< since the append
  std::optional<std::uint32_t> max_attempts;  ///< 0 = never
  std::uint8_t priority = 0;                  ///< 0 to 9; picks overflow victims, never reorders
};

}  // namespace doorstep
