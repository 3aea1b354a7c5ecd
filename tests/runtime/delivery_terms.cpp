// SPDX-License-Identifier: Apache-2.0
// Delivery terms as they are stored, and as events ask for them.
#include "runtime/delivery_terms_json.hpp"

#include <gtest/gtest.h>

namespace doorstep::test {
namespace {

using ordering = delivery_terms::ordering;

TEST(delivery_terms, what_is_written_is_read_back) {
  const delivery_terms all{ordering::latest, "order \"42\"", milliseconds{60'000}, 0, 9};
  EXPECT_EQ(to_json(all), R"({"order":"latest","key":"order \"42\"","ttl_ms":60000,"max_attempts":0,"priority":9})");
  const auto read = delivery_terms_from_json(to_json(all)).value();
  EXPECT_EQ(read->order, all.order);
  EXPECT_EQ(read->key, all.key);
  EXPECT_EQ(read->ttl, all.ttl);
  EXPECT_EQ(read->max_attempts, all.max_attempts);
  EXPECT_EQ(read->priority, all.priority);
}

TEST(delivery_terms, none_are_an_empty_text) {
  EXPECT_EQ(to_json(std::shared_ptr<const delivery_terms>()), "");
  EXPECT_EQ(delivery_terms_from_json("").value(), nullptr);
  EXPECT_EQ(to_json(delivery_terms{}), "{}");
  const auto read = delivery_terms_from_json("{}").value();
  EXPECT_EQ(read->order, ordering::configured);
  EXPECT_FALSE(read->ttl || read->max_attempts);
}

TEST(delivery_terms, members_of_a_later_version_are_passed_over_and_wrong_ones_are_named) {
  EXPECT_EQ(delivery_terms_from_json(R"({"colour":"red","priority":3})").value()->priority, 3);
  for (const auto* text : {R"({"priority":10})", R"({"priority":-1})", R"({"order":"random"})", R"({"ttl_ms":"1h"})", R"({"key":1})",
                           R"({"max_attempts":1.5})", "[]", "{"})
    EXPECT_EQ(delivery_terms_from_json(text).error().code, ec::malformed) << text;
}

event asking(std::vector<std::pair<std::string, std::string>> extensions) {
  event x;
  x.extensions = std::move(extensions);
  return x;
}

TEST(delivery_terms, an_event_asks_by_its_extensions) {
  EXPECT_EQ(delivery_terms_of(asking({{"touser", "alice"}})).value(), nullptr);
  const auto found = delivery_terms_of(asking({{"deliveryorder", "strict"}, {"deliverykey", "cart"}, {"deliverypriority", "7"}})).value();
  EXPECT_EQ(found->order, ordering::strict);
  EXPECT_EQ(found->key, "cart");
  EXPECT_EQ(found->priority, 7);
}

TEST(delivery_terms, what_an_event_cannot_ask_is_malformed) {
  EXPECT_EQ(delivery_terms_of(asking({{"deliveryorder", "fifo"}})).error().field, "deliveryorder");
  for (const auto* text : {"10", "-1", "high", "1.0"})
    EXPECT_EQ(delivery_terms_of(asking({{"deliverypriority", text}})).error().field, "deliverypriority") << text;
}

}  // namespace
}  // namespace doorstep::test
