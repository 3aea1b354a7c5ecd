// SPDX-License-Identifier: Apache-2.0
// Dead letters on their way to the mirror, with a sink that the test answers.
#include "actors/mirror.hpp"

#include "tests/actors/fixture.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <utility>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class fake_sink final : public record_sink {
public:
  void produce(std::vector<encoded_record> records, std::function<void(record_outcomes)> done) override {
    under_way = std::move(records);
    tell = std::move(done);
  }
  void stop() override {}
  /// All that is under way landed, but for those named.
  void answer(const std::map<std::string, failure>& but = {}) {
    record_outcomes out;
    for (const auto& x : under_way) {
      const auto why = but.find(x.key);
      if (why == but.end()) landed.push_back(x.key + (x.value.empty() ? " without value" : ""));
      out.push_back(why == but.end() ? std::nullopt : std::optional(why->second));
    }
    under_way.clear();
    std::exchange(tell, nullptr)(std::move(out));
  }
  std::vector<std::string> keys() const {
    std::vector<std::string> out;
    for (const auto& x : under_way) out.push_back(x.key);
    return out;
  }
  std::vector<encoded_record> under_way;
  std::vector<std::string> landed;
  std::function<void(record_outcomes)> tell;
};

class mirror_test : public house_in_a_bottle {
protected:
  mirror_test() { parts_.mirror = &sink_; }
  void start() {
    auto make_mirror = &mirror;
    caf::actor_config plain;
    mirror_ = system_.spawn_functor<caf::no_spawn_options>(std::true_type{}, plain, make_mirror, &parts_);
    settle();
    pass(milliseconds{1});
  }
  void TearDown() override {
    if (mirror_) caf::anon_send_exit(mirror_, caf::exit_reason::user_shutdown);
    settle();
    mirror_ = nullptr;
    sink_.tell = nullptr;
    house_in_a_bottle::TearDown();
  }
  void die(const std::string& id, std::uint32_t requeue = 0) {
    dead_letter x;
    x.id = id;
    x.to = address::user("alice").value();
    x.what = std::make_shared<const event>(made_event(id, "alice"));
    x.requeue = requeue;
    store_batch batch;
    batch.dead.push_back(std::move(x));
    store_.write(std::move(batch), urgency::now, [](const result<void>&) {});
    settle();
  }
  void answer(const std::map<std::string, failure>& but = {}) {
    sink_.answer(but);
    settle();
  }
  static failure away() { return {ec::unavailable, "no broker", {}}; }

  fake_sink sink_;
};

TEST_F(mirror_test, what_dies_is_produced_once_and_marked_when_it_has_landed) {
  start();
  EXPECT_THAT(sink_.keys(), IsEmpty());
  die("a");
  die("b");
  pass(options_.dead_letters.mirror_interval);
  EXPECT_THAT(sink_.keys(), ElementsAre("a", "b"));
  EXPECT_FALSE(store_.is_mirrored(store_.dead()[0]));
  pass(milliseconds{600'000});
  EXPECT_THAT(sink_.keys(), ElementsAre("a", "b")) << "nothing more is read while brokers are away";
  answer();
  EXPECT_TRUE(store_.is_mirrored(store_.dead()[0]));
  EXPECT_TRUE(store_.is_mirrored(store_.dead()[1]));
  EXPECT_EQ(counts_.dead_mirrored.value(), 2);
  pass(milliseconds{600'000});
  EXPECT_THAT(sink_.keys(), IsEmpty());
  die("a", 1);
  pass(options_.dead_letters.mirror_interval);
  EXPECT_THAT(sink_.keys(), ElementsAre("a")) << "it died again";
}

TEST_F(mirror_test, only_so_many_are_in_memory_and_the_next_follow_at_once) {
  options_.dead_letters.mirror_batch_max = 2;
  for (const auto* id : {"a", "b", "c", "d", "e"}) die(id);
  start();
  EXPECT_THAT(sink_.keys(), ElementsAre("a", "b"));
  answer();
  EXPECT_THAT(sink_.keys(), ElementsAre("c", "d"));
  answer();
  EXPECT_THAT(sink_.keys(), ElementsAre("e"));
}

TEST_F(mirror_test, what_did_not_land_is_produced_again_and_the_rest_is_not) {
  for (const auto* id : {"a", "b", "c"}) die(id);
  start();
  answer({{"b", away()}});
  EXPECT_THAT(sink_.keys(), IsEmpty()) << "not at once: brokers that refuse are asked in their own time";
  pass(options_.dead_letters.mirror_interval);
  EXPECT_THAT(sink_.keys(), ElementsAre("b"));
  answer({{"b", away()}});
  pass(options_.dead_letters.mirror_interval);
  answer();
  EXPECT_THAT(sink_.landed, ElementsAre("a", "c", "b"));
}

TEST_F(mirror_test, a_mark_that_the_store_did_not_take_is_one_more_repeat) {
  die("a");
  start();
  store_.fail_with(failure{ec::unavailable, "no disk", {}});
  answer();
  pass(milliseconds{10'000});
  EXPECT_THAT(sink_.keys(), IsEmpty());
  store_.fail_with(std::nullopt);
  pass(options_.dead_letters.mirror_interval);
  EXPECT_THAT(sink_.keys(), ElementsAre("a"));
  answer();
  EXPECT_TRUE(store_.is_mirrored(store_.dead()[0]));
  EXPECT_EQ(counts_.dead_mirrored.value(), 1);
}

TEST_F(mirror_test, what_is_too_large_for_the_brokers_goes_without_its_value_and_holds_up_nobody) {
  die("a");
  die("b");
  start();
  answer({{"a", failure{ec::too_large, "larger than the brokers take", {}}}});
  EXPECT_THAT(sink_.keys(), ElementsAre("a"));
  answer();
  EXPECT_THAT(sink_.landed, ElementsAre("b", "a without value"));
  EXPECT_TRUE(store_.is_mirrored(store_.dead()[0]));
  EXPECT_TRUE(store_.is_mirrored(store_.dead()[1]));
}

}  // namespace
}  // namespace doorstep::test
