// SPDX-License-Identifier: Apache-2.0
// Where a reader's next messages are: in memory, or a page of the store that is shared by those who stand at the same place.
#include "runtime/audience.hpp"

#include "runtime/number_text.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {
constexpr std::uint32_t bit(std::size_t i) { return std::uint32_t{1} << i; }
bool is_above(sequence x, const message_ptr& y) { return x < y->seq; }
}  // namespace

std::optional<channel_start> parse_start(std::string_view text) {
  constexpr std::string_view last = "last ";
  if (text == "latest") return channel_start{channel_start::from::latest, 0};
  if (text == "earliest") return channel_start{channel_start::from::earliest, 0};
  if (!text.starts_with(last)) return std::nullopt;
  const auto count = number_in<std::size_t>(text.substr(last.size()));
  if (!count || *count > 10'000) return std::nullopt;
  return channel_start{channel_start::from::last, *count};
}

channel_start start_of(const address& channel, std::string_view otherwise, const std::vector<std::string>& starts) {
  for (const std::string_view x : starts) {
    const auto at = x.rfind('=');
    const auto who = x.substr(0, at);
    const bool kind = who.ends_with(":*") && who.substr(0, who.size() - 2) == channel.kind();
    if (kind || who == channel.text()) return parse_start(x.substr(at + 1)).value_or(channel_start{});
  }
  return parse_start(otherwise).value_or(channel_start{});
}

/// The i-th message after the reader's floor, counting settled ones; null where there is none, or it is not in memory.
const message_ptr* audience::at(const reader& r, std::size_t i) const {
  if (r.behind) {
    if (!r.behind->page || r.at + i >= r.behind->page->size()) return nullptr;
    return &(*r.behind->page)[r.at + i];
  }
  const auto place = r.at + i - first_;
  return place < recent_.size() ? &recent_[place] : nullptr;
}

audience::catch_up& audience::make_behind(reader& r) {
  if (!r.behind) {
    r.behind = std::make_unique<catch_up>();
    ++behind_;
  }
  return *r.behind;
}

void audience::drop_behind(reader& r) {
  if (!r.behind) return;
  r.behind.reset();
  --behind_;
}

/// Finds the reader's place anew by its floor. Nothing is in flight, or what was is noted in `behind` by its seqs.
void audience::place(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (r.floor < recent_after_) {
    make_behind(r).page = nullptr;
    want_page(who, now, out);
    return;
  }
  const auto known = r.behind ? std::move(*r.behind) : catch_up{};
  drop_behind(r);
  r.at = first_ + static_cast<std::uint64_t>(std::upper_bound(recent_.begin(), recent_.end(), r.floor, is_above) - recent_.begin());
  restore_marks(r, known.acked, known.sent_upto, known.nacked);
  fill(who, now, out);
}

void audience::restore_marks(reader& r, const cursor& acked, sequence sent_upto, const std::vector<sequence>& nacked) {
  r.settled = r.nacked = 0;
  r.sent = 0;
  for (unsigned i = 0; i < window_max; ++i) {
    const auto* what = at(r, i);
    if (what == nullptr) break;
    const auto seq = (*what)->seq;
    if (seq > r.floor && acked.is_acked(seq)) r.settled |= bit(i);
    if (std::find(nacked.begin(), nacked.end(), seq) != nacked.end()) r.nacked |= bit(i);
    if (seq <= sent_upto) r.sent = static_cast<std::uint8_t>(i + 1);
  }
  r.asked = std::min(r.asked, r.sent);
}

/// What its masks say is written down by seqs, as long as the messages are here.
void audience::fall_behind(reader& r) {
  // A page that is dropped has taken up only a part of what was known before it.
  catch_up known;
  if (r.behind) known = {nullptr, std::move(r.behind->acked), r.behind->sent_upto, std::move(r.behind->nacked), {}, {}, false};
  known.acked.raise(r.floor);
  for (unsigned i = 0; i < window_max; ++i) {
    const auto* what = at(r, i);
    if (what == nullptr) break;
    if ((r.settled & bit(i)) != 0) known.acked.ack((*what)->seq);
    if ((r.nacked & bit(i)) != 0) known.nacked.push_back((*what)->seq);
    if (i < r.sent) known.sent_upto = std::max(known.sent_upto, (*what)->seq);
  }
  make_behind(r) = std::move(known);
}

/// Many at once: so that looking through the readers costs little a message.
void audience::evict() {
  if (recent_.size() <= options_.recent_max && recent_bytes_ <= options_.recent_bytes_max) return;
  std::size_t count = 0, bytes = 0;
  while (count < recent_.size() && (recent_.size() - count > options_.recent_max / 2 || recent_bytes_ - bytes > options_.recent_bytes_max / 2))
    bytes += memory_of(*recent_[count++]);
  for (auto& r : readers_)
    if (r.used && r.joined && !r.behind && r.at < first_ + count) fall_behind(r);
  recent_after_ = recent_[count - 1]->seq;
  recent_.erase(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(count));
  recent_bytes_ -= bytes;
  first_ += count;
}

/// `older` are all messages above `after` and up to recent_after_. @returns whether there was room.
bool audience::prepend(const std::vector<message_ptr>& older, sequence after) {
  const auto begin = std::upper_bound(older.begin(), older.end(), after, is_above);
  auto end = begin;
  std::size_t bytes = 0;
  for (; end != older.end() && (*end)->seq <= recent_after_; ++end) bytes += memory_of(**end);
  const auto count = static_cast<std::size_t>(end - begin);
  if (count > 0 && (recent_.size() + count > options_.recent_max / 2 || recent_bytes_ + bytes > options_.recent_bytes_max / 2)) return false;
  recent_.insert(recent_.begin(), begin, end);
  first_ -= count;
  recent_bytes_ += bytes;
  recent_after_ = after;
  return true;
}

// --- the store ----------------------------------------------------------------------------------------------------------------------------

void audience::want_page(reader_id who, steady_time now, audience_effects& out) {
  auto& r = readers_[who];
  if (r.behind->asked || r.behind->page) return;
  if (r.behind->not_before > now) return note_due(r.behind->not_before);
  r.behind->asked = true;
  auto& waiting = wanted_pages_[r.floor];
  if (waiting.empty()) pages_to_read_.push_back(r.floor);
  waiting.push_back(who);
  read_next(out);
}

void audience::read_next(audience_effects& out) {
  for (; reads_ < reads_max && !pages_to_read_.empty(); pages_to_read_.pop_front(), ++reads_)
    out.reads.push_back({pages_to_read_.front(), options_.page_max});
}

void audience::page(sequence after, const stored_page& x, steady_time now, audience_effects& out) {
  --reads_;
  auto waiting = wanted_pages_.extract(after);
  auto messages = x.messages;
  while (!messages.empty() && messages.back()->seq > x.complete_to) messages.pop_back();
  // Nothing lies between the page and what is in memory.
  const bool whole = (!x.more && x.complete_to >= recent_after_) || (!messages.empty() && messages.back()->seq >= recent_after_);
  if (whole && after < recent_after_) prepend(messages, std::max(after, std::min(x.gone_to, recent_after_)));
  if (whole) {
    const auto upto = std::max(messages.empty() ? recent_after_ : messages.back()->seq, recent_after_);
    auto next = std::upper_bound(recent_.begin(), recent_.end(), upto, is_above);
    for (unsigned i = 0; i < window_max && next != recent_.end(); ++i) messages.push_back(*next++);
  }
  // A page has all that may be in flight: else an ack by id of what lies beyond it would seem to be nobody's.
  const bool enough = whole || messages.size() >= window_max;
  const auto shared = std::make_shared<const std::vector<message_ptr>>(std::move(messages));
  if (!waiting.empty()) {
    for (const auto who : waiting.mapped()) {
      auto& r = readers_[who];
      if (!r.used || !r.behind || !r.behind->asked || r.floor != after) continue;
      r.behind->asked = false;
      if (!enough) {
        r.behind->not_before = now + read_retry;  // the store is not as far yet
        note_due(r.behind->not_before);
        continue;
      }
      if (x.gone_to > r.floor && !r.unread_past) {
        const auto upto = shared->empty() ? x.gone_to : std::min(x.gone_to, sequence{shared->front()->seq.value - 1});
        if (upto > r.floor) {
          out.gaps.push_back({who, {r.floor.value + 1}, upto});
          r.floor = upto;
          make_dirty(who, false);
        }
      }
      r.unread_past = false;
      if (r.floor >= recent_after_) {
        place(who, now, out);
      } else if (const auto first = std::upper_bound(shared->begin(), shared->end(), r.floor, is_above); first != shared->end()) {
        r.behind->page = shared;
        r.at = static_cast<std::uint64_t>(first - shared->begin());
        restore_marks(r, r.behind->acked, r.behind->sent_upto, r.behind->nacked);
      } else {
        // Nothing of this channel is left below what is in memory; or the gap is longer than the page.
        if (whole) r.floor = recent_after_;
        place(who, now, out);
      }
      take_waiting_acks(who, now, out);
      fill(who, now, out);
    }
  }
  read_next(out);
}

void audience::page_failed(sequence after, steady_time now) {
  --reads_;
  const auto waiting = wanted_pages_.extract(after);
  if (waiting.empty()) return;
  for (const auto who : waiting.mapped()) {
    auto& r = readers_[who];
    if (!r.used || !r.behind || !r.behind->asked || r.floor != after) continue;
    r.behind->asked = false;
    r.behind->not_before = now + read_retry;
    note_due(r.behind->not_before);
  }
}

}  // namespace doorstep
