// SPDX-License-Identifier: Apache-2.0
// A server on free ports with the rest of the house played by fakes that note what they were told.
#pragma once

#include "net/auth.hpp"
#include "net/server.hpp"
#include "raw_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace doorstep::testing_net {

/// Lines that several threads write and the test waits for.
class notes {
public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }
  bool wait_for(const std::string& line) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return std::find(lines_.begin(), lines_.end(), line) != lines_.end(); });
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

class fake_door final : public front_door {
public:
  struct handler final : connection_handler {
    handler(fake_door& door, std::shared_ptr<connection> who, loop& where) : door_(door), who_(std::move(who)), where_(where) {}
    void connected(client::connect request, identity who) override {
      note("connected " + who.user + " " + request.device + (where_.is_here() ? "" : " ON ANOTHER THREAD"));
      if (!request.token.empty()) note("THE TOKEN WAS HANDED ON");
      who_->send({server::connected{request.id, "s1", who.user, {}, 32, milliseconds{30000}, milliseconds{25000}, who.expires_at}});
      if (door_.on_connected) door_.on_connected(who_, where_);
    }
    void commands(std::vector<client::command> what) override {
      std::string line = "commands";
      for (const auto& x : what) line += " " + std::to_string(x.index());
      note(line);
      for (const auto& x : what)
        if (const auto* ack = std::get_if<client::ack>(&x)) who_->send({server::receipt{ack->id, {}, ack->ids}});
    }
    void refreshed(request_id id, identity who) override {
      note("refreshed " + who.user);
      if (door_.on_refreshed) door_.on_refreshed();
      who_->send({server::done{id}});
    }
    void closed() override {
      note("closed");
      who_.reset();
    }
    void note(std::string line) { door_.said.add(std::move(line)); }
    fake_door& door_;
    std::shared_ptr<connection> who_;
    loop& where_;
  };

  loop* home_of(const std::string& user) override {
    asked.add(user);
    return home;
  }
  std::shared_ptr<connection_handler> open(std::shared_ptr<connection> who, loop& where) override {
    if (drains) return nullptr;
    return std::make_shared<handler>(*this, std::move(who), where);
  }

  notes said, asked;
  loop* home = nullptr;
  std::atomic<bool> drains{false};
  std::function<void(std::shared_ptr<connection>, loop&)> on_connected;
  std::function<void()> on_refreshed;
};

class fake_intake final : public intake {
public:
  using reply = std::function<void(result<std::vector<publish_outcome>>)>;
  void publish(published what, reply done) override {
    headers = what.headers;
    answer(std::move(what.events), std::move(done));
  }
  bool reads_headers() const override { return true; }
  std::shared_ptr<const std::vector<header>> headers;
  std::function<void(std::vector<event>, reply)> answer = [](std::vector<event> events, const reply& done) {
    std::vector<publish_outcome> all;
    for (auto& x : events) all.push_back({x.id, 1, 0});
    done(std::move(all));
  };
};

class fake_inspection final : public inspection {
public:
  void actors(answer done) override { done(std::string(R"({"kind":"node"})")); }
  void reload(answer done) override { done(reloaded); }
  void disconnect(disconnect_request whom, answer done) override {
    done("{\"" + whom.kind + "\":\"" + whom.name + "\",\"reason\":\"" + whom.reason + "\",\"may_return\":" + (whom.may_return ? "true}" : "false}"));
  }
  result<std::string> reloaded = std::string(R"({"routes":0})");
  void mailbox(const std::string& user, answer done) override {
    if (user == "nobody") return done(failure{ec::not_found, "no such mailbox", {}});
    done("{\"user\":\"" + user + "\"}");
  }
  /// Every part of the filter that was given.
  static std::string text(const dead_letter_filter& x) {
    std::string all = "{\"after\":\"" + x.after + "\",\"limit\":" + std::to_string(x.limit);
    for (const auto& id : x.ids) all += ",\"id\":\"" + id + "\"";
    if (!x.user.empty()) all += ",\"user\":\"" + x.user + "\"";
    if (!x.topic.empty()) all += ",\"topic\":\"" + x.topic + "\"";
    if (x.reason) all += ",\"reason\":\"" + std::string(name(*x.reason)) + "\"";
    if (x.since) all += ",\"since\":" + std::to_string(x.since->value);
    if (x.until) all += ",\"until\":" + std::to_string(x.until->value);
    return all + (x.requeued_too ? ",\"all\":true}" : "}");
  }
  void dead_letters(dead_letter_filter which, answer done) override { done(text(which)); }
  void dead_letter(std::string id, answer done) override {
    if (id == "nothing") return done(failure{ec::not_found, "there is no dead letter nothing", "id"});
    done("{\"id\":\"" + id + "\"}");
  }
  void requeue_dead_letters(dead_letter_filter which, answer done) override {
    if (which.ids == std::vector<std::string>{"t/0/1"}) return done(failure{ec::unsupported, "a record", "id"});
    done("{\"requeue\":" + text(which) + "}");
  }
  void purge_dead_letters(dead_letter_filter which, answer done) override { done("{\"purge\":" + text(which) + "}"); }
  std::vector<std::string> not_ready() const override { return reasons; }
  bool started() const override { return is_started; }
  void refresh_metrics() override { ++refreshes; }
  std::vector<std::string> reasons;
  std::atomic<bool> is_started{true};
  std::atomic<int> refreshes{0};
};

class server_test : public testing::Test {
protected:
  server_test() {
    settings.http.listen = settings.internal.listen = "127.0.0.1:0";
    settings.internal.api_keys = {"key-number-one-01", "key-number-two-02"};
    settings.auth.hs256_secret = "a secret of at least thirty-two bytes";
    settings.auth.leeway = milliseconds{0};
  }
  ~server_test() override {
    if (up) up->stop();
    first.stop();
    second.stop();
  }
  void start() {
    up = std::make_unique<http_server>(settings, std::vector<loop*>{&first, &second}, door, in, look, numbers, assets);
    const auto ok = up->start();
    ASSERT_TRUE(ok) << to_string(ok.error());
  }
  std::string token(const std::string& user, std::chrono::seconds ttl = std::chrono::seconds{600}) {
    return token_verifier::open(settings.auth)->make_token(user, ttl, wall_now());
  }
  std::string bearer(const std::string& user) { return "Authorization: Bearer " + token(user) + "\r\n"; }
  /// A session that stands.
  std::unique_ptr<ws_client> connected(const std::string& user = "alice") {
    auto x = std::make_unique<ws_client>(up->public_port(), bearer(user));
    x->say(R"({"id":1,"connect":{}})");
    EXPECT_THAT(x->hear().text, testing::HasSubstr("\"connected\""));
    return x;
  }
  http_response request(std::uint16_t port, const std::string& text) {
    raw_client x(port);
    x.write(text);
    return x.read_response(text.starts_with("HEAD"));
  }
  http_response get(std::uint16_t port, const std::string& path, const std::string& headers = "", const std::string& method = "GET") {
    return request(port, method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
  }
  http_response post(const std::string& headers, const std::string& body, const std::string& key = "key-number-one-01",
                     const std::string& path = "/v1/events") {
    return request(up->internal_port(), "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key + "\r\n" + headers +
                                            "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  config settings;
  fake_door door;
  fake_intake in;
  fake_inspection look;
  metrics numbers;
  asset_finder assets;
  loop first{"first"}, second{"second"};
  std::unique_ptr<http_server> up;
};

}  // namespace doorstep::testing_net
