// SPDX-License-Identifier: Apache-2.0
#include "actors/count_desk.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep {

namespace {
constexpr milliseconds ask_again{100};
}  // namespace

count_desk::count_desk(const services& parts, const audience& readers, std::vector<sequence> poisoned, steady_time now)
    : parts_(parts),
      readers_(readers),
      counts_(parts.options.delivery.ttl, parts.options.store.retention, std::move(poisoned)),
      caught_up_(parts.store.shares_log()) {
  counts_.begin(readers.recent(), readers.recent_after(), wall(now));
}

void count_desk::open(reader_id who, reader_inboxes& inboxes) {
  const bool known = counts_.is_open(who);
  counts_.open(who, readers_.began(who));
  if (!known) inboxes.look(std::string(readers_.user_of(who)));
}

void count_desk::looked(const std::vector<reader_inboxes::looked>& what) {
  for (const auto& x : what)
    if (const auto who = readers_.find(x.user)) counts_.marks(*who, x.marks);
}

void count_desk::older(const result<stored_history>& page, steady_time now) {
  asking_ = false;
  caught_up_ = caught_up_ || page;
  if (page)
    counts_.older(page->messages, page->more, wall(now));
  else
    not_before_ = now + ask_again;
}

void count_desk::ask(const address& of, const channel_actor& who, steady_time now) {
  const auto below = counts_.wants_older();
  if (!below || asking_ || now < not_before_) return;
  asking_ = true;
  const auto read = [&store = parts_.store, of, who, query = history_query{{}, *below, {}, {}, page_max, true}] {
    store.history(of, query, [who](result<stored_history> page) { caf::anon_send(who, counted_read{std::move(page)}); });
  };
  if (caught_up_) return read();
  // What has left memory may not be in a store that is behind.
  const sequence last{below->value - 1};
  parts_.store.locate(of, {last}, [who, last, read](const result<stored_places>& x) {
    if (x && x->complete_to >= last) return read();
    caf::anon_send(who, counted_read{failure{ec::unavailable, "the store is behind", {}}});
  });
}

std::optional<steady_time> count_desk::next_due(steady_time now) const {
  std::optional<steady_time> at;
  if (counts_.wants_older() && !asking_) at = not_before_;
  if (const auto due = counts_.next_due()) {
    const auto in = now + milliseconds{std::max<std::int64_t>(due->value - wall(now).value, 0)};
    at = at ? std::min(*at, in) : in;
  }
  return at;
}

}  // namespace doorstep
