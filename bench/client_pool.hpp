// SPDX-License-Identifier: Apache-2.0
// The WebSocket end of the load generator: N clients of doorstep.v1 on one epoll, each one user. A client acks each frame it gets
// cumulatively, answers pings, and writes every delivery into the ledger. One thread runs it: whoever calls it.
#pragma once

#include "bench/statistics.hpp"
#include "bench/websocket.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct client_options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;
  std::string secret;
  std::size_t users = 10000;
  std::size_t first_user = 0;  ///< the number of the first one
  std::size_t connects_per_second = 3000;
  bool token_in_frame = false;  ///< in the connect object instead of the upgrade request
  bool acks = true;
  std::uint64_t run = 0;  ///< messages of another run are counted as foreign and otherwise ignored
};

struct client_counts {
  std::uint64_t live = 0, closed = 0, frames = 0, message_frames = 0, messages = 0, bytes = 0, acks = 0, pings = 0, receipts = 0, foreign = 0;
  std::map<std::string, std::uint64_t> complaints;  ///< what went wrong, how often
};

class client_pool {
public:
  client_pool(client_options options, ledger& book, histogram& latency);  ///< throws std::system_error
  virtual ~client_pool();                                                 ///< resets the connections, so that no port is left in TIME_WAIT
  client_pool(const client_pool&) = delete;
  client_pool& operator=(const client_pool&) = delete;

  /// Connects users up to `last` (exclusive) at the options' pace and waits until the server greeted all. @returns false after 60 s without.
  bool connect_up_to(std::size_t last);
  /// Serves the sockets for so long.
  void serve(std::int64_t nanoseconds);
  /// First deliveries that were meant to leave in [from, to) go into the histogram.
  void measure(std::int64_t from_ns, std::int64_t to_ns);
  const client_counts& counts() const { return counts_; }

protected:
  /// What a client shows and says; bench/crowd_clients.hpp has others than a user with a mailbox.
  virtual std::string token_of(std::size_t index) const;
  virtual std::string members_of_connect(std::size_t) const { return {}; }
  virtual void greeted(std::size_t, std::string_view) {}
  virtual void message(std::size_t index, std::string_view line);
  virtual void receipt(std::size_t, std::string_view) {}
  /// The object that acks what message() saw since the last one; empty: nothing came.
  virtual std::string ack_of(std::size_t index);
  virtual void lost_connection(std::size_t) {}

  void say(opcode kind, std::string_view payload);
  void turn(int timeout_ms);
  void open(std::size_t index);
  enum class farewell : std::uint8_t { close_frame, cut, none };
  /// The client goes. @returns the descriptor of one that goes without a word, for the caller to close one day; else -1.
  int leave(std::size_t index, farewell how);
  bool is_live(std::size_t index) const { return clients_[index].where == stage::live; }

  client_options options_;
  ledger& book_;
  histogram& latency_;
  client_counts counts_;
  std::int64_t from_ns_ = 0, to_ns_ = 0, received_ns_ = 0;
  std::int64_t expires_at_ = 0;

private:
  enum class stage : std::uint8_t { unused, upgrading, greeting, live, closed };
  struct client {
    int fd = -1;
    stage where = stage::unused;
    bool wants_write = false;
    std::string in, out, fragments;
  };

  void readable(std::size_t index);
  std::size_t consume(std::size_t index, char* bytes, std::size_t size);
  std::size_t upgraded(std::size_t index, std::string_view bytes);
  void framed(std::size_t index, const frame& x);
  void text(std::size_t index, std::string_view lines);
  void flush(std::size_t index);
  void close(std::size_t index, const std::string& complaint);

  std::vector<client> clients_;
  std::size_t opened_ = 0, greeting_ = 0;
  int epoll_ = -1;
  std::uint32_t mask_ = 0x5bd1e995;
  std::uint64_t highest_seq_ = 0;
  std::string buffer_, outgoing_;
};

/// The whole number that follows `name`, 0 where there is none.
std::uint64_t number_after(std::string_view text, std::string_view name);

}  // namespace bench
