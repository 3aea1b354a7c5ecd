// SPDX-License-Identifier: Apache-2.0
// Origin partitions as text, as docs/formats.md describes it: in headers of log records, and in stores beside a log that does not judge replays. Pure, any thread.
#pragma once

#include "runtime/origin_filter.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// "source generation topic partition"; the source is percent-encoded, so a blank ends each part.
std::string origin_name(const origin_partition& x);
std::optional<origin_partition> origin_from_name(std::string_view text);

/// "name floor rescan", and a line "offset address" for each entry that is named one by one.
std::string origin_state(const origin_position& x);
std::optional<origin_position> origin_from_state(std::string_view text);

}  // namespace doorstep
