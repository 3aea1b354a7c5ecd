// SPDX-License-Identifier: Apache-2.0
#include "runtime/devices.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep {

namespace {

constexpr char separator = '\x1f';

push_horizon both(const push_horizon& a, const push_horizon& b) { return {std::max(a.upto, b.upto), a.open || b.open}; }

}  // namespace

address device_box(const address& user, std::string_view device) {
  std::string text(user.text());
  text += separator;
  text += device;
  return trusted_address(std::move(text));
}

std::optional<std::string_view> device_of(const address& box) {
  const auto at = box.text().find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  return box.text().substr(at + 1);
}

address user_of(const address& box) {
  const auto at = box.text().find(separator);
  return at == std::string_view::npos ? box : trusted_address(std::string(box.text().substr(0, at)));
}

std::string readable(const address& box) {
  const auto device = device_of(box);
  if (!device) return std::string(box.text());
  return std::string(user_of(box).text()) + " device " + std::string(*device);
}

cursor_record start_of_device(const cursor_record& there, const cursor_record& base, bool others, sequence complete_to) {
  cursor_record out;
  out.user = there.user;
  out.version = there.version;
  if (others) {
    out.acked.raise(complete_to);
  } else {
    out.acked = base.acked;
    out.horizon = base.horizon;
  }
  out.since = out.acked.floor();
  return out;
}

cursor_record base_without(const cursor_record& base, const cursor_record& gone, bool was_last) {
  auto out = base;
  if (was_last) out.acked = gone.acked;
  out.horizon = both(base.horizon, gone.horizon);
  out.version += version_leap;
  return out;
}

cursor_record base_of_all(const cursor_record& base, const std::vector<cursor_record>& devices) {
  if (devices.empty()) return base;
  auto out = base;
  out.acked = devices.front().acked;
  for (const auto& x : devices) {
    out.acked = common_part(out.acked, x.acked);
    out.horizon = both(out.horizon, x.horizon);
  }
  out.version += version_leap;
  return out;
}

}  // namespace doorstep
