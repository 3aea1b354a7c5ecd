// SPDX-License-Identifier: Apache-2.0
// Clients that live as phones do: each connection ends after a random time, seldom with a goodbye, and comes back after a short pause with what it saw last.
// Each reads its mailbox and two channels and acks all of it. One thread runs them, as client_pool's.
#pragma once

#include "bench/client_pool.hpp"
#include "bench/crowd_ledger.hpp"

#include <deque>
#include <queue>
#include <random>

namespace bench {

struct crowd_options {
  double mean_drop_seconds = 30;                          ///< how long a connection lasts, on average; the times are exponential
  double pause_min_seconds = 0.1, pause_max_seconds = 3;  ///< until it is there again
  double goodbyes = 0.2, cuts = 0.4;                      ///< shares of the drops: a close frame; the socket closed. The others fall silent
  double silence_seconds = 15;                            ///< how long the socket of one that fell silent stays open, unread
  double deaf_max_seconds = 1;                            ///< before a drop: messages come in and no ack gets out, so that they come again
  std::uint32_t seed = 1;
};

class crowd_clients final : public client_pool {
public:
  crowd_clients(client_options options, crowd_options crowd, crowd_ledger& book, histogram& latency);
  ~crowd_clients() override;
  crowd_clients(const crowd_clients&) = delete;
  crowd_clients& operator=(const crowd_clients&) = delete;

  /// From now on connections end and come back.
  void roam();
  /// Nobody drops any more; who is away comes back in time.
  void settle();
  /// Everybody says goodbye and comes once more.
  void call_the_roll();
  /// Serves sockets, drops and returns for so long.
  void live(std::int64_t nanoseconds);
  bool everybody_is_there() const { return counts_.live == options_.users; }

  std::uint64_t goodbyes = 0, cuts = 0, silences = 0, returns = 0;
  std::uint64_t lost_by_server = 0;  ///< connections that the server ended, or never took

private:
  struct phone {
    std::int64_t live_since = 0;
    std::uint32_t life = 0;  ///< so that plans of an earlier connection are void
    bool is_deaf = false;    ///< its acks reach nobody any more; it is about to drop
    std::array<std::deque<std::pair<std::uint64_t, std::string>>, crowd_ledger::kinds> without_receipt{};  ///< seq and id of what was acked
    std::array<std::uint64_t, crowd_ledger::kinds> acked_up_to{};
    std::array<std::uint64_t, crowd_ledger::kinds> to_ack{};
  };
  struct plan {
    std::int64_t at_ns;
    std::size_t index;
    std::uint32_t life;
    bool operator>(const plan& other) const { return at_ns > other.at_ns; }
  };
  std::string token_of(std::size_t index) const override;
  std::string members_of_connect(std::size_t index) const override;
  void greeted(std::size_t index, std::string_view line) override;
  void message(std::size_t index, std::string_view line) override;
  void receipt(std::size_t index, std::string_view line) override;
  std::string ack_of(std::size_t index) override;
  void lost_connection(std::size_t index) override;

  void forget_connection(std::size_t index);
  void note_receipt(std::size_t index, std::size_t kind, std::uint64_t up_to);
  void note_ack(std::size_t index, std::size_t kind, std::uint64_t seq, std::string_view id);
  void note_ids(std::size_t index, std::string_view line);
  void repeat_acks(std::size_t index);
  void carry_out(const plan& x);
  void go(std::size_t index, farewell how);
  void plan_in(std::size_t index, double seconds);
  double random_share() { return std::uniform_real_distribution<double>()(random_); }
  double pause();

  crowd_options crowd_;
  crowd_ledger& crowd_book_;
  ledger nobody_{0};
  std::mt19937_64 random_;
  std::vector<phone> phones_;
  std::priority_queue<plan, std::vector<plan>, std::greater<>> plans_;  ///< the next drop or return of each
  std::deque<std::pair<std::int64_t, int>> silent_;                     ///< when to close which descriptor
  bool roams_ = false;
};

}  // namespace bench
