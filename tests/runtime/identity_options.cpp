// SPDX-License-Identifier: Apache-2.0
// API keys as they are written, and what of [auth] and TLS is refused before anything starts.
#include "runtime/api_key.hpp"
#include "runtime/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace doorstep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string wrong(const std::string& text) {
  const auto x = load_config(text, "doorstep.toml", {}, {});
  return x ? "it was taken" : x.error().detail;
}

TEST(api_key, is_scopes_a_key_and_a_name_of_which_only_the_key_must_be) {
  const auto hash = api_key_hash_text("a-key-of-some-length");
  EXPECT_THAT(hash, testing::MatchesRegex("sha256:[0-9a-f]{64}"));
  const auto whole = parse_api_key("publish+read " + hash + " shop");
  ASSERT_TRUE(whole) << whole.error().detail;
  EXPECT_EQ(whole->name, "shop");
  EXPECT_EQ(whole->hash, sha256("a-key-of-some-length"));
  EXPECT_TRUE(whole->scopes.allow(key_scope::publish) && whole->scopes.allow(key_scope::read) && !whole->scopes.allow(key_scope::admin));
  const auto plain = parse_api_key("a-key-of-some-length");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->hash, whole->hash);
  EXPECT_EQ(plain->name, "#" + hash.substr(7, 8));
  for (auto scope : {key_scope::publish, key_scope::read, key_scope::admin}) EXPECT_TRUE(plain->scopes.allow(scope));
  EXPECT_EQ(parse_api_key(hash + " ops")->name, "ops");
  EXPECT_FALSE(parse_api_key("read a-key-of-some-length")->scopes.allow(key_scope::publish));
}

TEST(api_key, that_cannot_be_used_is_refused_without_being_shown) {
  for (const auto* line : {"", "  ", "hunter2", "publish hunter2 x", "sha256:beef", "nothing a-key-of-some-length x",
                           "publish a-key-of-some-length x y", "publish+ a-key-of-s\x01me-length x x"}) {
    const auto key = parse_api_key(line);
    ASSERT_FALSE(key) << line;
    EXPECT_THAT(key.error().detail, Not(HasSubstr("hunter2")));
  }
  EXPECT_FALSE(parse_key_scopes(""));
  EXPECT_FALSE(parse_key_scopes("publish,read"));
}

TEST(identity_options, keys_are_read_one_a_line_and_added_to_those_in_the_configuration) {
  const auto path = std::filesystem::temp_directory_path() / ("doorstep-keys-" + std::to_string(getpid()));
  const auto with_file = "[internal]\napi_keys = [\"key-number-nil-0000\"]\napi_keys_file = '" + path.string() + "'\n";
  std::ofstream(path, std::ios::binary) << "key-number-one-0001\r\n\n# a word\nread key-number-two-0002 two";
  EXPECT_THAT(load_config(with_file, "doorstep.toml", {}, {})->internal.api_keys,
              ElementsAre("key-number-nil-0000", "key-number-one-0001", "read key-number-two-0002 two"));
  std::ofstream(path, std::ios::binary) << "key-number-one-0001\nhunter2\n";
  EXPECT_THAT(wrong(with_file), HasSubstr("is shorter than 16 bytes"));
  EXPECT_THAT(wrong(with_file), Not(HasSubstr("hunter2")));
  std::filesystem::remove(path);
}

TEST(identity_options, that_contradict_each_other_or_cannot_be_meant_are_refused) {
  const std::pair<const char*, const char*> table[] = {
      {"[http]\ntls_certificate = 'a'\n", "given together"},
      {"[internal]\ntls_key = 'a'\n", "given together"},
      {"[internal]\ntls_client_ca = 'a'\n", "needs internal.tls_certificate"},
      {"[internal]\ntls_certificate = 'a'\ntls_key = 'b'\ntls_clients = ['read x']\n", "needs internal.tls_client_ca"},
      {"[internal]\ntls_clients = ['x']\n", "scopes and a common name"},
      {"[auth]\njwks_url = 'http://id.example.com/keys'\n", "neither https"},
      {"[auth]\njwks_url = 'http://127.0.0.1.evil.example/keys'\n", "neither https"},
      {"[auth]\njwks_url = 'http://localhost@evil.example/keys'\n", "without user"},
      {"[auth]\nhook_url = 'file:///etc/passwd'\n", "neither https"},
      {"[auth]\nalgorithms = ['none']\n", "is none of"},
      {"[auth]\ncookie = 'a b'\n", "is not a name"},
      {"[auth]\ndeny = ['alice']\n", "is none of"},
      {"[auth]\ndeny = ['user:']\n", "the recipient id is empty"},
      {"[auth]\ndeny = [\"role:a\\u0007\"]\n", "control character U+0007"},
      {"[auth]\nanonymous_roles = [\"a\\nb\"]\n", "control character U+000A"},
      {"[auth]\nroles_claim = '/a~2'\n", "JSON Pointer"},
      {"[auth]\nhook_on_failure = 'maybe'\n", "hook_on_failure"},
      {"[auth]\nhs256_secret = '-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQ'\n", "key in PEM"},
      {"[auth]\nkey_files = ['/nowhere/at/all']\n", "cannot read"},
  };
  for (const auto& [text, why] : table) EXPECT_THAT(wrong(text), HasSubstr(why)) << text;
  for (const auto* url : {"https://id.example.com/keys", "http://127.0.0.1:8080/keys", "http://[::1]/keys", "http://localhost/keys"})
    EXPECT_EQ(wrong("[auth]\njwks_url = '" + std::string(url) + "'\n"), "it was taken");
}

TEST(identity_options, what_a_reload_takes_over_needs_no_restart) {
  config running, wanted;
  wanted.auth.hs256_secret = std::string(32, 'x');
  wanted.auth.deny = {"user:x"};
  wanted.internal.api_keys = {"a-key-of-some-length"};
  EXPECT_TRUE(options_for_restart(running, wanted).empty());
  wanted.auth.jwks_url = "https://x";
  wanted.http.tls_certificate = wanted.http.tls_key = "a";
  EXPECT_THAT(options_for_restart(running, wanted), testing::UnorderedElementsAre("http.tls_certificate", "http.tls_key", "auth.jwks_url"));
  running.http.tls_certificate = running.http.tls_key = "b";
  EXPECT_THAT(options_for_restart(running, wanted), ElementsAre("auth.jwks_url"));
}

}  // namespace
}  // namespace doorstep
