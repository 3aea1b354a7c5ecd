// SPDX-License-Identifier: Apache-2.0
// Which recipient ids are accepted, and that shards are chosen as Kafka's Java client would.
#include "runtime/address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace doorstep {
namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;

TEST(address, takes_what_people_use_as_ids_bytewise) {
  for (const std::string id :
       {"42", "alice smith", "a/b/c", "auth0|12:34", "it's \"quoted\"", "\\", "caf\u00e9", "cafe\u0301", "\U0001F98A", "\u65e5\u672c", " "}) {
    const auto x = address::user(id);
    ASSERT_TRUE(x) << id;
    EXPECT_EQ(x->text(), "user:" + id);
    EXPECT_EQ(x->id(), id);
    EXPECT_EQ(x->kind(), "user");
    EXPECT_EQ(*address::parse(x->text()), *x);
  }
  EXPECT_NE(*address::user("caf\u00e9"), *address::user("cafe\u0301"));  // nothing is normalised
  EXPECT_TRUE(address::user(std::string(512, 'x')));
}

TEST(address, refuses_bad_ids_and_says_why) {
  const struct {
    std::string id, why;
  } table[] = {
      {"", "empty"},
      {std::string(513, 'x'), "513 bytes; at most 512"},
      {"a\0b"s, "U+0000 (byte 1)"},
      {"\n", "U+000A"},
      {"tab\there", "U+0009 (byte 3)"},
      {"\x7f", "U+007F"},
      {"\u0085", "U+0085"},
      {"\u009f", "U+009F"},
      {"ab\xff", "not valid UTF-8 (byte 2)"},
      {"\xc3", "not valid UTF-8"},              // cut off
      {"\xc0\xaf", "not valid UTF-8"},          // overlong
      {"\xe0\x80\xaf", "not valid UTF-8"},      // overlong
      {"\xed\xa0\x80", "not valid UTF-8"},      // a surrogate
      {"\xf4\x90\x80\x80", "not valid UTF-8"},  // past U+10FFFF
      {"\x80", "not valid UTF-8"},
  };
  for (const auto& [id, why] : table) {
    const auto x = address::user(id);
    ASSERT_FALSE(x) << why;
    EXPECT_EQ(x.error().code, ec::malformed);
    EXPECT_THAT(x.error().detail, HasSubstr(why));
  }
}

TEST(address, parse_refuses_other_kinds_and_cannot_reach_the_dead_letters) {
  for (const std::string text :
       {"", "alice", "rolle:admin", "User:1", ":1", "user:", "role:", "topic:\n", "all:", "all:x", "reader:all\nx", "gone:all"})
    EXPECT_FALSE(address::parse(text)) << text;
  EXPECT_FALSE(address::parse(address::dead_letters().text()));
  EXPECT_TRUE(address::dead_letters().is_dead_letters());
  EXPECT_FALSE(address::dead_letters().is_user());
  EXPECT_EQ(trusted_address(std::string(address::dead_letters().text())), address::dead_letters());
  EXPECT_EQ(trusted_address("user:a:b").id(), "a:b");
}

TEST(address, channels_are_roles_groups_topics_and_all) {
  for (const std::string text : {"role:admin", "group:a/b", "topic:sales:eu", "all"}) {
    const auto x = address::parse(text);
    ASSERT_TRUE(x) << text;
    EXPECT_EQ(x->text(), text);
    EXPECT_TRUE(x->is_channel());
    EXPECT_FALSE(x->is_user());
    EXPECT_EQ(trusted_address(text).kind(), x->kind());
  }
  EXPECT_EQ(address::all().kind(), "all");
  EXPECT_EQ(address::all().id(), "");
  EXPECT_FALSE(address::user("all")->is_channel());
}

TEST(address, the_key_of_a_reader_is_nobodys_address_and_no_other_readers) {
  const auto a = reader_key(address::parse("role:a").value(), "b"), b = reader_key(address::all(), "a");
  EXPECT_NE(a, b);
  EXPECT_FALSE(address::parse(a.text()));
  EXPECT_FALSE(a.is_channel());
  EXPECT_NE(gone_key(address::all()), b);
}

TEST(address, murmur2_equals_kafkas_java_client) {
  // org.apache.kafka.common.utils.UtilsTest.testMurmur2, before Utils.toPositive
  const struct {
    std::string_view text;
    std::int32_t hash;
  } table[] = {
      {"21", -973932308},
      {"foobar", -790332482},
      {"a-little-bit-long-string", -985981536},
      {"a-little-bit-longer-string", -1486304829},
      {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
      {"abc", 479470107},
  };
  for (const auto& [text, hash] : table) EXPECT_EQ(murmur2(text), static_cast<std::uint32_t>(hash) & 0x7fffffff) << text;
}

TEST(address, every_shard_gets_its_share) {
  std::vector<int> users(8);
  for (int i = 0; i < 8000; ++i) ++users[static_cast<std::size_t>(shard_of(*address::user(std::to_string(i)), 8))];
  for (const int x : users) EXPECT_NEAR(x, 1000, 150);
}

}  // namespace
}  // namespace doorstep
