// SPDX-License-Identifier: Apache-2.0
// The bytes and texts inside the tables: hashes that index rows, lists of places, cursor records, events. All little-endian, described in docs/formats.md; never change one
// without a migration. Pure, any thread.
#pragma once

#include "runtime/cursor.hpp"
#include "runtime/error.hpp"
#include "runtime/inbox.hpp"
#include "runtime/message.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// Where a message is: its seq and its row in the message table.
struct message_place {
  std::uint64_t seq = 0;
  std::uint64_t row = 0;
  bool operator==(const message_place&) const = default;
};

/// A dedup key's hash and the row it was accepted with.
struct key_place {
  std::uint64_t key = 0;
  std::uint64_t row = 0;
};

/// Indexes the posting table. Rows carry the address itself, so a collision costs a look, never a mix-up.
std::uint64_t address_key(std::string_view address);
/// Of (message id, requeue).
std::uint64_t dedup_key(std::string_view id, std::uint32_t requeue);

/// Appends {seq - first.seq, row - first.row} of each place as two u32.
void encode_places(std::span<const message_place> places, std::string& out);
void decode_places(std::string_view bytes, message_place first, std::vector<message_place>& out);

/// Appends {key u64, row - first_row u32} of each.
void encode_keys(std::span<const key_place> keys, std::uint64_t first_row, std::string& out);
/// Appends the rows of `key` to `rows`.
void find_key(std::string_view bytes, std::uint64_t key, std::uint64_t first_row, std::vector<std::uint64_t>& rows);
/// Appends every key.
void decode_keys(std::string_view bytes, std::vector<std::uint64_t>& keys);

/// Appends {row - first_row} as u32.
void encode_rows(std::span<const std::uint32_t> deltas, std::string& out);
std::uint32_t decode_row(std::string_view bytes, std::size_t index);

/// Appends one record; several stand one after the other.
void encode_cursor(const cursor_record& x, std::string& out);
/// Takes one record off the front of `bytes`. @returns ec::corrupt where they are not one.
result<cursor_record> decode_cursor(std::string_view& bytes);

/// Appends version and marks; the user is the row's key.
void encode_inbox(const inbox_record& x, std::string& out);
/// @returns ec::corrupt where the bytes are not one, ec::unsupported for marks of a newer version.
result<inbox_record> decode_inbox(std::string_view bytes, const address& user);

/// Texts of a row as values. A name that this program does not know counts as malformed.
dead_reason stored_reason(std::string_view name);
result<std::shared_ptr<const delivery_terms>> stored_terms(std::optional<std::string_view> json);
/// @param partial a dead letter's: it was kept as far as it was understood, so what cannot be read as an event is handed on as its data
result<std::shared_ptr<const event>> stored_event(std::string_view json, bool partial);

}  // namespace doorstep
