// SPDX-License-Identifier: Apache-2.0
#include "actors/expiry_desk.hpp"

#include <caf/send.hpp>

#include <algorithm>

namespace doorstep {

void expiry_desk::add(const overdue& x) {
  const sequence after{x.first.value - 1};
  after_ = wants_ || reading_ ? std::min(after_, after) : after;
  last_ = wants_ || reading_ ? std::max(last_, x.last) : x.last;
  wants_ = true;
}

void expiry_desk::ask(const address& user, const mailbox_actor& who) {
  if (!wants_ || reading_) return;
  wants_ = false;
  reading_ = true;
  parts_.store.read(user, after_, parts_.options.delivery.backlog_max,
                    [who](result<stored_page> page) { caf::anon_send(who, overdue_read{std::move(page)}); });
}

/// What could not be read, or not be given up yet, is found by the next look through the store.
void expiry_desk::read(const result<stored_page>& page, outbox& owed, steady_time now, outbox_effects& out) {
  reading_ = false;
  if (!page) return;
  owed.expire(page->messages, now, out);
  if (wants_ || !page->more || page->messages.empty() || page->messages.back()->seq >= last_) return;
  after_ = page->messages.back()->seq;
  wants_ = true;
}

}  // namespace doorstep
