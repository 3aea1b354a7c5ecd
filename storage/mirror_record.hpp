// SPDX-License-Identifier: Apache-2.0
// A dead letter as a Kafka record, as docs/formats.md describes it: key = its id, value = the message or record whole, the rest in headers. Pure, any thread.
#pragma once

#include "runtime/message.hpp"
#include "storage/log_record.hpp"

namespace doorstep {

encoded_record mirror_record(const dead_letter& x);
/// Without the value, for a broker to which the whole was too large: a header says how much there was. The store has it.
encoded_record without_value(encoded_record x);

}  // namespace doorstep
