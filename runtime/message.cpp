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

/// Of an allocation or two beside the bytes that were asked for.
constexpr std::size_t allocation_bytes = 48;

std::size_t memory_of(const event* x) {
  if (x == nullptr) return 0;
  return sizeof(event) + allocation_bytes + content_bytes(x) + x->extensions.size() * sizeof(std::pair<std::string, std::string>);
}

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

std::uint64_t content_bytes(const event* x) {
  if (x == nullptr) return 0;
  auto bytes = x->id.size() + x->source.size() + x->type.size() + x->subject.size() + x->time.size() + x->data_content_type.size() +
               x->data_schema.size() + x->data.size();
  for (const auto& [name, value] : x->extensions) bytes += name.size() + value.size();
  return bytes;
}

std::size_t memory_of(const message& x) { return sizeof(message) + allocation_bytes + x.to.text().size() + x.id.size() + memory_of(x.what.get()); }

std::size_t memory_of(const dead_letter& x) {
  return sizeof(dead_letter) + x.id.size() + x.detail.size() + x.source.size() + x.topic.size() + memory_of(x.what.get());
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
