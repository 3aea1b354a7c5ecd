// SPDX-License-Identifier: Apache-2.0
// Cursors as a connection finds them: a mailbox's, and those of all devices of a user, which stand beside the user's own in `cursors`. Used by the mongo_*.cpp
// files only, on the thread of the connection.
#pragma once

#include "runtime/devices.hpp"
#include "runtime/error.hpp"
#include "storage/message_store.hpp"
#include "storage/mongo_client.hpp"

#include <vector>

namespace doorstep {

/// version 0 where there is none.
result<cursor_record> mongo_cursor_of(mongo_connection& at, const address& box);
/// Registered ones, in order of their ids.
result<std::vector<cursor_record>> mongo_devices_of(mongo_connection& at, const address& user);
/// By each of these a message has to be acked: the devices of the user or, where there are none, the user.
result<std::vector<cursor_record>> mongo_judges_of(mongo_connection& at, const address& user, bool by_device);
/// The document and its version, wherever an older one stands.
mongo_operation mongo_write_of(const cursor_record& x);

/// A step of forgetting devices that were not seen since step.before.
result<reaped> forget_devices(mongo_connection& at, const reap_step& step);
/// Where the store was last used with another delivery.ack_scope: turns cursors of devices into the users' own. Goes on where a start before this one was cut off.
result<void> settle_scope(mongo_connection& at, bool by_device);

}  // namespace doorstep
