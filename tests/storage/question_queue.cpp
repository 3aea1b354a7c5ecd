// SPDX-License-Identifier: Apache-2.0
#include "storage/question_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace doorstep::test {
namespace {

struct reader {};

class questions : public testing::Test {
protected:
  /// A question that notes how it was answered, and comes back with `why`.
  question_queue<reader>::question ask(const std::string& name, std::optional<failure> why = {}) {
    return [this, name, why](reader* from, const failure& why_not) {
      told.push_back(from ? name : name + ": " + why_not.detail);
      return why;
    };
  }
  /// Answers what is queued, and ends.
  void answer_all() {
    queue.stop();
    queue.answer(from);
  }

  reader from;
  question_queue<reader> queue{{ec::stopping, "closed", {}}};
  std::vector<std::string> told;
};

TEST_F(questions, are_answered_in_their_order_and_those_queued_before_the_stop_too) {
  queue.put(ask("a"));
  queue.put(ask("b"));
  answer_all();
  EXPECT_THAT(told, testing::ElementsAre("a", "b"));
}

TEST_F(questions, after_the_stop_are_refused_at_once) {
  answer_all();
  queue.put(ask("late"));
  EXPECT_THAT(told, testing::ElementsAre("late: closed"));
}

TEST_F(questions, behind_one_that_found_no_server_are_told_the_same) {
  queue.put(ask("a"));
  queue.put(ask("b", failure{ec::unavailable, "no server", {}}));
  queue.put(ask("c"));
  queue.put(ask("d"));
  answer_all();
  EXPECT_THAT(told, testing::ElementsAre("a", "b", "c: no server", "d: no server"));
}

TEST_F(questions, behind_one_that_failed_by_itself_are_asked) {
  queue.put(ask("a", failure{ec::corrupt, "a torn page", {}}));
  queue.put(ask("b"));
  answer_all();
  EXPECT_THAT(told, testing::ElementsAre("a", "b"));
}

TEST_F(questions, wake_a_thread_that_waits_for_them) {
  std::thread reading([&] { queue.answer(from); });
  std::promise<void> asked;
  queue.put([&](reader*, const failure&) -> std::optional<failure> {
    asked.set_value();
    return {};
  });
  EXPECT_EQ(asked.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  queue.stop();
  reading.join();
}

}  // namespace
}  // namespace doorstep::test
