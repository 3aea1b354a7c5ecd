// SPDX-License-Identifier: Apache-2.0
// What sessions share: buffers, the flush of a turn, and the count of connections.
#include "net/site.hpp"

#include "net/ws_session.hpp"

#include <utility>

namespace doorstep {

void desk::flush_soon(std::shared_ptr<ws_session> who) {
  to_flush_.push_back(std::move(who));
  if (to_flush_.size() > 1) return;
  where.post([this] {
    std::swap(to_flush_, flushing_);
    for (const auto& x : flushing_) x->flush();
    flushing_.clear();
  });
}

std::string desk::take_buffer() {
  if (spare_.empty()) return {};
  auto buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void desk::give_back(std::string&& buffer) {
  constexpr std::size_t spare_max = 256, bytes_max = 64 * 1024;
  if (spare_.size() >= spare_max || buffer.capacity() > bytes_max || buffer.capacity() < 64) {
    std::string().swap(buffer);
    return;
  }
  buffer.clear();
  spare_.push_back(std::move(buffer));
}

site::site(const config& x, std::vector<loop*> loops, front_door& d, intake& i, inspection& l, metrics& n, asset_finder a)
    : settings(x),
      door(d),
      in(i),
      look(l),
      numbers(n),
      assets(std::move(a)),
      tickets(x.auth.tickets_max),
      users(settings.ws),
      addresses(x.http.connections_per_address_max) {
  for (auto* one : loops) desks.push_back(std::make_unique<desk>(*one));
}

desk& site::desk_of(const loop& home) {
  for (const auto& one : desks)
    if (&one->where == &home) return *one;
  return *desks.front();
}

std::shared_ptr<const trust> site::trusted() const {
  const std::lock_guard lock(mutex_);
  return trusted_;
}

void site::use(std::shared_ptr<const trust> next) {
  const std::lock_guard lock(mutex_);
  trusted_.swap(next);
}

connection_slot::connection_slot(std::shared_ptr<site> of, const std::string& ip) : of_(std::move(of)) {
  address_ = of_->addresses.join(ip);
  of_->connections.fetch_add(1, std::memory_order_relaxed);
  of_->numbers.connections.add(1);
}

connection_slot& connection_slot::operator=(connection_slot&& other) noexcept {
  if (this != &other) {
    give_back();
    of_ = std::move(other.of_);
    address_ = std::move(other.address_);
  }
  return *this;
}

void connection_slot::give_back() {
  if (!of_) return;
  of_->connections.fetch_sub(1, std::memory_order_relaxed);
  of_->numbers.connections.add(-1);
  address_.reset();
  of_.reset();
}

}  // namespace doorstep
