// SPDX-License-Identifier: Apache-2.0
#include "bench/crowd_ledger.hpp"

#include <algorithm>
#include <numeric>

namespace bench {

std::string crowd_ledger::address_of(std::size_t user, std::size_t kind) {
  return kind == mailbox ? "user:b" + std::to_string(user) : kind == role ? "role:crowd" : "all";
}

std::optional<std::size_t> crowd_ledger::kind_of(std::size_t user, std::string_view address) {
  for (std::size_t kind = 0; kind < kinds; ++kind)
    if (address == address_of(user, kind) && (kind != role || has_role(user))) return kind;
  return std::nullopt;
}

crowd_ledger::crowd_ledger(std::size_t users) : users_(users), book_(users * kinds), accounts_(users * kinds), seqs_(users + 2) {}

bool crowd_ledger::has_one_seq(std::size_t target, std::uint32_t number, std::uint64_t seq) {
  auto& mine = seqs_[target];
  if (number >= mine.size()) mine.resize(std::max<std::size_t>(number + 1, mine.size() * 2));
  if (mine[number] == 0) mine[number] = seq;
  return mine[number] == seq;
}

bool crowd_ledger::delivered(std::size_t user, std::string_view address, std::uint32_t number, std::uint64_t seq, bool flagged) {
  const auto kind = kind_of(user, address);
  if (!kind || number == 0 || seq == 0) {
    ++unexpected;
    return false;
  }
  if (!has_one_seq(*kind == mailbox ? user : users_ + *kind - 1, number, seq)) ++unexpected;
  account& mine = of(user, *kind);
  const bool is_first = book_.delivered(user * kinds + *kind, number, flagged);
  if (is_first) {
    ++first_of_kind[*kind];
    if (seq <= mine.highest_seq) ++reordered_seqs_;
  } else if (seq <= mine.floor) {
    ++unexpected;  // this connection was greeted with it as acked
  }
  mine.highest_seq = std::max(mine.highest_seq, seq);
  return is_first;
}

void crowd_ledger::greeted(std::size_t user, std::size_t kind, std::uint64_t floor) {
  account& mine = of(user, kind);
  if (floor < mine.receipted || floor < mine.floor) ++unexpected;
  mine.floor = floor;
  mine.receipted = std::max(mine.receipted, floor);
}

void crowd_ledger::receipted(std::size_t user, std::size_t kind, std::uint64_t up_to) {
  account& mine = of(user, kind);
  mine.receipted = std::max(mine.receipted, up_to);
}

std::vector<std::uint32_t> crowd_ledger::sent_to_each(const std::vector<std::uint32_t>& sent) const {
  std::vector<std::uint32_t> out(users_ * kinds);
  for (std::size_t user = 0; user < users_; ++user) {
    out[user * kinds + mailbox] = sent[user];
    out[user * kinds + role] = has_role(user) ? sent[users_] : 0;
    out[user * kinds + all] = sent[users_ + 1];
  }
  return out;
}

std::uint64_t crowd_ledger::lost(const std::vector<std::uint32_t>& sent) const { return book_.lost(sent_to_each(sent)); }

std::uint64_t crowd_ledger::owed(const std::vector<std::uint32_t>& sent) const {
  const auto each = sent_to_each(sent);
  return std::accumulate(each.begin(), each.end(), std::uint64_t{0});
}

std::uint64_t crowd_ledger::without_receipt() const {
  return static_cast<std::uint64_t>(std::count_if(accounts_.begin(), accounts_.end(), [](const account& x) { return x.receipted < x.highest_seq; }));
}

}  // namespace bench
