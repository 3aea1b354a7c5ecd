// SPDX-License-Identifier: Apache-2.0
// The codes as clients and people see them.
#include "runtime/error.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace doorstep {
namespace {

constexpr ec all_codes[] = {ec::malformed,  ec::unauthorized, ec::forbidden, ec::not_found,  ec::too_large, ec::unsupported,
                            ec::queue_full, ec::unavailable,  ec::stopping,  ec::bad_config, ec::corrupt,   ec::internal};

TEST(error, every_code_has_a_name_of_its_own_and_a_sentence) {
  std::set<std::string_view> names, sentences;
  for (const auto code : all_codes) {
    names.insert(name(code));
    sentences.insert(describe(code));
    EXPECT_EQ(name(code).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string_view::npos) << name(code);
    EXPECT_TRUE(describe(code).ends_with('.')) << name(code);
  }
  EXPECT_EQ(names.size(), std::size(all_codes));
  EXPECT_EQ(sentences.size(), std::size(all_codes));
}

TEST(error, the_names_of_the_protocol_do_not_change) {
  EXPECT_EQ(name(ec::not_found), "not-found");
  EXPECT_EQ(name(ec::too_large), "too-large");
  EXPECT_EQ(name(ec::queue_full), "queue-full");
}

TEST(error, only_what_passes_by_itself_is_temporary) {
  std::set<ec> temporary;
  for (const auto code : all_codes) {
    if (is_temporary(code)) temporary.insert(code);
  }
  EXPECT_EQ(temporary, (std::set<ec>{ec::queue_full, ec::unavailable, ec::stopping}));
}

TEST(error, a_failure_reads_as_code_detail_and_field) {
  EXPECT_EQ(to_string({ec::queue_full, "the queue holds 10 entries", "events"}), "queue-full: the queue holds 10 entries (events)");
  EXPECT_EQ(to_string({ec::internal, "", ""}), "internal");
}

TEST(error, a_result_without_a_value_throws_what_was_wrong) {
  const result<int> none = failure{ec::not_found, "no such user", ""};
  try {
    (void)none.value();
    FAIL() << "value() of a failure returned";
  } catch (const std::runtime_error& x) {
    EXPECT_STREQ(x.what(), "not-found: no such user");
  }
}

}  // namespace
}  // namespace doorstep
