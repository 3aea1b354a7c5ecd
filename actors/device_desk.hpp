// SPDX-License-Identifier: Apache-2.0
// What the MAILBOX of one device keeps beside its outbox, where each device has a cursor: whether the store knows the device, when it was last here, and what
// its user's inbox is to be told. Made for such mailboxes only; on their lane. The rules are in docs/decisions/0010-devices.md.
#pragma once

#include "actors/messages.hpp"
#include "actors/services.hpp"
#include "runtime/devices.hpp"
#include "runtime/outbox.hpp"

#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace doorstep {

class device_desk {
public:
  explicit device_desk(const services& parts) : parts_(parts) {}

  /// Nothing of a device is pushed, nor a session greeted, before its first record is durable.
  bool is_registered() const { return registered_; }
  /// The store has no such device, and its user has as many as there may be.
  bool is_one_too_many(const stored_mailbox& x) const {
    return !doorstep::is_registered(x.record) && x.devices >= parts_.options.delivery.devices_max;
  }

  /// @returns what the outbox starts from. @param open_horizon stands for an open horizon of the record that a new device takes over
  stored_mailbox start(stored_mailbox x, sequence open_horizon, steady_time now);
  /// A session came or left, or is there.
  void note_seen(steady_time now) { seen_ = parts_.clock.time_at(now); }
  /// The record is to be written for what it says of the device alone. Said once each time.
  bool is_note_due(steady_time now, bool somebody_is_there);
  steady_time next_due() const { return note_at_; }

  /// Fills in what the record says of the device.
  void sign(cursor_record& x, steady_time now, bool somebody_is_there);
  /// A dead letter says which device gave its message up.
  static void sign(std::vector<dead_letter>& all, const address& box);
  /// What the inbox does not know yet: acks up to the record's floor, when that is to be noted, and what leaves with the record past its time, or because a newer
  /// one took its place.
  std::optional<note_in_inbox> note(const cursor_record& x, std::span<const given_up> leaving, std::span<const sequence> replaced, bool note_floor);
  /// A record of the device is durable. @returns true for the first one.
  bool saved() { return !std::exchange(registered_, true); }

private:
  const services& parts_;
  bool registered_ = false;
  unix_ms seen_{};
  sequence since_, noted_;  ///< acks up to noted_ were told
  steady_time note_at_ = steady_time::max();
};

/// What the mailbox that has the inbox alone starts from: it pushes nothing, so it need not write down that it does not.
stored_mailbox start_of_keeper(stored_mailbox x, sequence open_horizon);

}  // namespace doorstep
