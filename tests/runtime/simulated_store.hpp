// SPDX-License-Identifier: Apache-2.0
// The store of outbox_simulation.cpp: cursor record and dead letters of one user, written together or not at all, and what must hold of them (I3, I7, I8).
#pragma once

#include "runtime/outbox.hpp"
#include "tests/runtime/hazards.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace doorstep::test {

inline message_ptr simulated_message(std::uint64_t seq, unix_ms appended, unix_ms expires, std::size_t bytes,
                                     std::shared_ptr<const delivery_terms> terms) {
  auto x = std::make_shared<message>();
  x->seq = {seq};
  x->id = "m" + std::to_string(seq);
  x->appended = appended;
  x->terms = std::move(terms);
  if (expires.value == 0 && bytes == 0) return x;
  auto what = std::make_shared<event>();
  what->expires = expires;
  what->data = std::string(bytes, 'x');
  x->what = std::move(what);
  return x;
}

inline std::uint64_t count_between(const std::vector<message_ptr>& log, sequence after, sequence upto) {
  return static_cast<std::uint64_t>(std::count_if(log.begin(), log.end(), [&](const auto& x) { return x->seq > after && x->seq <= upto; }));
}

/// Above what is complete a store may show some and hide others.
template <class Hides>
stored_page page_of_log(const std::vector<message_ptr>& log, sequence after, std::size_t limit, sequence complete_to, bool lagging, Hides hides) {
  stored_page page;
  page.complete_to = complete_to;
  for (const auto& x : log) {
    if (x->seq <= after || (x->seq > complete_to && hides())) continue;
    if (lagging && x->seq.value > complete_to.value + 6) break;
    if (page.messages.size() == limit) {
      page.more = true;
      break;
    }
    page.messages.push_back(x);
  }
  return page;
}

struct simulated_batch {
  cursor_record record;
  std::vector<given_up> dead;
};

inline delivery_terms::ordering order_of(const message& x, delivery_terms::ordering otherwise) {
  return x.terms && x.terms->order != delivery_terms::ordering::configured ? x.terms->order : otherwise;
}
inline std::string key_of(const message& x) { return x.terms ? x.terms->key : std::string(); }

class simulated_store {
public:
  explicit simulated_store(delivery_terms::ordering order) : order_(order) {}
  const cursor_record& record() const { return record_; }
  bool is_dead(std::uint64_t seq) const { return dead_.contains(seq); }
  std::size_t dead_count() const { return dead_.size(); }

  /// In all runs, by reason: a simulation that buries nothing proves nothing about it.
  static inline std::array<std::size_t, dead_reasons_max> buried{};
  static inline std::size_t superseded = 0;

  /// @param handled what clients have handled so far.
  void apply(const simulated_batch& x, const std::vector<message_ptr>& log, const std::set<std::uint64_t>& handled) {
    for (const auto& d : x.dead) {
      const auto seq = d.what->seq;
      if (!x.record.acked.is_acked(seq)) throw violation("I3: a dead letter that its record does not settle: " + d.what->id);
      if (!dead_.contains(seq.value) && record_.acked.is_acked(seq)) throw violation("I7: acked and dead: " + d.what->id);
      if (dead_.emplace(seq.value, d.reason).second) ++buried[static_cast<std::size_t>(d.reason)];
    }
    if (x.record.version <= record_.version) return;
    for (const auto& m : log) {
      const bool was = record_.acked.is_acked(m->seq), is = x.record.acked.is_acked(m->seq);
      if (was && !is) throw violation("I8: an ack was taken back: " + m->id);
      if (!is || was || handled.contains(m->seq.value) || is_dead(m->seq.value)) continue;
      if (!has_newer(*m, log)) throw violation("I3: settled, neither handled nor dead nor superseded: " + m->id);
      superseded_.insert(m->seq.value);
      ++superseded;
    }
    record_ = x.record;
  }

  /// A session is told what another one acked.
  void check_told(const std::vector<std::string>& ids) const {
    for (const auto& id : ids)
      if (!record_.acked.is_acked({std::stoull(id.substr(1))})) throw violation("told of an ack before the store has it: " + id);
  }

  /// stored = acked + dead (by any reason) + superseded, with nothing pending.
  bool has_settled(const std::vector<message_ptr>& log, const std::set<std::uint64_t>& handled) const {
    for (const auto& m : log)
      if (!record_.acked.is_acked(m->seq) || (!handled.contains(m->seq.value) && !is_dead(m->seq.value) && !superseded_.contains(m->seq.value)))
        return false;
    return true;
  }

private:
  /// One of its key that may have taken its place.
  bool has_newer(const message& x, const std::vector<message_ptr>& log) const {
    const auto latest = delivery_terms::ordering::latest;
    return order_of(x, order_) == latest && std::any_of(log.begin(), log.end(), [&](const message_ptr& y) {
             return y->seq > x.seq && order_of(*y, order_) == latest && key_of(*y) == key_of(x);
           });
  }

  delivery_terms::ordering order_;
  cursor_record record_;
  std::map<std::uint64_t, dead_reason> dead_;
  std::set<std::uint64_t> superseded_;
};

}  // namespace doorstep::test
