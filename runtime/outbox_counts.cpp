// SPDX-License-Identifier: Apache-2.0
// What is unread and unseen: live messages are counted as they come, the rest is the store's to count (docs/decisions/0008-inbox-states.md). Pure, any thread.
#include "runtime/outbox.hpp"

#include <algorithm>

namespace doorstep {

void outbox::count_unread(const heard& x, outbox_effects& out) {
  if (x.seq <= counted_) return;
  counted_ = x.seq;
  count_owed(x);
  // Marked before it was heard of, as by a client that has it from the history.
  if (x.seq <= marks_top_) {
    out.recount = true;
    return;
  }
  ++unread_;
  ++unseen_;
  out.counts_changed = true;
  if (!recounting_) return;
  recount_lost_ = recount_lost_ || since_recount_.size() == recount_max;
  if (!recount_lost_) since_recount_.push_back(x.seq);
}

void outbox::recount(sequence marks_top) {
  marks_top_ = marks_top;
  recounting_ = true;
  recount_lost_ = false;
  recount_from_ = counted_;
  since_recount_.clear();
}

bool outbox::recounted(const stored_mailbox& x, outbox_effects& out) {
  const auto complete_to = x.page.complete_to;
  if (recount_lost_)
    recount(marks_top_);
  else if (complete_to >= recount_from_)
    recounting_ = false;
  if (recounting_) return false;
  std::erase_if(since_recount_, [&](sequence seq) { return seq <= complete_to; });
  unread_ = x.unread + since_recount_.size();
  unseen_ = x.unseen + since_recount_.size();
  // What the store has counted and the log has not brought yet must not be counted once more.
  marks_top_ = std::max(marks_top_, complete_to);
  out.counts_changed = true;
  return true;
}

}  // namespace doorstep
