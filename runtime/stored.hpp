// SPDX-License-Identifier: Apache-2.0
// What a store answers a mailbox with, in values that the pure core takes. See storage/message_store.hpp.
#pragma once

#include "runtime/cursor.hpp"
#include "runtime/message.hpp"

#include <cstdint>
#include <vector>

namespace doorstep {

/// A part of a user's messages in seq order, acked ones left in (the reader's cursor knows them).
struct stored_page {
  std::vector<message_ptr> messages;
  bool more = false;     ///< there are stored messages after the last of these
  sequence complete_to;  ///< everything of this address up to here was stored when the page was read
};

/// What a mailbox starts from.
struct stored_mailbox {
  cursor_record record;           ///< version 0: nobody has written one yet
  stored_page page;               ///< from the floor on
  std::uint64_t unread = 0;       ///< stored messages above record.read_upto
  std::uint64_t above_floor = 0;  ///< stored messages above the floor, acked ones among them
};

}  // namespace doorstep
