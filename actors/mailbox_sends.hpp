// SPDX-License-Identifier: Apache-2.0
// What a mailbox tells its sessions: pushes, receipts, answers about the inbox. On the mailbox's lane.
#pragma once

#include "actors/mailbox.hpp"

#include <vector>

namespace doorstep {

/// One round, to each session what is its own. @param counts where they have changed
void send_pushes(mailbox_self* self, outbox_effects& out, const server::counts& counts);
void send_receipts(mailbox_self* self, outbox_effects& out);
void answer_inbox(mailbox_self* self, const std::vector<inbox::reply>& replies);

}  // namespace doorstep
