// SPDX-License-Identifier: Apache-2.0
#include "net/internal_caller.hpp"

#include "net/site.hpp"
#include "runtime/log.hpp"

#include <algorithm>

namespace doorstep {
namespace {

constexpr std::size_t about_bytes_max = 512;

}  // namespace

std::optional<api_key> caller_of(const site& at, const http_request& head, const connection_facts& facts) {
  const auto believed = at.trusted();
  if (!facts.common_name.empty())
    if (const auto* found = believed->keys.find_certificate(facts.common_name)) return *found;
  const auto value = head[boost::beast::http::field::authorization];
  if (const auto* found = believed->keys.find(bearer_of({value.data(), value.size()}))) return *found;
  return {};
}

http_reply audited(const char* action, const api_key& who, const connection_facts& facts, const std::string& about, http_reply done) {
  auto end = std::min(about.size(), about_bytes_max);
  while (end < about.size() && end > 0 && (static_cast<unsigned char>(about[end]) & 0xC0) == 0x80) --end;  // not within a character
  auto text = about.substr(0, end);
  return [=, by = who.name, remote = facts.remote, text = std::move(text), done = std::move(done)](http_answer what) {
    log_line(log_level::audit, "audit", action).with("who", by).with("remote", remote).with("what", text).with("status", what.status);
    done(std::move(what));
  };
}

}  // namespace doorstep
