// SPDX-License-Identifier: Apache-2.0
#include "actors/device_desk.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// How often a device that stays connected is said to be there: what a crash takes of that must be little of the time after which it would be forgotten.
milliseconds note_interval(const delivery_config& x) { return std::min<milliseconds>(x.device_ttl / 16, std::chrono::hours{24}); }

}  // namespace

stored_mailbox device_desk::start(stored_mailbox x, sequence open_horizon, steady_time now) {
  registered_ = doorstep::is_registered(x.record);
  seen_ = std::max(seen_, x.record.seen);
  if (!registered_ && x.devices != 0) {
    // The store may be behind the log, and with it what the record begins with: what the other devices have had already is the past for this one.
    const auto shard = shard_of(user_of(x.record.user), parts_.log.shard_count());
    x.record.acked.raise(sequence::before(parts_.log.generation(), parts_.log.end_offset(shard)));
    x.record.since = x.record.acked.floor();
  }
  since_ = noted_ = x.record.since;
  note_at_ = now + note_interval(parts_.options.delivery);
  // With the horizon open the outbox would take it that it may push at once; the first record of this device has to be written before.
  if (!registered_ && x.record.horizon.open) x.record.horizon = {std::max(open_horizon, x.record.horizon.upto), false};
  x.inbox = {};
  return x;
}

bool device_desk::is_note_due(steady_time now, bool somebody_is_there) {
  if (!somebody_is_there || now < note_at_) return false;
  note_at_ = now + note_interval(parts_.options.delivery);
  return true;
}

void device_desk::sign(cursor_record& x, steady_time now, bool somebody_is_there) {
  if (somebody_is_there || seen_.value == 0) note_seen(now);
  x.seen = seen_;
  x.since = since_;
  note_at_ = now + note_interval(parts_.options.delivery);
}

void device_desk::sign(std::vector<dead_letter>& all, const address& box) {
  const auto device = device_of(box).value_or("");
  const auto name = device.empty() ? std::string("the device without a name") : "device " + std::string(device);
  for (auto& x : all) x.detail = x.detail.empty() ? name : name + ": " + x.detail;
}

std::optional<note_in_inbox> device_desk::note(const cursor_record& x, std::span<const given_up> leaving, std::span<const sequence> replaced,
                                               bool note_floor) {
  note_in_inbox out{user_of(x.user), noted_, noted_, {}, {replaced.begin(), replaced.end()}};
  if (note_floor) out.upto = noted_ = std::max(noted_, x.acked.floor());
  for (const auto& one : leaving)
    if (one.reason == dead_reason::expired) out.expired.push_back(one.what->seq);
  if (out.upto <= out.after && out.expired.empty() && out.superseded.empty()) return std::nullopt;
  return out;
}

stored_mailbox start_of_keeper(stored_mailbox x, sequence open_horizon) {
  if (x.record.horizon.open) x.record.horizon = {std::max(open_horizon, x.record.horizon.upto), false};
  return x;
}

}  // namespace doorstep
