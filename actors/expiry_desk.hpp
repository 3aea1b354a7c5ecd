// SPDX-License-Identifier: Apache-2.0
// What a mailbox was told of messages past their time: reads them from the store, page by page, for the outbox to judge. Made by a MAILBOX for as long as there are
// any; on its lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"
#include "runtime/outbox.hpp"

namespace doorstep {

class expiry_desk {
public:
  explicit expiry_desk(const services& parts) : parts_(parts) {}

  /// Told again before all is read: one range that covers both.
  void add(const overdue& x);
  /// Asks the store for the next page, where there is one to read and none under way.
  void ask(const address& user, const mailbox_actor& who);
  void read(const result<stored_page>& page, outbox& owed, steady_time now, outbox_effects& out);
  bool is_idle() const { return !reading_ && !wants_; }

private:
  const services& parts_;
  sequence after_, last_;
  bool wants_ = false, reading_ = false;
};

}  // namespace doorstep
