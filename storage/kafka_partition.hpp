// SPDX-License-Identifier: Apache-2.0
// What a source knows of a partition that the group gave it, and how its generation is kept beside the commit. Only the source's thread sees it.
#pragma once

#include "runtime/ids.hpp"
#include "runtime/metrics.hpp"
#include "runtime/number_text.hpp"
#include "storage/kafka_fetch.hpp"
#include "storage/record_source.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

constexpr std::string_view generation_prefix = "doorstep generation=";

struct held_partition : fetched_partition {
  std::uint32_t generation = 0;
  bool generation_kept = false;  ///< the group has it; before that nothing is handed over
  std::int64_t noted = -1;       ///< commit() said so
  std::int64_t sent = -1;        ///< on its way to the group
  std::int64_t committed = -1;   ///< the group has it
  std::int64_t gap_from = -1;    ///< offsets from here on did not come, and nobody has asked why yet
  gauge lag{}, credit{};
};

/// Rises even where the clock does not.
inline std::uint32_t mint_generation(std::uint32_t former) { return std::max(former + 1, static_cast<std::uint32_t>(wall_now().value / 1000)); }

/// @returns none where the commit was not made by us.
inline std::optional<std::uint32_t> generation_of(std::string_view metadata) {
  if (!metadata.starts_with(generation_prefix)) return std::nullopt;
  metadata.remove_prefix(generation_prefix.size());
  return number_in<std::uint32_t>(metadata);
}

inline std::string metadata_of(std::uint32_t generation) { return std::string(generation_prefix) + std::to_string(generation); }

}  // namespace doorstep
