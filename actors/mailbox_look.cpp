// SPDX-License-Identifier: Apache-2.0
#include "actors/mailbox_look.hpp"

#include "actors/reports.hpp"
#include "runtime/devices.hpp"

#include <caf/event_based_actor.hpp>

#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace doorstep {

namespace {

using answer = std::function<void(result<std::string>)>;

constexpr std::chrono::seconds look_timeout{5};
constexpr std::size_t stored_max = 1000;  ///< looked at where the mailbox is not loaded

struct one_look {
  caf::actor_system& system;
  message_store& store;
  shard_actor shard;
  address user;
  answer done;
  std::string whole;
  std::vector<cursor_record> devices;
  std::vector<std::string> reports{};  ///< of as many of the devices
};

void look_at_box(const std::shared_ptr<one_look>& x, const address& box, const answer& done) {
  const auto ask = [x, box, done](caf::event_based_actor* self) {
    self->request(x->shard, look_timeout, look_at_mailbox{box})
        .then(
            [=](const mailbox_report& report) {
              if (!report.json.empty())
                done(report.json);
              else
                x->store.load(box, stored_max,
                              [=](result<stored_mailbox> what) { what ? done(describe_stored(x->user, *what)) : done(what.error()); });
            },
            [done](const caf::error& why) {
              done(failure{ec::unavailable, caf::to_string(why), {}});
            });
  };
  x->system.spawn(ask);
}

void look_at_next_device(const std::shared_ptr<one_look>& x) {
  if (x->reports.size() == x->devices.size()) {
    x->done(describe_devices(x->whole, x->devices, x->reports));
    return;
  }
  look_at_box(x, x->devices[x->reports.size()].user, [x](result<std::string> report) {
    if (!report) return x->done(report.error());
    x->reports.push_back(std::move(*report));
    look_at_next_device(x);
  });
}

/// How the user stands in each channel of these shards that has it as a reader now.
void look_at_channels(caf::actor_system& system, std::vector<shard_actor> shards, const address& user, std::function<void(reader_reports)> done) {
  const auto ask = [shards = std::move(shards), user = std::string(user.id()), done = std::move(done)](caf::event_based_actor* self) {
    struct reports {
      reader_reports found;
      std::size_t left;
    };
    const auto all = std::make_shared<reports>(reports{{}, shards.size()});
    const auto arrived = [all, done] {
      if (--all->left == 0) done(std::move(all->found));
    };
    for (const auto& shard : shards)
      self->request(shard, look_timeout, look_at_reader{user})
          .then(
              [=](reader_reports& one) {
                std::move(one.of.begin(), one.of.end(), std::back_inserter(all->found.of));
                arrived();
              },
              [=](const caf::error&) { arrived(); });
  };
  system.spawn(ask);
}

void look_at_mailboxes(caf::actor_system& system, const services& parts, const shard_actor& shard, const address& user, answer done) {
  if (!acks_by_device(parts.options.delivery)) {
    const auto x = std::make_shared<one_look>(one_look{system, parts.store, shard, user, {}, {}, {}});
    look_at_box(x, user, done);
    return;
  }
  const auto x = std::make_shared<one_look>(one_look{system, parts.store, shard, user, std::move(done), {}, {}});
  look_at_box(x, user, [x](result<std::string> whole) {
    if (!whole) return x->done(whole.error());
    x->whole = std::move(*whole);
    x->store.devices(x->user, [x](result<std::vector<cursor_record>> devices) {
      if (!devices) return x->done(devices.error());
      x->devices = std::move(*devices);
      look_at_next_device(x);
    });
  });
}

}  // namespace

void look_at_user(caf::actor_system& system, const services& parts, const std::vector<shard_actor>& shards, const address& user, answer done) {
  const auto& shard = shards[static_cast<std::size_t>(shard_of(user, static_cast<std::uint32_t>(shards.size())))];
  look_at_mailboxes(system, parts, shard, user, [&system, shards, user, done = std::move(done)](result<std::string> report) {
    if (!report) return done(report.error());
    look_at_channels(system, shards, user, [report = std::move(*report), done](const reader_reports& x) { done(with_channels(report, x)); });
  });
}

}  // namespace doorstep
