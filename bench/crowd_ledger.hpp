// SPDX-License-Identifier: Apache-2.0
// What a crowd is owed and what it got: every client reads its mailbox and all, every second one also role:crowd. Messages of each address carry 1, 2, 3, ...
// Pure; used by the client thread.
#pragma once

#include "bench/statistics.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

class crowd_ledger {
public:
  static constexpr std::size_t mailbox = 0, role = 1, all = 2, kinds = 3;
  static bool has_role(std::size_t user) { return user % 2 == 0; }
  /// Which of the user's addresses that is; nothing where the user may not read it.
  static std::optional<std::size_t> kind_of(std::size_t user, std::string_view address);
  static std::string address_of(std::size_t user, std::size_t kind);

  explicit crowd_ledger(std::size_t users);

  /// A message came. @returns true for a first delivery.
  bool delivered(std::size_t user, std::string_view address, std::uint32_t number, std::uint64_t seq, bool flagged);
  /// A connection was greeted with this acked floor.
  void greeted(std::size_t user, std::size_t kind, std::uint64_t floor);
  void receipted(std::size_t user, std::size_t kind, std::uint64_t up_to);
  /// The highest seq that came.
  std::uint64_t highest(std::size_t user, std::size_t kind) const { return of(user, kind).highest_seq; }

  /// How many that somebody was owed never came. @param sent to each user, to role:crowd, to all.
  std::uint64_t lost(const std::vector<std::uint32_t>& sent) const;
  std::uint64_t owed(const std::vector<std::uint32_t>& sent) const;  ///< deliveries that these messages make
  /// Of how many addresses of clients the last receipt is below the last message.
  std::uint64_t without_receipt() const;

  std::uint64_t first() const { return book_.first; }
  std::uint64_t repeated_flagged() const { return book_.repeated_flagged; }
  std::uint64_t repeated_unflagged() const { return book_.repeated_unflagged; }
  /// By number, or by seq.
  std::uint64_t reordered() const { return book_.reordered + reordered_seqs_; }
  std::array<std::uint64_t, kinds> first_of_kind{};
  std::uint64_t unexpected = 0;  ///< what the client may not read, under two seqs, acked for nothing, or a floor that went down

private:
  struct account {
    std::uint64_t highest_seq = 0, receipted = 0, floor = 0;
  };
  const account& of(std::size_t user, std::size_t kind) const { return accounts_[user * kinds + kind]; }
  account& of(std::size_t user, std::size_t kind) { return accounts_[user * kinds + kind]; }
  std::vector<std::uint32_t> sent_to_each(const std::vector<std::uint32_t>& sent) const;
  bool has_one_seq(std::size_t target, std::uint32_t number, std::uint64_t seq);

  std::size_t users_;
  ledger book_;
  std::vector<account> accounts_;
  std::vector<std::vector<std::uint64_t>> seqs_;  ///< of each address by number: a message has one seq for everybody
  std::uint64_t reordered_seqs_ = 0;
};

}  // namespace bench
