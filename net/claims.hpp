// SPDX-License-Identifier: Apache-2.0
// What a token's claims say once its signature was found good: who, until when, with which roles and groups (RFC 7519, section 4). Pure, any thread.
#pragma once

#include "net/connection.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"

#include <boost/json/value.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

namespace claim_limits {
inline constexpr std::size_t names_max = 256;  ///< roles of one user, and groups
}  // namespace claim_limits

/// @param claims an object. @returns ec::unauthorized with the reason, which never quotes a value.
result<identity> read_claims(const boost::json::value& claims, const auth_config& settings, unix_ms now);

/// Roles or groups as a list or a text has them: sorted, each once. Empty ones do not count. @returns ec::unauthorized where one cannot be an address's id.
result<std::vector<std::string>> names_in(const boost::json::value& claim, const std::string& what);
/// The same of topics: names or patterns (runtime/segment_pattern).
result<std::vector<std::string>> topics_in(const boost::json::value& claim, const std::string& what);

}  // namespace doorstep
