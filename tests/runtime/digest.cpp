// SPDX-License-Identifier: Apache-2.0
// Digests against the vectors of their specifications.
#include "runtime/digest.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace doorstep {
namespace {

std::string hex(const sha256_digest& x) {
  std::string out;
  for (const auto byte : x) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

TEST(digest, sha256_gives_the_vectors_of_fips_180) {
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256(std::string(1'000'000, 'a'))), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(digest, hmac_gives_the_vectors_of_rfc_4231) {
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hex(hmac_sha256("", "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(digest, base64_gives_the_vectors_of_rfc_4648_both_ways) {
  const struct {
    std::string plain, text;
  } table[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : table) {
    EXPECT_EQ(base64(plain), text);
    EXPECT_EQ(base64_decode(text), plain);
    const std::string bare = text.substr(0, text.find('='));
    EXPECT_EQ(base64url(plain), bare);
    EXPECT_EQ(base64url_decode(bare), plain);
  }
  EXPECT_EQ(base64("\xfb\xff\xfe"), "+//+");
  EXPECT_EQ(base64url("\xfb\xff\xfe"), "-__-");
}

TEST(digest, base64_refuses_everything_else) {
  for (const std::string text : {"Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zh==", "Zm9v\n", "-__-", "Zm 9"})
    EXPECT_FALSE(base64_decode(text)) << text;
  for (const std::string text : {"Z", "Zg==", "Zh", "+//+", "Zm9v "}) EXPECT_FALSE(base64url_decode(text)) << text;
}

TEST(digest, all_bytes_survive_base64) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    EXPECT_EQ(base64_decode(base64(bytes)), bytes);
    EXPECT_EQ(base64url_decode(base64url(bytes)), bytes);
  }
}

TEST(digest, constant_time_comparison_compares) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
  EXPECT_FALSE(equal_in_constant_time("secret", "Secret"));
  EXPECT_FALSE(equal_in_constant_time("secret", "secret "));
}

TEST(digest, random_bytes_do_not_repeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(random_bytes(16)).second);
  EXPECT_EQ(random_bytes(5).size(), 5U);
}

}  // namespace
}  // namespace doorstep
