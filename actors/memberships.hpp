// SPDX-License-Identifier: Apache-2.0
// Which channels a SESSION reads, and acks that concern several of them: each owner says what of an ack is durable, the client gets one receipt. A value of the SESSION,
// on its lane.
#pragma once

#include "actors/interfaces.hpp"
#include "net/connection.hpp"
#include "runtime/routes.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

/// Channels that a token makes its user read, of the kinds that rules name.
std::vector<address> channels_of(const identity& who, const route_table::channel_kinds& kinds);

struct membership {
  address of;
  caf::strong_actor_ptr channel{};  ///< null until attached, and after it failed
  sequence floor{};
  request_id request = 0;                      ///< of the subscribe that is to be answered
  bool by_token = true;                        ///< else by subscribe
  bool asked = false;                          ///< the SHARD has been asked
  std::optional<steady_time> refused_until{};  ///< it failed again and again, and is asked for anew then
  bool announced = false;                      ///< the client knows of it
  std::vector<reader_gap> gaps{};              ///< before the client is greeted
};

/// An ack whose parts belong to several.
struct joint_ack {
  std::uint64_t token;
  request_id request;
  sequence of_mailbox;  ///< up to where the mailbox is acked by it
  bool mailbox_named = false;
  std::vector<address> named;  ///< channels with an up_to
  std::size_t channels_left = 0;
  std::vector<std::string> unclaimed;  ///< ids that no channel knew so far
  server::receipt collected;
  std::vector<address> asked{};  ///< channels that have not answered
};

/// A mark whose parts belong to several.
struct joint_mark {
  std::uint64_t token;
  request_id request;
  std::size_t left;
  std::vector<address> of;  ///< channels among them
  std::optional<failure> why{};
};

/// One list over the mailbox and the channels, in the making.
struct inbox_list {
  std::uint64_t number;
  history_query query;
  std::size_t left;
  server::history page;
};

class memberships {
public:
  static constexpr std::size_t acks_max = 256;  ///< that wait for their owners; the next one is refused
  /// Requests of the mailbox that stand for a joint ack. Those of clients are below 2^53.
  static constexpr request_id joint = request_id{1} << 63;

  std::vector<membership> all;

  membership* find(const address& of);
  /// Everybody has answered: the client may be greeted.
  bool is_settled() const;
  std::size_t subscribed() const;

  /// @returns null when too many wait.
  joint_ack* begin_ack(request_id request);
  joint_ack* find_ack(std::uint64_t token);
  /// @returns the ack when the last channel has answered.
  joint_ack* answered(const reader_acked& x);
  void end_ack(std::uint64_t token);
  /// What its parts said will not come any more: clients repeat what has no receipt.
  void drop_acks() { acks_.clear(); }
  /// Those that wait for this channel get no answer any more. @returns the requests among them.
  std::vector<request_id> drop_acks_of(const address& of);

  /// @returns null when too many wait. `joint` and its token are the request of each part.
  joint_mark* begin_mark(request_id request, std::size_t parts, std::vector<address> channels);
  /// A part is answered. @returns the whole when it was the last one.
  std::optional<joint_mark> mark_answered(std::uint64_t token, const std::optional<failure>& why);
  /// Parts of this channel (empty: of any) will not be answered. @returns the requests they were of.
  std::vector<request_id> drop_marks_of(const address& of);

  static constexpr std::size_t lists_max = 16;
  /// @returns its number; 0 when too many are in the making.
  std::uint64_t begin_list(request_id request, const history_query& query, std::size_t parts);
  /// A part has come. @returns the page when it was the last one: in the order of append time, shard and seq.
  std::optional<server::history> add_to_list(std::uint64_t number, server::history part, std::uint32_t shards);
  /// @returns whose it was, where it was still in the making.
  std::optional<request_id> drop_list(std::uint64_t number);

private:
  std::vector<inbox_list> lists_;
  std::vector<joint_ack> acks_;
  std::vector<joint_mark> marks_;
  std::uint64_t next_token_ = 1;
};

}  // namespace doorstep
