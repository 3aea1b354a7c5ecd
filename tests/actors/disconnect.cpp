// SPDX-License-Identifier: Apache-2.0
// Who is meant when an operator ends sessions, and what a refreshed token changes about that.
#include "fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doorstep::test {
namespace {

class disconnect_test : public house_in_a_bottle {
protected:
  client_device& connect_as(const std::string& user, std::vector<std::string> roles, std::vector<std::string> groups = {}) {
    auto& x = clients_.emplace_back();
    open(x);
    caf::anon_send(node_, watch_session{x.actor});
    x.handler->connected({}, named(user, std::move(roles), std::move(groups)));
    settle();
    return x;
  }
  static identity named(const std::string& user, std::vector<std::string> roles, std::vector<std::string> groups = {}) {
    identity who{user};
    who.roles = std::move(roles);
    who.groups = std::move(groups);
    return who;
  }
  std::size_t end(const std::string& kind, const std::string& name, bool may_return = true) {
    std::size_t count = 999;
    const auto whom = std::make_shared<const disconnect_request>(disconnect_request{kind, name, "go", may_return});
    system_.spawn(
        [&count, whom](caf::event_based_actor* self, const node_actor& who) {
          self->request(who, caf::infinite, disconnect_sessions{whom}).then([&count](const disconnected& x) { count = x.count; });
        },
        node_);
    settle();
    return count;
  }
};

TEST_F(disconnect_test, ends_the_sessions_of_a_user_a_role_or_a_group_and_no_others) {
  auto& admin = connect_as("alice", {"admin", "viewer"});
  auto& viewer = connect_as("bob", {"viewer"}, {"blue"});
  auto& other = connect_as("admin", {});  // a user that is called like a role
  EXPECT_EQ(end("role", "admin"), 1U);
  EXPECT_EQ(admin.seen->closed_with, close_code::disconnected);
  EXPECT_EQ(end("group", "blue", false), 1U);
  EXPECT_EQ(viewer.seen->closed_with, close_code::forbidden);
  EXPECT_FALSE(other.seen->closed_with);
  EXPECT_EQ(end("group", "admin"), 0U);
  EXPECT_EQ(end("user", "admin"), 1U);
  EXPECT_EQ(other.seen->closed_with, close_code::disconnected);
}

TEST_F(disconnect_test, ends_one_session_by_its_name_and_leaves_the_users_others) {
  auto& phone = connect_as("alice", {});
  auto& browser = connect_as("alice", {});
  ASSERT_EQ(phone.seen->connected.size(), 1U);
  EXPECT_EQ(end("session", phone.seen->connected[0].session), 1U);
  EXPECT_TRUE(phone.seen->closed_with);
  EXPECT_FALSE(browser.seen->closed_with);
  EXPECT_EQ(end("session", "nobody-1"), 0U);
}

TEST_F(disconnect_test, goes_by_the_roles_of_the_token_that_came_last) {
  auto& phone = connect_as("alice", {"admin"});
  phone.handler->refreshed(7, named("alice", {"viewer"}));
  settle();
  EXPECT_THAT(phone.seen->done, testing::ElementsAre(7U));
  EXPECT_EQ(end("role", "admin"), 0U);
  EXPECT_EQ(end("role", "viewer"), 1U);
}

TEST_F(disconnect_test, without_any_session_is_answered_too) { EXPECT_EQ(end("user", "alice"), 0U); }

TEST_F(disconnect_test, a_session_that_is_gone_holds_nothing_up) {
  auto& phone = connect_as("alice", {});
  auto& browser = connect_as("alice", {});
  disconnect(phone);
  EXPECT_EQ(end("user", "alice"), 1U);
  EXPECT_TRUE(browser.seen->closed_with);
}

}  // namespace
}  // namespace doorstep::test
