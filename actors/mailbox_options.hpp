// SPDX-License-Identifier: Apache-2.0
// What the configuration says of one mailbox, as its outbox takes it. On the mailbox's lane.
#pragma once

#include "actors/mailbox.hpp"

namespace doorstep {

/// @param suspect null but after a failure: then one message is in flight at a time, and what is blamed often enough is poison.
/// @param keeps_inbox_only nothing is delivered by it: devices have mailboxes of their own
outbox_options outbox_options_of(const services& parts, const suspicion* suspect, bool keeps_inbox_only);

/// Uniform, for its retries.
std::uint64_t jitter();

}  // namespace doorstep
