// SPDX-License-Identifier: Apache-2.0
// What a store answers a mailbox with, in values that the pure core takes. See storage/message_store.hpp.
#pragma once

#include "runtime/cursor.hpp"
#include "runtime/inbox.hpp"
#include "runtime/message.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace doorstep {

/// A part of a user's messages in seq order, acked ones left in (the reader's cursor knows them).
struct stored_page {
  std::vector<message_ptr> messages;
  bool more = false;     ///< there are stored messages after the last of these
  sequence complete_to;  ///< everything of this address up to here was stored when the page was read
  sequence gone_to{};    ///< of a channel, where asked for: the last message that retention had removed when the page was there; 0: none
};

struct stored_amount {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;  ///< their content_bytes(); may be 0 where the configuration has no limit for them
};

/// Of a page that has all there is above the cursor's floor.
inline stored_amount amount_owed(const cursor& acked, const stored_page& page) {
  stored_amount out;
  for (const auto& x : page.messages) {
    if (x->seq > page.complete_to || acked.is_acked(x->seq)) continue;
    ++out.messages;
    out.bytes += content_bytes(*x);
  }
  return out;
}

/// What a mailbox starts from. A device's has no inbox and no counts; where the device has no record, with the one it begins with (start_of_device()).
struct stored_mailbox {
  cursor_record record;      ///< version 0: nobody has written one yet
  stored_page page;          ///< from the floor on
  std::uint64_t unread = 0;  ///< stored messages up to page.complete_to in unread_ranges(inbox)
  stored_amount owed;        ///< those in unacked_ranges(record.acked); none for a user where devices have cursors
  std::uint64_t unseen = 0;  ///< those in unseen_ranges(inbox)
  inbox_record inbox{};      ///< version 0: nobody has written one yet
  std::size_t devices = 0;   ///< registered devices of the user, where each has a cursor
};

/// Records of before there was an inbox record said how far the person had read; the first inbox record takes that over.
inline void take_over_read_upto(const cursor_record& from, inbox_record& into) {
  if (into.version == 0) into[inbox_mark::read].cover({}, from.read_upto, {});
}

/// Which of a user's stored messages, whatever became of them. A part that is empty lets everything through.
struct history_query {
  sequence after, before;  ///< seq above / below; before 0 = no bound
  unix_ms since, until;    ///< appended at or after / before; 0 = no bound. Append times are taken to rise with the seq
  std::size_t limit = 100;
  bool newest = false;  ///< the page ends at the upper bound instead of beginning at the lower one
  address reader{};     ///< whose cursor and inbox say the states, a reader_key(); empty: those of the address itself
};

/// A page of history with what makes the messages' states, all as the store has it.
struct stored_history {
  std::vector<message_ptr> messages;  ///< in seq order
  bool more = false;                  ///< beyond the page, on the side it did not begin at
  cursor acked;
  sequence since;  ///< of a device: `acked` says nothing of what is not above
  inbox_record inbox;
  sequence gone_to;  ///< messages up to here may be gone by retention; 0: none ever went
};

enum class reap_kind : std::uint8_t {
  messages,      ///< of the oldest messages, those that nobody is owed go
  dead_letters,  ///< those that died before `before` go, requeued ones too
  expired_named,  ///< messages whose event named a time (expirytime) that is before `before`: those still owed are told, the others need not be looked at again
  devices,        ///< devices that were last seen before `before` are forgotten; the last one of a user leaves what it had not acked to the next
  expired_by_age  ///< messages that were appended before `before` (delivery.ttl) and name no later time: those still owed are told
};
/// A bounded step through what is stored.
struct reap_step {
  unix_ms before;           ///< only what was appended (died, was to be pushed) earlier
  std::string from{};       ///< reaped::next of the step before; empty: from the oldest on
  std::size_t limit = 500;  ///< looked at
  reap_kind what = reap_kind::messages;
  bool mirrored_only = false;  ///< dead letters that the mirror does not have stay
  unix_ms now{};               ///< expired_by_age: by which a time that is named is judged
};
/// Messages of a user, or of them those that one device is owed (device_box()), from `first` to `last`, some of which are past their time and still owed.
struct overdue {
  address user;
  sequence first, last;
};
struct reaped {
  std::size_t removed = 0, kept = 0;  ///< kept: still owed to somebody, or still needed by the log or the mirror
  std::string next{};                 ///< where the next step goes on; empty: nothing older than `before` is left to look at
  std::vector<overdue> expired{};     ///< one a user
  std::string again{};                ///< expired_by_age: a later pass may begin here, since all before this is settled
};

}  // namespace doorstep
