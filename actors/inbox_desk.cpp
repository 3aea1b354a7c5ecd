// SPDX-License-Identifier: Apache-2.0
#include "actors/inbox_desk.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {
/// Until a store that is away, or not as far as the log yet, is asked again.
constexpr milliseconds ask_again{100};
}  // namespace

void inbox_desk::places(const result<stored_places>& x, steady_time now) {
  if (!x) box_.places_failed();
  if (!x || !box_.places(*x, wall_now())) places_not_before_ = now + ask_again;
}

void inbox_desk::counted(const result<stored_mailbox>& x, outbox& owed, outbox_effects& out, steady_time now) {
  counting_ = false;
  // Marks that changed meanwhile: this count is of an earlier time.
  if (count_wanted_) return;
  if (x && owed.recounted(*x, out)) return;
  count_wanted_ = true;
  count_not_before_ = now + ask_again;
}

void inbox_desk::count(outbox& owed) {
  owed.recount(highest_counted_mark(box_.record()));
  count_wanted_ = true;
}

void inbox_desk::note(const note_in_inbox& x) {
  const auto now = wall_now();
  box_.delivered(x.after, x.upto, now);
  for (const auto seq : x.expired) box_.left(seq, inbox_mark::expired, now);
  for (const auto seq : x.superseded) box_.left(seq, inbox_mark::superseded, now);
}

std::shared_ptr<const inbox_record> inbox_desk::begin_save(const cursor_record& record, std::span<const given_up> leaving,
                                                           std::span<const sequence> replaced, bool note_floor) {
  const auto now = wall_now();
  for (const auto& x : leaving) box_.left(x.what->seq, inbox::mark_of(x.reason), now);
  for (const auto seq : replaced) box_.left(seq, inbox_mark::superseded, now);
  if (note_floor || box_.is_dirty()) box_.delivered(record.acked.floor(), now);
  if (!box_.is_dirty()) return nullptr;
  auto out = box_.begin_save(record.version);
  out.user = record.user;
  return std::make_shared<const inbox_record>(std::move(out));
}

std::vector<inbox::reply> inbox_desk::saved(bool durable, outbox& owed) {
  std::vector<inbox::reply> due;
  if (!durable)
    box_.save_failed();
  else if (box_.saved(due))
    count(owed);
  return due;
}

void inbox_desk::ask(const address& user, const mailbox_actor& who, steady_time now) {
  if (now >= places_not_before_)
    if (auto seqs = box_.wants_places(); !seqs.empty())
      parts_.store.locate(user, std::move(seqs), [who](result<stored_places> x) { caf::anon_send(who, places_read{std::move(x)}); });
  if (!count_wanted_ || counting_ || now < count_not_before_) return;
  count_wanted_ = false;
  counting_ = true;
  parts_.store.load(user, 0, [who](result<stored_mailbox> x) { caf::anon_send(who, unread_counted{std::move(x)}); });
}

std::optional<steady_time> inbox_desk::next_due() const {
  std::optional<steady_time> at;
  if (box_.has_questions()) at = places_not_before_;
  if (count_wanted_ && !counting_) at = at ? std::min(*at, count_not_before_) : count_not_before_;
  return at;
}

}  // namespace doorstep
