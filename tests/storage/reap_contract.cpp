// SPDX-License-Identifier: Apache-2.0
// What every message store promises about what is old: dead letters that go, and those that the mirror is to have; messages past their time.
// Retention of messages: inbox_contract.cpp.
#include "tests/storage/store_fixture.hpp"

#include <gmock/gmock.h>

#include <string>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class reap_contract : public store_test {
protected:
  static dead_letter dead_of(const std::string& id, std::int64_t last, std::uint32_t requeue = 0) {
    dead_letter out;
    out.id = id;
    out.to = user("alice");
    out.reason = dead_reason::nacked;
    out.what = entry_for("alice", id).what;
    out.first = out.last = {last};
    out.requeue = requeue;
    return out;
  }
  void change(const std::string& id, dead_letter_change::to what, std::uint32_t requeue = 0) {
    store_batch out;
    out.dead_changes.push_back({id, requeue, what});
    write(*at, std::move(out)).value();
  }
  std::vector<std::string> ids(const dead_letter_query& query = {}) {
    std::vector<std::string> out;
    for (const auto& x : dead_letters(*at, query).value()) out.push_back(x.id);
    return out;
  }
  static dead_letter_query unmirrored(std::size_t limit = 100) {
    dead_letter_query out;
    out.unmirrored = true;
    out.limit = limit;
    return out;
  }
  /// All steps of a pass. @returns how many went.
  std::size_t reap_dead(std::int64_t before, bool mirrored_only = false) {
    reap_step step{{before}, {}, 2, reap_kind::dead_letters, mirrored_only};
    std::size_t out = 0;
    do {
      const auto x = reap(*at, step).value();
      out += x.removed;
      step.from = x.next;
    } while (!step.from.empty());
    return out;
  }
  static log_entry expiring(const std::string& who, const std::string& id, std::int64_t expires, std::int64_t appended = 1'000'000) {
    auto out = entry_for(who, id, appended);
    auto what = *out.what;
    what.extensions.emplace_back("expirytime", "1970-01-01T00:00:0" + std::to_string(expires / 1000) + "Z");
    what.expires = {expires};
    out.what = std::make_shared<const event>(std::move(what));
    return out;
  }
  /// "user first last" of those who are owed something past its time.
  std::vector<std::string> overdue_at(reap_kind what, std::int64_t before, std::size_t limit = 100, std::string from = {}) {
    std::vector<std::string> out;
    again = from;
    bool any = false;
    reap_step step{{before}, std::move(from), limit, what, false, {before}};
    do {
      const auto x = reap(*at, step).value();
      if (!any) again = x.again;
      any = any || !x.expired.empty();
      for (const auto& y : x.expired)
        out.push_back(std::string(y.user.id()) + " " + std::to_string(y.first.offset()) + " " + std::to_string(y.last.offset()));
      step.from = x.next;
    } while (!step.from.empty());
    return out;
  }
  std::string again;
};

