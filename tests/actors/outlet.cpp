// SPDX-License-Identifier: Apache-2.0
// The way out of a session: what is held until the greeting, how much that can be, and what is not sent any more of a channel that was left.
#include "actors/outlet.hpp"

#include "fixture.hpp"
#include "net/shared_push.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class outlet_test : public testing::Test {
protected:
  static message_ptr message_of(const std::string& to, const std::string& id, std::uint64_t seq) {
    auto what = std::make_shared<event>();
    what->id = id;
    what->source = "/test";
    what->type = "test";
    auto out = std::make_shared<message>();
    out->to = address::parse(to).value();
    out->seq = sequence{seq};
    out->id = "m" + id;
    out->what = std::move(what);
    return out;
  }
  static shared_push_ptr pushed(const message_ptr& what, unsigned attempt = 1, bool redelivered = false) {
    return std::make_shared<const shared_push>(server::push{what, attempt, redelivered});
  }

  const address admin_ = address::parse("role:admin").value();
  std::shared_ptr<fake_connection> seen_ = std::make_shared<fake_connection>();
  outlet out_{seen_};
};

TEST_F(outlet_test, holds_one_push_a_message_of_a_channel_until_the_greeting_however_many_rounds_it_had) {
  const auto one = message_of("all", "1", 1), two = message_of("role:admin", "2", 2);
  for (unsigned round = 1; round <= 1000; ++round) {
    out_.push_shared(pushed(one, round, round > 1));
    if (round < 3) out_.push_shared(pushed(two, round, round > 1));
  }
  EXPECT_THAT(seen_->events(), IsEmpty());
  out_.open();
  ASSERT_THAT(seen_->events(), ElementsAre("1", "2"));
  EXPECT_EQ(seen_->pushes[0].attempt, 1000U) << "the latest round is the one that is told";
  EXPECT_TRUE(seen_->pushes[0].redelivered && seen_->pushes[1].redelivered);
}

TEST_F(outlet_test, what_was_held_of_a_channel_that_is_left_is_not_sent_and_the_rest_is) {
  out_.push_shared(pushed(message_of("role:admin", "secret", 1)));
  out_.push_shared(pushed(message_of("all", "public", 2)));
  out_.leave_channel(admin_, true);
  out_.push_shared(pushed(message_of("role:admin", "secret too", 3)));
  out_.open();
  EXPECT_THAT(seen_->events(), ElementsAre("public"));
}

TEST_F(outlet_test, what_is_on_its_way_of_a_role_that_was_lost_is_not_sent_until_the_role_is_back) {
  out_.open();
  out_.push_shared(pushed(message_of("role:admin", "before", 1)));
  out_.leave_channel(admin_, true);
  out_.leave_channel(admin_, true);
  out_.push_shared(pushed(message_of("role:admin", "after", 2)));
  EXPECT_THAT(seen_->events(), ElementsAre("before"));
  out_.join_channel(admin_);
  out_.push_shared(pushed(message_of("role:admin", "again", 3)));
  EXPECT_THAT(seen_->events(), ElementsAre("before", "again"));
}

TEST_F(outlet_test, a_topic_that_the_client_left_itself_may_still_bring_what_was_on_its_way) {
  out_.open();
  out_.leave_channel(address::parse("topic:news").value(), false);
  out_.push_shared(pushed(message_of("topic:news", "late", 1)));
  EXPECT_THAT(seen_->events(), ElementsAre("late"));
}

TEST_F(outlet_test, nothing_is_sent_to_a_socket_that_is_gone) {
  out_.open();
  out_.forget();
  out_.push_shared(pushed(message_of("all", "1", 1)));
  out_.send({server::pong{1}});
  EXPECT_FALSE(out_.may_go_direct());
  EXPECT_THAT(seen_->events(), IsEmpty());
}

}  // namespace
}  // namespace doorstep::test
