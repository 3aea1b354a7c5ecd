// SPDX-License-Identifier: Apache-2.0
// What a mailbox has done, counted for the metrics and for its own report. On the mailbox's lane.
#pragma once

#include "actors/mailbox.hpp"

namespace doorstep {

void count_effects(const outbox_effects& x, const metrics& counts, mailbox_state& state, steady_time now);

}  // namespace doorstep
