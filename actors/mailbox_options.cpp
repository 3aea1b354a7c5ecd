// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox_options.hpp"

#include <random>

namespace doorstep {

std::uint64_t jitter() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

outbox_options outbox_options_of(const services& parts, const suspicion* suspect, bool keeps_inbox_only) {
  const auto& x = parts.options.delivery;
  outbox_options out{x.window, x.ack_timeout, {x.retry_base, x.retry_max}, x.backlog_max, x.window * 32};
  if (x.order == "strict") out.order = delivery_terms::ordering::strict;
  if (x.order == "latest") out.order = delivery_terms::ordering::latest;
  if (x.overflow == "reject_newest") out.overflow = outbox_options::victim::newest;
  out.max_attempts = static_cast<std::uint32_t>(x.max_attempts);
  out.ttl = x.ttl;
  out.messages_max = x.mailbox_messages_max;
  out.bytes_max = x.mailbox_bytes_max;
  out.clock = parts.clock;
  if (keeps_inbox_only) {
    out.backlog_max = 0;
    out.messages_max = out.bytes_max = 0;
  }
  if (suspect == nullptr) return out;
  out.window = 1;
  for (const auto& [seq, times] : suspect->blame)
    if (times >= x.poison_attempts) out.poisoned.push_back(seq);
  return out;
}

}  // namespace doorstep
