// SPDX-License-Identifier: Apache-2.0
// From a rule that matched to addresses and to what they get. The half of the evaluator that makes something. Pure, one thread.
#pragma once

#include "runtime/routes.hpp"

namespace doorstep {

/// Adds whom the rule names, without those it excepts, and what they get.
std::optional<failure> add_deliveries(const route_table& table, const route& rule, const route_input& x, field_values& values, route_outcome& out);
/// Adds whom routing.fallback names; they get the event as it is.
std::optional<failure> add_fallback(const route_table& table, const route_input& x, field_values& values, route_outcome& out);

}  // namespace doorstep
