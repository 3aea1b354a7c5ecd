// SPDX-License-Identifier: Apache-2.0
// When a client's brokers count as away, and when they are asked.
#include "storage/broker_watch.hpp"

#include <gtest/gtest.h>

namespace doorstep {
namespace {

constexpr steady_time start{std::chrono::hours{1}};

TEST(broker_watch, nobody_is_asked_while_nothing_happened) {
  const broker_watch watch;
  EXPECT_TRUE(watch.there());
  EXPECT_FALSE(watch.should_ask(start));
}

TEST(broker_watch, a_broken_connection_is_a_reason_to_ask_and_not_yet_an_outage) {
  broker_watch watch;
  watch.broke("refused");
  EXPECT_TRUE(watch.there());
  ASSERT_TRUE(watch.should_ask(start));
  EXPECT_FALSE(watch.asked(true, start)) << "others stand: no news";
  EXPECT_FALSE(watch.should_ask(start + broker_watch::look)) << "the doubt is gone";
}

TEST(broker_watch, while_they_are_away_they_are_asked_again_and_again) {
  broker_watch watch;
  watch.broke("refused");
  ASSERT_TRUE(watch.asked(false, start));
  EXPECT_FALSE(watch.there());
  EXPECT_EQ(watch.why("all are down"), "refused");
  EXPECT_FALSE(watch.should_ask(start + broker_watch::look - milliseconds{1}));
  ASSERT_TRUE(watch.should_ask(start + broker_watch::look));
  EXPECT_FALSE(watch.asked(false, start + broker_watch::look)) << "told once";
  EXPECT_TRUE(watch.asked(true, start + 2 * broker_watch::look));
  EXPECT_TRUE(watch.there());
  EXPECT_EQ(watch.why("all are down"), "all are down") << "what broke then is over";
}

TEST(broker_watch, what_librdkafka_says_is_news_once_and_looked_into_soon) {
  broker_watch watch;
  EXPECT_TRUE(watch.set(false, start));
  EXPECT_FALSE(watch.set(false, start));
  EXPECT_FALSE(watch.should_ask(start));
  EXPECT_TRUE(watch.should_ask(start + broker_watch::first_look));
  EXPECT_TRUE(watch.set(true, start + milliseconds{1})) << "a record came";
  EXPECT_FALSE(watch.should_ask(start + broker_watch::first_look));
}

}  // namespace
}  // namespace doorstep
