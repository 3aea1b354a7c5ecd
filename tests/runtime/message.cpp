// SPDX-License-Identifier: Apache-2.0
// Message ids and reasons are stored and on the wire, so their values are pinned here.
#include "runtime/message.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace doorstep {
namespace {

TEST(message, its_id_never_changes) {
  // printf '/shop\00077\000user:alice' | sha256sum, first 16 bytes in base64url
  EXPECT_EQ(message_id("/shop", "77", *address::user("alice")), "1jZV-E9vj1UvkqbUCQJHyA");
}

TEST(message, its_id_differs_where_any_part_or_the_border_between_parts_differs) {
  std::set<std::string> ids;
  const auto alice = *address::user("alice");
  for (const auto& id : {message_id("/shop", "77", alice), message_id("/shop", "78", alice), message_id("/shops", "77", alice),
                         message_id("/shop7", "7", alice), message_id("/shop", "77", *address::user("bob"))}) {
    EXPECT_EQ(id.size(), 22U);
    EXPECT_EQ(id.find_first_of("+/="), std::string::npos);
    EXPECT_TRUE(ids.insert(id).second);
  }
}

TEST(message, reasons_have_names_that_lead_back) {
  std::set<std::string_view> names;
  for (const auto reason : {dead_reason::malformed, dead_reason::no_route, dead_reason::max_attempts, dead_reason::nacked, dead_reason::expired,
                            dead_reason::overflow, dead_reason::poison}) {
    EXPECT_TRUE(names.insert(name(reason)).second);
    EXPECT_EQ(*dead_reason_from(name(reason)), reason);
  }
  EXPECT_EQ(name(dead_reason::max_attempts), "max-attempts");
  EXPECT_FALSE(dead_reason_from("Malformed"));
  EXPECT_FALSE(dead_reason_from(""));
}

}  // namespace
}  // namespace doorstep
