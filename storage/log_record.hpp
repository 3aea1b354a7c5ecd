// SPDX-License-Identifier: Apache-2.0
// A log entry as a Kafka record and back: the headers of docs/formats.md, key = the address, value = the event as CloudEvents JSON. Pure, any thread.
#pragma once

#include "runtime/error.hpp"
#include "runtime/message.hpp"
#include "storage/record_source.hpp"

#include <string>
#include <vector>

namespace doorstep {

constexpr int log_record_version = 1;

/// What a record of the internal topic says.
struct log_record {
  log_entry entry;
  std::vector<header> others{};  ///< headers of a later minor version, kept as they came
};

/// What goes to the broker.
struct encoded_record {
  std::string key, value;
  std::vector<header> headers;
  std::size_t bytes() const;  ///< as a broker counts them, about: a little more rather than less
};

encoded_record encode_log_record(const log_record& x);

/// @returns ec::unsupported for a higher version: nobody may guess what it says, so the shard stops. ec::malformed, with the header in `field`, for what no
/// version of ours has written.
result<log_record> decode_log_record(const source_record& x);

}  // namespace doorstep
