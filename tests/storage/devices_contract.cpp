// SPDX-License-Identifier: Apache-2.0
// What every message store promises where each device of a user has a cursor (delivery.ack_scope = "device").
#include "runtime/devices.hpp"
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class devices_contract : public store_test {
protected:
  void configure() override {
    options.delivery.ack_scope = "device";
    options.log.dedup_window = milliseconds{1'000};
  }
  void open_as(const std::string& scope) {
    options.delivery.ack_scope = scope;
    at.reset();
    at = make_engines(GetParam(), options);
  }
  bool survives() const { return !GetParam().starts_with("memory"); }

  static address box(const std::string& who, const std::string& device) { return device_box(user(who), device); }
  static cursor_record device(const std::string& who, const std::string& name, std::uint64_t version, cursor acked, std::int64_t seen = 5'000) {
    cursor_record out;
    out.user = box(who, name);
    out.version = version;
    out.acked = std::move(acked);
    out.seen = {seen};
    return out;
  }
  void save(std::vector<cursor_record> records) { write(*at, {{}, std::move(records), {}, {}}).value(); }
  std::vector<cursor_record> devices(const std::string& who) {
    answer<std::vector<cursor_record>> done;
    at->store->devices(user(who), done.taker());
    while (!done.ready() && !survives()) at->run();
    return done.wait().value();
  }
  std::vector<std::string> names(const std::string& who) {
    std::vector<std::string> out;
    for (const auto& x : devices(who)) out.emplace_back(device_of(x.user).value());
    return out;
  }
  /// All steps. @returns how many went.
  std::size_t forget(std::int64_t before, std::size_t limit = 100) {
    std::size_t out = 0;
    reap_step step{{before}, {}, limit, reap_kind::devices};
    do {
      const auto x = reap(*at, step).value();
      out += x.removed;
      step.from = x.next;
    } while (!step.from.empty());
    return out;
  }
  std::vector<sequence> keep_some(const std::string& who, int count) {
    std::vector<log_entry> all;
    for (int i = 0; i < count; ++i) all.push_back(entry_for(who, std::to_string(next_id_++), 1'000));
    return keep(std::move(all));
  }
  int next_id_ = 0;
};

TEST_P(devices_contract, a_device_comes_back_as_it_was_written_and_an_older_record_never_replaces_it) {
  auto x = device("alice", "phone", 3, cursor({5}, {{7}, {9}}));
  x.horizon = {{11}, true};
  x.since = {2};
  save({x});
  auto older = device("alice", "phone", 2, cursor({99}, {}));
  save({older});
  const auto found = load(*at, x.user).value();
  EXPECT_EQ(found.record.user, x.user);
  EXPECT_EQ(found.record.acked, x.acked);
  EXPECT_EQ(found.record.horizon, x.horizon);
  EXPECT_EQ(found.record.version, 3u);
  EXPECT_EQ(found.record.seen, x.seen);
  EXPECT_EQ(found.record.since, x.since);
  EXPECT_EQ(found.devices, 1u);
  EXPECT_EQ(load(*at, user("alice")).value().record.version, 0u) << "the user's own record is another one";
  if (!survives()) return;
  open_as("device");
  EXPECT_EQ(load(*at, x.user).value().record.acked, x.acked);
}

TEST_P(devices_contract, devices_are_listed_in_order_of_their_ids_and_no_other_users_are_among_them) {
  save({device("alice", "phone", 1, {}), device("alice", "", 1, {}), device("alice", "Laptop \xc3\xa9", 1, {}), device("alice ", "x", 1, {}),
        device("alice!", "x", 1, {}), device("alic", "x", 1, {}), device("alicf", "x", 1, {})});
  EXPECT_THAT(names("alice"), ElementsAre("", "Laptop \xc3\xa9", "phone"));
  EXPECT_THAT(names("alice "), ElementsAre("x"));
  EXPECT_THAT(names("bob"), IsEmpty());
  EXPECT_EQ(load(*at, user("alice")).value().devices, 3u);
  if (!survives()) return;
  open_as("device");
  EXPECT_THAT(names("alice"), ElementsAre("", "Laptop \xc3\xa9", "phone"));
}

TEST_P(devices_contract, the_first_device_is_owed_what_nobody_acked_and_a_later_one_what_comes) {
  const auto seqs = keep_some("alice", 4);
  save({record("alice", 8, seqs[0], {seqs[2]})});
  const auto first = load(*at, box("alice", "phone")).value();
  EXPECT_FALSE(is_registered(first.record));
  EXPECT_EQ(first.devices, 0u);
  EXPECT_EQ(first.record.acked, cursor(seqs[0], {seqs[2]}));
  EXPECT_EQ(first.page.messages.size(), 3u);
  EXPECT_EQ(first.owed.messages, 2u);
  EXPECT_GT(first.owed.bytes, 0u);
  save({device("alice", "phone", 1, first.record.acked)});
  const auto later = load(*at, box("alice", "laptop")).value();
  EXPECT_FALSE(is_registered(later.record));
  EXPECT_EQ(later.devices, 1u);
  EXPECT_THAT(later.page.messages, IsEmpty());
  EXPECT_EQ(later.record.acked, cursor(later.page.complete_to, {}));
  EXPECT_GE(later.record.since, seqs[3]);
  const auto next = keep_some("alice", 1);
  save({device("alice", "laptop", 1, later.record.acked)});
  EXPECT_EQ(load(*at, box("alice", "laptop")).value().page.messages.size(), 1u);
  EXPECT_EQ(load(*at, box("alice", "laptop"), 0).value().owed.messages, 1u) << "counted, where the page does not have them all";
  EXPECT_EQ(load(*at, box("alice", "phone")).value().owed.messages, 3u);
}

TEST_P(devices_contract, history_says_what_the_device_has_acked) {
  const auto seqs = keep_some("alice", 2);
  auto x = device("alice", "phone", 1, cursor(seqs[0], {}));
  x.since = {1};
  save({x, device("alice", "laptop", 1, {})});
  EXPECT_EQ(history(*at, x.user).value().acked, x.acked);
  EXPECT_EQ(history(*at, x.user).value().since, x.since);
  EXPECT_EQ(history(*at, x.user).value().messages.size(), 2u);
  EXPECT_EQ(history(*at, box("alice", "laptop")).value().acked, cursor());
}

TEST_P(devices_contract, history_of_a_device_shows_what_the_person_did_on_any) {
  const auto seqs = keep_some("alice", 2);
  store_batch batch;
  batch.cursors = {record("alice", 1, {}, {}), device("alice", "phone", 1, {})};
  inbox_record read;
  read.user = user("alice");
  read.version = 1;
  read[inbox_mark::read].cover({}, seqs[0], {7});
  batch.inboxes.push_back(read);
  write(*at, std::move(batch)).value();
  const auto found = history(*at, box("alice", "phone")).value();
  EXPECT_EQ(found.inbox[inbox_mark::read].at(seqs[0]), unix_ms{7});
  EXPECT_EQ(found.inbox[inbox_mark::read].at(seqs[1]), std::nullopt);
}

TEST_P(devices_contract, a_message_stays_until_every_device_has_acked_it) {
  const auto seqs = keep_some("alice", 3);
  store_batch done;
  done.positions.push_back({shard_of(user("alice"), static_cast<std::uint32_t>(options.log.shards)), seqs[2].offset() + 1});
  write(*at, std::move(done)).value();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  for (reaped seen; seen.kept == 0;) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "the indexes never reached the first message";
    seen = reap(*at, {{5'000}, {}, 1}).value();
    ASSERT_EQ(seen.removed, 0u) << "owed to the user while there is no device";
  }
  save({record("alice", 1, seqs[2]), device("alice", "phone", 1, cursor(seqs[1], {})), device("alice", "laptop", 1, cursor({}, {seqs[1]}))});
  const auto pass = reap(*at, {{5'000}}).value();
  EXPECT_EQ(pass.removed, 1u) << "the second; what the user's own record says counts no more";
  EXPECT_EQ(pass.kept, 2u);
  save({device("alice", "laptop", 2, cursor(seqs[2], {}))});
  EXPECT_EQ(reap(*at, {{5'000}}).value().removed, 1u);
  save({device("alice", "phone", 2, cursor(seqs[2], {}))});
  EXPECT_EQ(reap(*at, {{5'000}}).value().removed, 1u);
}

TEST_P(devices_contract, each_device_that_is_owed_something_past_its_time_is_told) {
  auto late = entry_for("alice", "late", 1'000);
  auto what = *late.what;
  what.extensions.emplace_back("expirytime", "1970-01-01T00:00:02Z");
  what.expires = {2'000};
  late.what = std::make_shared<const event>(std::move(what));
  const auto seqs = keep({late});
  const auto owing = [&](reap_kind kind) {
    std::vector<std::string> out;
    for (const auto& x : reap(*at, {{3'000}, {}, 100, kind, false, {3'000}}).value().expired) out.push_back(readable(x.user));
    return out;
  };
  EXPECT_THAT(owing(reap_kind::expired_named), ElementsAre("user:alice")) << "while there is no device";
  save({device("alice", "phone", 1, {}), device("alice", "laptop", 1, cursor({}, {seqs[0]})), device("alice", "", 1, {})});
  EXPECT_THAT(owing(reap_kind::expired_named), UnorderedElementsAre("user:alice device phone", "user:alice device "));
  EXPECT_THAT(owing(reap_kind::expired_by_age), UnorderedElementsAre("user:alice device phone", "user:alice device "));
  save({device("alice", "phone", 2, cursor({}, {seqs[0]})), device("alice", "", 2, cursor({}, {seqs[0]}))});
  EXPECT_THAT(owing(reap_kind::expired_named), IsEmpty());
}

TEST_P(devices_contract, a_silent_device_is_forgotten_and_the_last_one_leaves_what_it_had_not_acked) {
  const auto seqs = keep_some("alice", 4);
  auto phone = device("alice", "phone", 9, cursor(seqs[1], {seqs[3]}), 1'000);
  phone.horizon = {seqs[3], true};
  auto laptop = device("alice", "laptop", 3, cursor(seqs[3], {}), 3'000);
  save({record("alice", 5, seqs[0]), phone, laptop, device("bob", "phone", 1, {}, 9'000)});
  EXPECT_EQ(forget(1'000), 0u) << "seen right then";
  EXPECT_EQ(forget(2'000, 1), 1u);
  EXPECT_THAT(names("alice"), ElementsAre("laptop"));
  EXPECT_EQ(load(*at, user("alice")).value().record.acked, cursor(seqs[0], {})) << "another one is there";
  const auto again = load(*at, phone.user).value();
  EXPECT_FALSE(is_registered(again.record)) << "it would be a new one";
  EXPECT_GE(again.record.since, seqs[3]);
  EXPECT_EQ(forget(5'000), 1u);
  EXPECT_THAT(names("alice"), IsEmpty());
  EXPECT_THAT(names("bob"), ElementsAre("phone"));
  const auto base = load(*at, user("alice")).value().record;
  EXPECT_EQ(base.acked, laptop.acked);
  EXPECT_EQ(base.horizon, (push_horizon{seqs[3], true})) << "as far as any of them was pushed to";
  const auto next = load(*at, box("alice", "tablet")).value();
  EXPECT_EQ(next.record.acked, laptop.acked);
  EXPECT_EQ(next.record.horizon, base.horizon);
  // It comes again: what it writes is newer than what is left of it.
  auto back = device("alice", "phone", load(*at, phone.user).value().record.version + 1, cursor(seqs[2], {}), 9'000);
  save({back});
  EXPECT_THAT(names("alice"), ElementsAre("phone"));
  EXPECT_EQ(load(*at, phone.user).value().record.acked, back.acked);
  if (!survives()) return;
  open_as("device");
  EXPECT_THAT(names("alice"), ElementsAre("phone"));
  EXPECT_EQ(load(*at, user("alice")).value().record.acked, laptop.acked);
}

TEST_P(devices_contract, devices_are_forgotten_in_bounded_steps) {
  std::vector<cursor_record> all;
  for (int i = 0; i < 23; ++i) all.push_back(device("user" + std::to_string(i % 7), "d" + std::to_string(i), 1, {}, i < 20 ? 1'000 : 9'000));
  save(std::move(all));
  EXPECT_EQ(forget(5'000, 4), 20u);
  std::size_t left = 0;
  for (int i = 0; i < 7; ++i) left += names("user" + std::to_string(i)).size();
  EXPECT_EQ(left, 3u);
}

TEST_P(devices_contract, acks_become_the_users_again_and_the_devices_again_and_nothing_is_lost) {
  if (!survives()) return;  // they have no start
  const auto seqs = keep_some("alice", 6);
  auto phone = device("alice", "phone", 9, cursor(seqs[3], {}));
  phone.horizon = {seqs[5], false};
  auto laptop = device("alice", "laptop", 3, cursor(seqs[1], {seqs[2], seqs[4]}));
  laptop.horizon = {seqs[4], true};
  save({record("alice", 5, seqs[0]), phone, laptop, record("bob", 2, {4})});
  for (int start = 0; start < 2; ++start) {
    open_as("user");
    const auto whole = load(*at, user("alice")).value();
    EXPECT_EQ(whole.record.acked, cursor(seqs[2], {})) << "what both have acked";
    EXPECT_EQ(whole.record.horizon, (push_horizon{seqs[5], true}));
    EXPECT_EQ(whole.owed.messages, 3u);
    EXPECT_EQ(load(*at, user("bob")).value().record.version, 2u);
    EXPECT_THAT(names("alice"), IsEmpty());
  }
  save({record("alice", load(*at, user("alice")).value().record.version + 1, seqs[3])});
  open_as("device");
  EXPECT_THAT(names("alice"), IsEmpty()) << "the devices of before are not those of now";
  const auto first = load(*at, phone.user).value();
  EXPECT_FALSE(is_registered(first.record));
  EXPECT_EQ(first.record.acked, cursor(seqs[3], {}));
  auto again = first.record;
  ++again.version;
  again.seen = {9'000};
  save({again});
  EXPECT_THAT(names("alice"), ElementsAre("phone"));
}

INSTANTIATE_TEST_SUITE_P(stores, devices_contract, all_stores, store_name);

}  // namespace
}  // namespace doorstep::test
