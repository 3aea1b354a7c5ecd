// SPDX-License-Identifier: Apache-2.0
// A house in a bottle with rules that name channels, and clients that hold roles.
#pragma once

#include "actors/channel.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/runtime/routes_fixture.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {

class channel_test : public house_in_a_bottle {
protected:
  channel_test() {
    options_.delivery.ack_timeout = milliseconds{1000};
    options_.delivery.retry_base = milliseconds{100};
    options_.delivery.retry_max = milliseconds{200};
    options_.delivery.passivate_after = milliseconds{5000};
    options_.channels.topics = {"news.*"};
  }
  explicit channel_test(bool shares, memory_log_options log) : house_in_a_bottle(shares, log) {}

  void SetUp() override {
    options_.routes = table_of(rules_);
    parts_.routes = std::make_shared<live_routes>(options_.routes);
    house_in_a_bottle::SetUp();
  }

  client_device& come(const std::string& user, std::vector<std::string> roles = {}, client::connect request = {}) {
    clients_.emplace_back();
    auto& x = clients_.back();
    open(x);
    identity who{user};
    who.roles = std::move(roles);
    x.handler->connected(std::move(request), std::move(who));
    settle();
    return x;
  }
  void send(const std::string& type, const std::string& id) {
    event x;
    x.id = id;
    x.source = "/test";
    x.type = type;
    x.data = R"({"price":7,"who":"bob"})";
    ASSERT_TRUE(publish({std::move(x)}));
  }
  void ack(client_device& x, const std::string& to, sequence seq, std::vector<std::string> ids = {}, request_id request = 5) {
    say(x, client::ack{request, {{address::parse(to).value(), seq}}, std::move(ids)});
  }
  void ack_ids(client_device& x, std::vector<std::string> ids, request_id request = 5) { say(x, client::ack{request, {}, std::move(ids)}); }
  /// It fails by a push, and is made anew.
  void fail_mailbox_of(client_device& x) {
    const auto before = counts_.actor_restarts.value();
    x.seen->poison = {"poison"};
    send("own", "poison");
    x.seen->poison = {};
    ASSERT_EQ(counts_.actor_restarts.value(), before + 1);
  }
  cursor_record record(const std::string& channel, const std::string& user) const {
    return store_.record_of(reader_key(address::parse(channel).value(), user));
  }
  static std::vector<std::string> addresses(const client_device& x) {
    std::vector<std::string> out;
    for (const auto& [of, seq] : x.seen->connected.back().addresses) out.emplace_back(of.text());
    return out;
  }
  std::vector<channel_actor> channels() {
    std::vector<channel_actor> out;
    auto* self = dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]));
    for (const auto& [of, entry] : self->state.channels.all()) out.push_back(entry.who);
    return out;
  }
  void TearDown() override {
    for (auto& x : clients_) x.handler->closed();
    settle();
    for (const auto& who : channels()) caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
    settle();
    house_in_a_bottle::TearDown();
  }

  std::string rules_ = R"(
[[routes]]
match.type = "sold"
to = ["user:{/data/who}", "role:admin", "role:viewer"]
render.data = "none"
[routes.render.role.admin]
data = ["/data/price"]
[[routes]]
match.type = "own"
to = "user:{/data/who}"
[[routes]]
match.type = "everybody"
to = "all"
[[routes]]
match.type = "news"
to = "topic:news.eu"
[[routes]]
match.type = "secret"
to = "topic:secret.plan"
[[routes]]
match.type = "bob"
to = "user:bob"
)";
};

}  // namespace doorstep::test
