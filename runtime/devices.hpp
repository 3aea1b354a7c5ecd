// SPDX-License-Identifier: Apache-2.0
// Devices of a user where each has a cursor of its own (delivery.ack_scope = "device", docs/decisions/0010-devices.md): what their mailboxes are called, where
// a new one starts, and what stays of one that is forgotten. Pure values, any thread.
#pragma once

#include "runtime/cursor.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// A record's version is raised by so much where the store itself changes a user's record, so that no mailbox in memory writes over it.
constexpr std::uint64_t version_leap = 1U << 20;

/// The mailbox of one device: the user's address, U+001F, the device's id. No address has that character, so it is no other user's. It stands for a cursor and
/// an actor; messages, shards and inboxes are the user's.
/// @param device empty: the one without a name, of all connections that do not say which device they are
address device_box(const address& user, std::string_view device);
/// Nothing for a user's own mailbox.
std::optional<std::string_view> device_of(const address& box);
address user_of(const address& box);

/// For people: `user:alice device phone-1`.
std::string readable(const address& box);

/// A record of a device that may be counted on; others are of devices that were forgotten, or that never were there.
inline bool is_registered(const cursor_record& x) { return x.seen.value != 0; }

/// The record a device begins with that has none: the first one with what the user's own record says, so that what nobody has acked waits for it; a later one
/// with what comes from now on. Nobody may count on it before it is written.
/// @param there what the store has under the name of the box, for its version
/// @param complete_to everything up to here was stored when this was read
cursor_record start_of_device(const cursor_record& there, const cursor_record& base, bool others, sequence complete_to);

/// The user's own record once `gone` is forgotten. The last device leaves what it had not acked; every one leaves how far it was pushed to.
cursor_record base_without(const cursor_record& base, const cursor_record& gone, bool was_last);
/// The user's own record where acks are the user's again: acked is what all devices have acked, pushed what any may have been pushed.
cursor_record base_of_all(const cursor_record& base, const std::vector<cursor_record>& devices);

}  // namespace doorstep
