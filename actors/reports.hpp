// SPDX-License-Identifier: Apache-2.0
// GET /v1/mailboxes/<user> and GET /v1/actors as JSON text. Pure.
#pragma once

#include "actors/messages.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace doorstep {

/// A loaded mailbox: owed, in flight, attempts, next retry. @param given_up dead letters of this life, by dead_reason.
std::string describe_mailbox(const address& user, const outbox& owed, std::span<const std::uint32_t> given_up, std::uint64_t superseded,
                             std::size_t sessions, steady_time now);
/// One that is not loaded, from what the store has.
std::string describe_stored(const address& user, const stored_mailbox& what);
/// Both for a user whose devices have cursors. @param whole the report of the user's own mailbox @param each of the devices, in the same order
std::string describe_devices(const std::string& whole, const std::vector<cursor_record>& devices, const std::vector<std::string>& each);
/// The report of a user, with how it stands in channels.
std::string with_channels(const std::string& report, reader_reports channels);
/// One page of GET /v1/dead-letters, with the token of the next one when it is full.
std::string describe_dead_letters(const std::vector<dead_letter>& page, std::size_t limit);
std::string describe_dead_letter(const dead_letter& x);
/// The actors of GET /v1/actors.
std::string describe_actors(const actor_report& top);

}  // namespace doorstep
