// SPDX-License-Identifier: Apache-2.0
// Delivery terms as one JSON object: in stores and in headers of log records (docs/formats.md), and as events ask for them. Pure, any thread.
#pragma once

#include "runtime/delivery_terms.hpp"
#include "runtime/error.hpp"
#include "runtime/event.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace doorstep {

/// Only what differs from the configuration is in it.
std::string to_json(const delivery_terms& x);
/// The same where there may be none: an empty text.
std::string to_json(const std::shared_ptr<const delivery_terms>& x);

/// @returns null for an empty text. Members of a later version are passed over. ec::malformed with the member in `field`.
result<std::shared_ptr<const delivery_terms>> delivery_terms_from_json(std::string_view text);

/// What an event's own extensions `deliveryorder`, `deliverykey` and `deliverypriority` ask for. @returns null where it has none of them, ec::malformed with the name in `field`.
result<std::shared_ptr<const delivery_terms>> delivery_terms_of(const event& what);

}  // namespace doorstep
