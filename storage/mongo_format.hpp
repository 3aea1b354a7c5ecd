// SPDX-License-Identifier: Apache-2.0
// Values and their documents in MongoDB, as docs/formats.md describes them. Pure; used by the mongo_*.cpp files only.
#pragma once

#include "runtime/error.hpp"
#include "storage/message_store.hpp"
#include "storage/mongo_bson.hpp"

#include <cstdint>
#include <string>

namespace doorstep {

constexpr std::int64_t mongo_format_version = 1;
/// Of a cursor: since 3 its holes are ranges. Those written before are read as well.
constexpr std::int64_t mongo_cursor_version = 3;

/// "address#seq" with the seq in 16 digits: the same message has the same _id, whoever writes it, and however often.
std::string mongo_message_id(const address& to, sequence seq);

/// Of an origin partition, below `origins` of a shard: 22 letters that need no escape.
std::string mongo_origin_field(const origin_partition& x);

/// All fields but _id, which comes from the filter of the upsert.
bson_out document_of(const message& x);
bson_out document_of(const cursor_record& x);
bson_out document_of(const inbox_record& x);
/// What an upsert writes, over an earlier death of the same message too. @param kept place in the order of arrival
bson_out change_to(const dead_letter& x, std::int64_t kept);

/// ec::unsupported for a document of a newer format, ec::corrupt for one that cannot be read.
result<message_ptr> message_from(const bson_in& x);
result<cursor_record> cursor_from(const bson_in& x);
result<inbox_record> inbox_from(const bson_in& x);
result<dead_letter> dead_letter_from(const bson_in& x);
result<void> check_format(const bson_in& x, std::int64_t newest = mongo_format_version);

}  // namespace doorstep
