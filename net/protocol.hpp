// SPDX-License-Identifier: Apache-2.0
// What a client can say and hear, whatever codec carries it (docs/protocol.md). Plain values; one codec a protocol turns them into bytes.
#pragma once

#include "runtime/address.hpp"
#include "runtime/error.hpp"
#include "runtime/message.hpp"
#include "runtime/stored.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace doorstep {

/// The client's number for a request; the reply carries it. 0 = it gave none.
using request_id = std::uint64_t;
using seq_by_address = std::vector<std::pair<address, sequence>>;
using seqs_by_address = std::vector<std::pair<address, std::vector<sequence>>>;

// One line a message, to be read as a table.
// clang-format off
namespace client {
struct connect { request_id id = 0; std::string token, device; seq_by_address resume; bool counts = false; };
struct ack { request_id id = 0; seq_by_address up_to; std::vector<std::string> ids; };
struct nack { request_id id = 0; std::vector<std::string> ids; std::string reason; std::optional<milliseconds> retry_in{}; };
struct in_progress { request_id id = 0; std::vector<std::string> ids; };
/// What the person did: everything up to a seq, single messages, or everything there is.
struct mark { request_id id = 0; inbox_mark what = inbox_mark::read; bool on = true; seq_by_address up_to; seqs_by_address seqs; bool all = false; };
struct history { request_id id = 0; address of; history_query what; bool inbox = false; };
struct subscribe { request_id id = 0; address to; };
struct unsubscribe { request_id id = 0; address to; };
struct refresh { request_id id = 0; std::string token; };
struct ping { request_id id = 0; };
struct pong {};
/// Understood as a frame of the protocol, and not offered here: answered with an error, the session stays.
struct unsupported { request_id id = 0; std::string what; };
using command = std::variant<connect, ack, nack, mark, history, refresh, ping, pong, unsupported, in_progress, subscribe, unsubscribe>;
}  // namespace client

/// Close codes: 3000-3499 the client should reconnect, 3500-3999 it should not (docs/protocol.md).
enum class close_code : std::uint16_t {
  too_large = 1009, going_away = 1012, slow_client = 3000, ping_timeout = 3001, connect_timeout = 3002, token_expired = 3003, internal_error = 3004, too_many_frames = 3005,
  too_many_connections = 3006, try_later = 3007, disconnected = 3008,
  bad_token = 3500, protocol_error = 3501, forbidden = 3503, too_many_devices = 3505,
};
std::string_view name(close_code x);
inline bool may_reconnect(close_code x) { return x != close_code::too_large && static_cast<int>(x) < 3500; }

namespace server {
struct connected { request_id id = 0; std::string session, user; seq_by_address addresses; std::size_t window = 0; milliseconds ack_timeout{}, ping_interval{}; std::optional<std::int64_t> expires_at; std::string info{}; };
/// One delivery of one message.
struct push { message_ptr what; std::uint32_t attempt = 1; bool redelivered = false; };
struct receipt { request_id id = 0; seq_by_address up_to; std::vector<std::string> ids; };
struct counts { std::uint64_t unread = 0, unseen = 0; };
/// A message of the past, with the times of its states.
struct past { message_ptr what; std::array<std::optional<unix_ms>, inbox_marks_max> states{}; };
struct history { request_id id = 0; std::vector<past> messages; bool more = false; std::optional<sequence_range> gone{}; };
struct done { request_id id = 0; };
struct pong { request_id id = 0; };
struct gap { address of; sequence from, to; std::string reason; };
/// Channels that this session reads from now on, with the acked floor of each / no longer.
struct joined { request_id id = 0; seq_by_address addresses; };
struct left { request_id id = 0; std::vector<address> addresses; };
struct error { request_id id = 0; failure what; };
using event = std::variant<connected, push, receipt, counts, history, done, pong, gap, error, joined, left>;
}  // namespace server
// clang-format on

}  // namespace doorstep
