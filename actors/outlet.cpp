// SPDX-License-Identifier: Apache-2.0
#include "actors/outlet.hpp"

#include <algorithm>

namespace doorstep {

void outlet::push(const push_messages& x) {
  if (!socket_) return;
  if (!open_) {
    held_.push_back(x);
    return;
  }
  for (const auto& p : x.messages) note_seen(p.what->seq);
  if (!x.messages.empty()) socket_->push(x.messages);
  const bool waiting = !later_.up_to.empty() || !later_.ids.empty();
  if (!x.counts && !waiting) return;
  std::vector<server::event> more;
  if (x.counts) {
    of_mailbox_ = *x.counts;
    if (const auto all = counted_.empty() ? x.counts : sum()) more.emplace_back(*(told_ = all));
    if (more.empty() && !waiting) return;
  }
  send(std::move(more));
}

void outlet::push_shared(const shared_push_ptr& x) {
  if (!socket_) return;
  if (!left_.empty() && std::find(left_.begin(), left_.end(), x->what().what->to) != left_.end()) return;
  if (open_) {
    socket_->push_shared(*x);
    return;
  }
  const auto same = std::find_if(held_shared_.begin(), held_shared_.end(), [&](const auto& y) { return y->what().what == x->what().what; });
  if (same == held_shared_.end())
    held_shared_.push_back(x);
  else
    *same = x;  // the later round, flagged
}

void outlet::join_channel(const address& of) {
  std::erase(left_, of);
  if (counts_wanted_ && std::none_of(counted_.begin(), counted_.end(), [&](const counted& x) { return x.of == of; })) counted_.push_back({of, {}});
}

std::optional<server::counts> outlet::sum() const {
  auto out = of_mailbox_;
  for (const auto& x : counted_) {
    if (!x.what) return std::nullopt;
    out.unread += x.what->unread;
    out.unseen += x.what->unseen;
  }
  return out;
}

void outlet::channel_counts(const address& of, const server::counts& what) {
  const auto found = std::find_if(counted_.begin(), counted_.end(), [&](const counted& x) { return x.of == of; });
  if (found == counted_.end()) return;
  found->what = what;
  tell_counts();
}

void outlet::tell_counts() {
  if (!open_) return;
  const auto all = sum();
  if (!all || (told_ && told_->unread == all->unread && told_->unseen == all->unseen)) return;
  told_ = all;
  send({*all});
}

void outlet::leave_channel(const address& of, bool for_good) {
  if (std::erase_if(counted_, [&](const counted& x) { return x.of == of; }) > 0) tell_counts();
  std::erase_if(held_shared_, [&](const shared_push_ptr& x) { return x->what().what->to == of; });
  if (for_good && std::find(left_.begin(), left_.end(), of) == left_.end()) left_.push_back(of);
}

void outlet::open() {
  open_ = true;
  for (const auto& x : std::exchange(held_, {})) push(x);
  for (const auto& x : std::exchange(held_shared_, {})) push_shared(x);
  if (counts_wanted_) tell_counts();
}

void outlet::send(std::vector<server::event> events) {
  if (!later_.up_to.empty() || !later_.ids.empty()) events.push_back(std::exchange(later_, {}));
  if (socket_ && !events.empty()) socket_->send(events);
}

bool outlet::add_receipts(const std::vector<server::receipt>& receipts) {
  std::vector<server::event> now;
  for (const auto& r : receipts) {
    if (r.id != 0) {
      now.push_back(r);
      continue;
    }
    for (const auto& [of, seq] : r.up_to) {
      const auto known = std::find_if(later_.up_to.begin(), later_.up_to.end(), [&of = of](const auto& x) { return x.first == of; });
      if (known == later_.up_to.end())
        later_.up_to.emplace_back(of, seq);
      else
        known->second = std::max(known->second, seq);
    }
    later_.ids.insert(later_.ids.end(), r.ids.begin(), r.ids.end());
  }
  if (!now.empty()) {
    send(std::move(now));
    return false;
  }
  return !later_.up_to.empty() || !later_.ids.empty();
}

void outlet::close(close_code code, std::string reason, milliseconds delay) {
  if (socket_) socket_->close(code, std::move(reason), delay);
}

}  // namespace doorstep