TEST_P(reap_contract, dead_letters_go_after_their_time_in_bounded_steps_requeued_or_not) {
  write(*at, {{}, {}, {dead_of("a", 1'000), dead_of("b", 3'000), dead_of("c", 1'500), dead_of("d", 999), dead_of("e", 2'000)}, {}}).value();
  change("c", dead_letter_change::to::requeued);
  EXPECT_EQ(at->counts->dead_letters.value(), GetParam().starts_with("memory") ? 0 : 5);
  EXPECT_EQ(reap_dead(2'000), 3u);
  EXPECT_THAT(ids(), ElementsAre("b", "e"));
  EXPECT_EQ(reap_dead(2'000), 0u);
  EXPECT_EQ(at->counts->dead_letters.value(), GetParam().starts_with("memory") ? 0 : 2);
}

TEST_P(reap_contract, what_a_mirror_is_to_have_stays_until_it_has_it) {
  write(*at, {{}, {}, {dead_of("a", 1'000), dead_of("b", 1'000), dead_of("c", 1'000), dead_of("d", 1'000)}, {}}).value();
  change("c", dead_letter_change::to::mirrored);
  EXPECT_EQ(reap_dead(2'000, true), 1u);
  EXPECT_THAT(ids(), ElementsAre("a", "b", "d"));
  EXPECT_EQ(reap_dead(2'000, false), 3u);
}

TEST_P(reap_contract, the_mirror_is_given_what_is_not_marked_in_the_order_of_arrival) {
  write(*at, {{}, {}, {dead_of("a", 3'000), dead_of("b", 1'000)}, {}}).value();
  write(*at, {{}, {}, {dead_of("c", 2'000)}, {}}).value();
  change("b", dead_letter_change::to::requeued);
  EXPECT_THAT(ids(unmirrored()), ElementsAre("a", "b", "c"));
  EXPECT_THAT(ids(unmirrored(2)), ElementsAre("a", "b"));
  auto small = unmirrored();
  small.bytes_max = 1;
  EXPECT_THAT(ids(small), ElementsAre("a")) << "the one that reaches the limit is in";
  change("a", dead_letter_change::to::mirrored);
  change("b", dead_letter_change::to::mirrored);
  change("c", dead_letter_change::to::mirrored, 7);
  EXPECT_THAT(ids(unmirrored()), ElementsAre("c")) << "it did not die as number 7; a requeued one is mirrored all the same";
  write(*at, {{}, {}, {dead_of("a", 3'000)}, {}}).value();  // written twice
  EXPECT_THAT(ids(unmirrored()), ElementsAre("c"));
  write(*at, {{}, {}, {dead_of("a", 9'000, 1)}, {}}).value();
  EXPECT_THAT(ids(unmirrored()), ElementsAre("c", "a")) << "another death";
  if (GetParam().starts_with("memory")) return;
  at.reset();
  at = make_engines(GetParam(), options);
  EXPECT_THAT(ids(unmirrored()), ElementsAre("c", "a"));
}

TEST_P(reap_contract, who_is_owed_something_past_the_time_it_names_is_told_until_it_is_settled) {
  keep({expiring("alice", "1", 5'000), entry_for("alice", "2"), expiring("alice", "3", 2'000), expiring("bob", "1", 1'000),
        expiring("bob", "2", 9'000)});
  const auto alice = load(*at, user("alice")).value().page.messages;
  const auto bob = load(*at, user("bob")).value().page.messages;
  const auto place = [](const auto& x) { return std::to_string(x->seq.offset()); };
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 1'000), IsEmpty());
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 1'001), ElementsAre("bob " + place(bob[0]) + " " + place(bob[0])));
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 6'000),
              testing::UnorderedElementsAre("bob " + place(bob[0]) + " " + place(bob[0]), "alice " + place(alice[0]) + " " + place(alice[2])));
  if (!GetParam().starts_with("memory")) {
    EXPECT_EQ(overdue_at(reap_kind::expired_named, 6'000, 1).size(), 3u) << "step by step: one a message";
  }
  write(*at, {{}, {record("bob", 1, {}, {bob[0]->seq}), record("alice", 1, alice[0]->seq)}, {}, {}}).value();
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 6'000), ElementsAre("alice " + place(alice[2]) + " " + place(alice[2])));
  write(*at, {{}, {record("alice", 2, alice[2]->seq)}, {}, {}}).value();
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 6'000), IsEmpty());
  EXPECT_THAT(overdue_at(reap_kind::expired_named, 9'001), ElementsAre("bob " + place(bob[1]) + " " + place(bob[1])));
}

/// Stores that remember where a look may begin; those in memory look at everything.
class reap_contract_on_disk : public reap_contract {};

TEST_P(reap_contract_on_disk, who_is_owed_something_that_is_too_old_is_told_and_the_next_look_begins_at_the_first_of_them) {
  keep({entry_for("alice", "1", 1'000), entry_for("bob", "1", 1'000), expiring("carol", "1", 9'000, 1'000)});
  keep({entry_for("alice", "2", 2'000)});
  keep({entry_for("alice", "3", 8'000)});
  const auto alice = load(*at, user("alice")).value().page.messages;
  const auto bob = load(*at, user("bob")).value().page.messages;
  const auto place = [](const auto& x) { return std::to_string(x->seq.offset()); };
  const auto of_bob = "bob " + place(bob[0]) + " " + place(bob[0]);
  write(*at, {{}, {record("alice", 1, alice[0]->seq)}, {}, {}}).value();
  EXPECT_THAT(overdue_at(reap_kind::expired_by_age, 5'000), testing::UnorderedElementsAre(of_bob, "alice " + place(alice[1]) + " " + place(alice[1])))
      << "what names a later time is not too old";
  const auto from = again;
  EXPECT_FALSE(from.empty());
  write(*at, {{}, {record("alice", 2, alice[1]->seq)}, {}, {}}).value();
  EXPECT_THAT(overdue_at(reap_kind::expired_by_age, 5'000, 2, from), ElementsAre(of_bob));
  write(*at, {{}, {record("bob", 1, bob[0]->seq)}, {}, {}}).value();
  EXPECT_THAT(overdue_at(reap_kind::expired_by_age, 5'000, 100, from), IsEmpty());
  EXPECT_NE(again, from) << "all of that is settled for good";
  EXPECT_THAT(overdue_at(reap_kind::expired_by_age, 9'000, 100, again), ElementsAre("alice " + place(alice[2]) + " " + place(alice[2])));
}

INSTANTIATE_TEST_SUITE_P(stores, reap_contract_on_disk, testing::Values("embedded", "sqlite-store", "mongodb"), store_name);
INSTANTIATE_TEST_SUITE_P(stores, reap_contract, all_stores, store_name);

}  // namespace
}  // namespace doorstep::test
