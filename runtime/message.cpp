// SPDX-License-Identifier: Apache-2.0
// The id of a message and the names of the reasons to give one up. Both are stored and on the wire: never change one. Pure, any thread.
#include "runtime/message.hpp"

#include "runtime/digest.hpp"

#include <array>
#include <utility>

namespace doorstep {

namespace {

constexpr std::array<std::pair<dead_reason, std::string_view>, 7> reasons{{
    {dead_reason::malformed, "malformed"},
    {dead_reason::no_route, "no-route"},
    {dead_reason::max_attempts, "max-attempts"},
    {dead_reason::nacked, "nacked"},
    {dead_reason::expired, "expired"},
    {dead_reason::overflow, "overflow"},
    {dead_reason::poison, "poison"},
}};

}  // namespace

std::string_view name(dead_reason x) {
  for (const auto& [reason, text] : reasons)
    if (reason == x) return text;
  return "malformed";
}

result<dead_reason> dead_reason_from(std::string_view name) {
  for (const auto& [reason, text] : reasons)
    if (text == name) return reason;
  return failure{ec::malformed, "there is no such reason", {}};
}

std::string message_id(std::string_view source, std::string_view event_id, const address& to) {
  // NUL stands in none of the three (attributes and addresses refuse control characters), so no two triples give the same bytes.
  std::string bytes;
  bytes.reserve(source.size() + event_id.size() + to.text().size() + 2);
  bytes.append(source).append(1, '\0').append(event_id).append(1, '\0').append(to.text());
  const auto digest = sha256(bytes);
  return base64url({reinterpret_cast<const char*>(digest.data()), 16});
}

}  // namespace doorstep
