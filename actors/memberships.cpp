// SPDX-License-Identifier: Apache-2.0
#include "actors/memberships.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace doorstep {

std::vector<address> channels_of(const identity& who, const route_table::channel_kinds& kinds) {
  std::vector<address> out;
  const auto add = [&](std::string_view kind, const std::vector<std::string>& names) {
    for (const auto& name : names)
      if (auto made = address::channel(kind, name)) out.push_back(std::move(*made));
  };
  if (kinds.role) add("role", who.roles);
  if (kinds.group) add("group", who.groups);
  if (kinds.all) out.push_back(address::all());
  return out;
}

membership* memberships::find(const address& of) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const membership& x) { return x.of == of; });
  return found == all.end() ? nullptr : &*found;
}

bool memberships::is_settled() const {
  return std::all_of(all.begin(), all.end(), [](const membership& x) { return x.channel != nullptr || x.refused_until; });
}

std::size_t memberships::subscribed() const {
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const membership& x) { return !x.by_token; }));
}

joint_ack* memberships::begin_ack(request_id request) {
  if (acks_.size() >= acks_max) return nullptr;
  acks_.push_back({next_token_++, request, {}, false, {}, 0, {}, {request, {}, {}}});
  return &acks_.back();
}

joint_ack* memberships::find_ack(std::uint64_t token) {
  const auto found = std::find_if(acks_.begin(), acks_.end(), [&](const joint_ack& x) { return x.token == token; });
  return found == acks_.end() ? nullptr : &*found;
}

joint_ack* memberships::answered(const reader_acked& x) {
  auto* ack = find_ack(x.token);
  if (ack == nullptr) return nullptr;
  std::erase(ack->asked, x.of);
  const bool named = std::find(ack->named.begin(), ack->named.end(), x.of) != ack->named.end();
  if (named || !x.ids.empty()) ack->collected.up_to.emplace_back(x.of, x.up_to);
  for (const auto& id : x.ids) {
    ack->collected.ids.push_back(id);
    std::erase(ack->unclaimed, id);
  }
  return --ack->channels_left == 0 ? ack : nullptr;
}

std::vector<request_id> memberships::drop_acks_of(const address& of) {
  std::vector<request_id> out;
  std::erase_if(acks_, [&](const joint_ack& x) {
    if (std::find(x.asked.begin(), x.asked.end(), of) == x.asked.end()) return false;
    if (x.request != 0) out.push_back(x.request);
    return true;
  });
  return out;
}

joint_mark* memberships::begin_mark(request_id request, std::size_t parts, std::vector<address> channels) {
  if (marks_.size() >= acks_max) return nullptr;
  marks_.push_back({next_token_++, request, parts, std::move(channels)});
  return &marks_.back();
}

std::optional<joint_mark> memberships::mark_answered(std::uint64_t token, const std::optional<failure>& why) {
  const auto found = std::find_if(marks_.begin(), marks_.end(), [&](const joint_mark& x) { return x.token == token; });
  if (found == marks_.end()) return std::nullopt;
  if (why) found->why = why;
  if (--found->left > 0) return std::nullopt;
  auto out = std::move(*found);
  marks_.erase(found);
  return out;
}

std::vector<request_id> memberships::drop_marks_of(const address& of) {
  std::vector<request_id> out;
  std::erase_if(marks_, [&](const joint_mark& x) {
    if (!of.empty() && std::find(x.of.begin(), x.of.end(), of) == x.of.end()) return false;
    if (x.request != 0) out.push_back(x.request);
    return true;
  });
  return out;
}

std::uint64_t memberships::begin_list(request_id request, const history_query& query, std::size_t parts) {
  if (lists_.size() >= lists_max) return 0;
  lists_.push_back({next_token_++, query, parts, {request, {}, false, {}}});
  return lists_.back().number;
}

std::optional<server::history> memberships::add_to_list(std::uint64_t number, server::history part, std::uint32_t shards) {
  const auto found = std::find_if(lists_.begin(), lists_.end(), [&](const inbox_list& x) { return x.number == number; });
  if (found == lists_.end()) return std::nullopt;
  auto& page = found->page;
  page.more = page.more || part.more;
  std::move(part.messages.begin(), part.messages.end(), std::back_inserter(page.messages));
  if (--found->left > 0) return std::nullopt;
  const auto place = [&](const server::past& x) { return std::tuple(x.what->appended, shard_of(x.what->to, shards), x.what->seq); };
  std::sort(page.messages.begin(), page.messages.end(), [&](const auto& x, const auto& y) { return place(x) < place(y); });
  // Each part had room for a whole page, so what is over belongs to the next one.
  if (const auto limit = found->query.limit; page.messages.size() > limit) {
    page.more = true;
    const auto over = static_cast<std::ptrdiff_t>(page.messages.size() - limit);
    if (found->query.newest)
      page.messages.erase(page.messages.begin(), page.messages.begin() + over);
    else
      page.messages.erase(page.messages.end() - over, page.messages.end());
  }
  auto out = std::move(page);
  lists_.erase(found);
  return out;
}

std::optional<request_id> memberships::drop_list(std::uint64_t number) {
  const auto found = std::find_if(lists_.begin(), lists_.end(), [&](const inbox_list& x) { return x.number == number; });
  if (found == lists_.end()) return std::nullopt;
  const auto request = found->page.id;
  lists_.erase(found);
  return request;
}

void memberships::end_ack(std::uint64_t token) {
  std::erase_if(acks_, [&](const joint_ack& x) { return x.token == token; });
}

}  // namespace doorstep
