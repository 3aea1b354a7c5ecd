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
  if (x.counts) more.push_back(*x.counts);
  send(std::move(more));
}

void outlet::open() {
  open_ = true;
  for (const auto& x : std::exchange(held_, {})) push(x);
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
    if (!r.up_to.empty() && (later_.up_to.empty() || later_.up_to.front().second < r.up_to.front().second)) later_.up_to = r.up_to;
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
