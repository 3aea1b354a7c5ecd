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

inline message_ptr simulated_message(std::uint64_t seq, unix_ms appended, unix_ms expires) {
  auto x = std::make_shared<message>();
  x->seq = {seq};
  x->id = "m" + std::to_string(seq);
  x->appended = appended;
  if (expires.value == 0) return x;
  auto what = std::make_shared<event>();
  what->expires = expires;
  x->what = std::move(what);
  return x;
}

inline std::uint64_t count_between(const std::vector<message_ptr>& log, sequence after, sequence upto) {
  return static_cast<std::uint64_t>(std::count_if(log.begin(), log.end(), [&](const auto& x) { return x->seq > after && x->seq <= upto; }));
}

struct simulated_batch {
  cursor_record record;
  std::vector<given_up> dead;
};

class simulated_store {
public:
  const cursor_record& record() const { return record_; }
  bool is_dead(std::uint64_t seq) const { return dead_.contains(seq); }
  std::size_t dead_count() const { return dead_.size(); }

  /// In all runs, by reason: a simulation that buries nothing proves nothing about it.
  static inline std::array<std::size_t, dead_reasons_max> buried{};

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
      if (is && !was && !handled.contains(m->seq.value) && !is_dead(m->seq.value)) throw violation("I3: settled, neither handled nor dead: " + m->id);
    }
    record_ = x.record;
  }

  /// A session is told what another one acked.
  void check_told(const std::vector<std::string>& ids) const {
    for (const auto& id : ids)
      if (!record_.acked.is_acked({std::stoull(id.substr(1))})) throw violation("told of an ack before the store has it: " + id);
  }

  /// stored = acked + dead (by any reason), with nothing pending.
  bool has_settled(const std::vector<message_ptr>& log, const std::set<std::uint64_t>& handled) const {
    for (const auto& m : log)
      if (!record_.acked.is_acked(m->seq) || (!handled.contains(m->seq.value) && !is_dead(m->seq.value))) return false;
    return true;
  }

private:
  cursor_record record_;
  std::map<std::uint64_t, dead_reason> dead_;
};

}  // namespace doorstep::test
