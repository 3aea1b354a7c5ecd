// SPDX-License-Identifier: Apache-2.0
// Tokens that must be taken and tokens that must not; keys.
#include "net/auth.hpp"

#include "runtime/digest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doorstep {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
constexpr unix_ms now{1'800'000'000'000};
const std::string secret = "a secret of at least thirty-two bytes";

token_verifier verifier(milliseconds leeway = milliseconds{0}) {
  auth_config settings;
  settings.hs256_secret = secret;
  settings.leeway = leeway;
  return *token_verifier::open(settings);
}

/// A token with any header and claims, rightly signed with `key`.
std::string token_of(const std::string& head, const std::string& claims, const std::string& key = secret) {
  const auto text = base64url(head) + "." + base64url(claims);
  const auto mac = hmac_sha256(key, text);
  return text + "." + base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
}
const std::string hs256 = R"({"alg":"HS256","typ":"JWT"})";

TEST(token_verifier, takes_a_token_it_made) {
  const auto x = verifier();
  const auto who = x.verify(x.make_token("alice \"the first\"", seconds{60}, now), now);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_EQ(who->user, "alice \"the first\"");
  EXPECT_EQ(who->expires_at, 1'800'000'060);
}

TEST(token_verifier, takes_the_example_of_jwt_io) {
  auth_config settings;
  settings.hs256_secret = "your-256-bit-secret";
  const auto who = token_verifier::open(settings)->verify(
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
      "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
      now);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_EQ(who->user, "1234567890");
  EXPECT_FALSE(who->expires_at);
}

auth_config claim_settings() {
  auth_config settings;
  settings.hs256_secret = secret;
  settings.user_claim = "/who/id";
  settings.roles_claim = "/realm~1access/roles";
  settings.groups_claim = "teams";
  return settings;
}

TEST(token_verifier, maps_nested_claims_lists_and_texts_to_roles_and_groups) {
  const auto x = *token_verifier::open(claim_settings());
  const auto who =
      x.verify(token_of(hs256, R"({"who":{"id":"ann"},"realm/access":{"roles":["viewer","admin","viewer",""]},"teams":"blue, red blue"})"), now);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_EQ(who->user, "ann");
  EXPECT_THAT(who->roles, testing::ElementsAre("admin", "viewer"));
  EXPECT_THAT(who->groups, testing::ElementsAre("blue", "red"));
}

TEST(token_verifier, takes_a_token_without_roles_as_one_that_has_none) {
  const auto who = token_verifier::open(claim_settings())->verify(token_of(hs256, R"({"who":{"id":"ann"},"teams":null})"), now);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_TRUE(who->roles.empty());
  EXPECT_TRUE(who->groups.empty());
}

TEST(token_verifier, maps_topics_where_a_claim_is_named_and_refuses_what_is_no_pattern) {
  auto settings = claim_settings();
  const auto token = [](const std::string& topics) { return token_of(hs256, R"({"who":{"id":"ann"},"may":{"read":)" + topics + "}}"); };
  EXPECT_TRUE(token_verifier::open(settings)->verify(token("[\"a\"]"), now)->topics.empty()) << "no claim is named";
  settings.topics_claim = "/may/read";
  const auto x = *token_verifier::open(settings);
  const auto who = x.verify(token(R"(["news.**","a.b","a.b"])"), now);
  ASSERT_TRUE(who) << who.error().detail;
  EXPECT_THAT(who->topics, testing::ElementsAre("a.b", "news.**"));
  EXPECT_THAT(x.verify(token("\"x y\""), now)->topics, testing::ElementsAre("x", "y"));
  EXPECT_TRUE(x.verify(token("null"), now)->topics.empty());
  for (const char* topics : {"7", "[1]", "[\"**.a\"]", "[\"a*\"]"}) {
    const auto refused = x.verify(token(topics), now);
    ASSERT_FALSE(refused) << topics;
    EXPECT_THAT(refused.error().detail, HasSubstr("the claim /may/read")) << topics;
  }
}

TEST(token_verifier, refuses_roles_of_another_kind) {
  const auto x = *token_verifier::open(claim_settings());
  for (const char* teams : {"7", "true", "{}", "[1]", "[\"a\",null]", "[\"a\\u0000b\"]"}) {
    const auto who = x.verify(token_of(hs256, std::string(R"({"who":{"id":"ann"},"teams":)") + teams + "}"), now);
    ASSERT_FALSE(who) << teams;
    EXPECT_THAT(who.error().detail, HasSubstr("the claim teams")) << teams;
  }
}

struct refused_case {
  const char* what;
  std::string token;
  const char* because;
};

TEST(token_verifier, refuses_everything_else_and_says_why) {
  const auto good = verifier().make_token("alice", seconds{60}, now);
  const auto parts_end = good.rfind('.');
  auto flipped = good;
  flipped[parts_end + 5] = flipped[parts_end + 5] == 'A' ? 'B' : 'A';
  auto other_claims = token_of(hs256, R"({"sub":"mallory"})");
  const refused_case cases[] = {
      {"nothing", "", "three parts"},
      {"garbage", "\xff\xfe not a token", "three parts"},
      {"two parts", "a.b", "three parts"},
      {"four parts", good + ".x", "three parts"},
      {"empty parts", "..", "header"},
      {"header not base64url", "!!." + good.substr(good.find('.') + 1), "header"},
      {"header not JSON", token_of("hello", R"({"sub":"a"})"), "header"},
      {"header not an object", token_of("[]", R"({"sub":"a"})"), "header"},
      {"alg none", token_of(R"({"alg":"none"})", R"({"sub":"a"})"), "algorithm"},
      {"alg none without a signature", base64url(R"({"alg":"none"})") + "." + base64url(R"({"sub":"a"})") + ".", "algorithm"},
      {"alg None", token_of(R"({"alg":"None"})", R"({"sub":"a"})"), "algorithm"},
      {"alg hs256", token_of(R"({"alg":"hs256"})", R"({"sub":"a"})"), "algorithm"},
      {"alg HS384 with a secret that is too short for it", token_of(R"({"alg":"HS384"})", R"({"sub":"a"})"), "signature"},
      {"alg ES512", token_of(R"({"alg":"ES512"})", R"({"sub":"a"})"), "algorithm"},
      {"typ of another token", token_of(R"({"alg":"HS256","typ":"logout+jwt"})", R"({"sub":"a"})"), "typ"},
      {"typ a number", token_of(R"({"alg":"HS256","typ":7})", R"({"sub":"a"})"), "typ"},
      {"kid a list", token_of(R"({"alg":"HS256","kid":[]})", R"({"sub":"a"})"), "kid"},
      {"alg a list", token_of(R"({"alg":["HS256"]})", R"({"sub":"a"})"), "algorithm"},
      {"no alg", token_of("{}", R"({"sub":"a"})"), "algorithm"},
      {"critical parameters", token_of(R"({"alg":"HS256","crit":["b64"]})", R"({"sub":"a"})"), "critical"},
      {"another key", token_of(hs256, R"({"sub":"a"})", "another secret"), "signature"},
      {"a signature of one bit off", flipped, "signature"},
      {"a signature cut short", good.substr(0, good.size() - 4), "signature"},
      {"no signature", good.substr(0, parts_end + 1), "signature"},
      {"claims of another token", good.substr(0, good.find('.')) + "." + other_claims.substr(other_claims.find('.') + 1, 20) + good.substr(parts_end),
       "signature"},
      {"claims not JSON", token_of(hs256, "{"), "claims"},
      {"claims not an object", token_of(hs256, "7"), "claims"},
      {"claims nested beyond sense", token_of(hs256, R"({"sub":"a","x":)" + std::string(500, '[') + std::string(500, ']') + "}"), "claims"},
      {"no user", token_of(hs256, R"({"name":"a"})"), "no text claim sub"},
      {"user a number", token_of(hs256, R"({"sub":7})"), "no text claim sub"},
      {"user empty", token_of(hs256, R"({"sub":""})"), "cannot be a user"},
      {"user with a control character", token_of(hs256, "{\"sub\":\"a\\u0000b\"}"), "cannot be a user"},
      {"user too long", token_of(hs256, R"({"sub":")" + std::string(513, 'a') + "\"}"), "cannot be a user"},
      {"expired", token_of(hs256, R"({"sub":"a","exp":1799999999})"), "expired"},
      {"expires now", token_of(hs256, R"({"sub":"a","exp":1800000000})"), "expired"},
      {"exp text", token_of(hs256, R"({"sub":"a","exp":"1900000000"})"), "exp is not a date"},
      {"exp null", token_of(hs256, R"({"sub":"a","exp":null})"), "exp is not a date"},
      {"exp negative", token_of(hs256, R"({"sub":"a","exp":-1})"), "exp is not a date"},
      {"exp beyond all calendars", token_of(hs256, R"({"sub":"a","exp":9223372036854775807})"), "exp is not a date"},
      {"exp 1e300", token_of(hs256, R"({"sub":"a","exp":1e300})"), "exp is not a date"},
      {"not yet", token_of(hs256, R"({"sub":"a","nbf":1800000001})"), "not valid yet"},
      {"nbf text", token_of(hs256, R"({"sub":"a","nbf":"soon"})"), "nbf is not a date"},
      {"over 8 KiB", token_of(hs256, R"({"sub":"a","x":")" + std::string(8192, 'x') + "\"}"), "8 KiB"},
  };
  for (const auto& x : cases) {
    const auto who = verifier().verify(x.token, now);
    ASSERT_FALSE(who) << x.what;
    EXPECT_EQ(who.error().code, ec::unauthorized) << x.what;
    EXPECT_THAT(who.error().detail, HasSubstr(x.because)) << x.what;
    if (x.token.size() > 40) {
      EXPECT_THAT(who.error().detail, testing::Not(HasSubstr(x.token.substr(0, 20)))) << "a token must not appear in a text";
    }
  }
}

TEST(token_verifier, judges_dates_with_the_leeway_on_both_sides) {
  const auto x = verifier(seconds{30});
  EXPECT_TRUE(x.verify(token_of(hs256, R"({"sub":"a","exp":1799999971})"), now));
  EXPECT_FALSE(x.verify(token_of(hs256, R"({"sub":"a","exp":1799999970})"), now));
  EXPECT_TRUE(x.verify(token_of(hs256, R"({"sub":"a","nbf":1800000030})"), now));
  EXPECT_FALSE(x.verify(token_of(hs256, R"({"sub":"a","nbf":1800000031})"), now));
  EXPECT_EQ(x.end_of(1'800'000'000).value, 1'800'000'030'000);
}

TEST(token_verifier, takes_a_date_with_a_fraction) {
  const auto who = verifier().verify(token_of(hs256, R"({"sub":"a","exp":1800000005.75})"), now);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->expires_at, 1'800'000'005);
}

TEST(token_verifier, reads_the_user_from_the_configured_claim) {
  auth_config settings;
  settings.hs256_secret = secret;
  settings.user_claim = "preferred_username";
  const auto x = *token_verifier::open(settings);
  EXPECT_EQ(x.verify(token_of(hs256, R"({"sub":"7","preferred_username":"alice"})"), now)->user, "alice");
  EXPECT_EQ(x.verify(x.make_token("bob", seconds{9}, now), now)->user, "bob");
}

TEST(token_verifier, without_a_secret_refuses_even_what_an_empty_key_signed) {
  const auto x = *token_verifier::open({});
  EXPECT_FALSE(x.has_secret());
  EXPECT_FALSE(x.verify(token_of(hs256, R"({"sub":"a"})", ""), now));
}

TEST(token_verifier, takes_tokens_of_a_named_issuer_for_a_named_audience_only) {
  auth_config settings;
  settings.hs256_secret = secret;
  settings.issuers = {"https://id.example", "other"};
  settings.audiences = {"doorstep"};
  const auto x = *token_verifier::open(settings);
  const auto judge = [&](const std::string& members) { return x.verify(token_of(hs256, R"({"sub":"a",)" + members + "}"), now).has_value(); };
  EXPECT_TRUE(judge(R"("iss":"https://id.example","aud":"doorstep")"));
  EXPECT_TRUE(judge(R"("iss":"other","aud":["shop","doorstep"])"));
  EXPECT_FALSE(judge(R"("iss":"https://id.example.evil","aud":"doorstep")"));
  EXPECT_FALSE(judge(R"("iss":["other"],"aud":"doorstep")"));
  EXPECT_FALSE(judge(R"("aud":"doorstep")"));
  EXPECT_FALSE(judge(R"("iss":"other")"));
  EXPECT_FALSE(judge(R"("iss":"other","aud":"shop")"));
  EXPECT_FALSE(judge(R"("iss":"other","aud":[])"));
  EXPECT_FALSE(judge(R"("iss":"other","aud":{"doorstep":1})"));
}

TEST(token_verifier, takes_no_algorithm_that_is_not_allowed) {
  auth_config settings;
  settings.hs256_secret = secret;
  settings.algorithms = {"RS256"};
  const auto who = token_verifier::open(settings)->verify(token_of(hs256, R"({"sub":"a"})"), now);
  ASSERT_FALSE(who);
  EXPECT_THAT(who.error().detail, HasSubstr("auth.algorithms"));
}

TEST(key_ring, knows_the_configured_keys_and_no_part_of_them) {
  internal_config settings;
  settings.api_keys = {"the-first-of-all-keys", "publish+read " + api_key_hash_text("the-second-of-all-keys") + " shop",
                       "publish the-third-of-all-keys"};
  settings.tls_clients = {"read ops.example.com"};
  const auto keys = key_ring::open(settings);
  ASSERT_TRUE(keys.find("the-first-of-all-keys"));
  EXPECT_TRUE(keys.find("the-first-of-all-keys")->scopes.allow(key_scope::admin));
  EXPECT_THAT(keys.find("the-first-of-all-keys")->name, testing::StartsWith("#"));
  const auto* second = keys.find("the-second-of-all-keys");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->name, "shop");
  EXPECT_TRUE(second->scopes.allow(key_scope::publish) && second->scopes.allow(key_scope::read));
  EXPECT_FALSE(second->scopes.allow(key_scope::admin));
  EXPECT_FALSE(keys.find("the-third-of-all-keys")->scopes.allow(key_scope::read));
  for (const auto& bad : {std::string(), std::string("the-first"), std::string("the-first-of-all-keys "), std::string("THE-FIRST-OF-ALL-KEYS"),
                          api_key_hash_text("the-second-of-all-keys"), std::string("shop"), std::string("ops.example.com")})
    EXPECT_FALSE(keys.find(bad)) << '"' << bad << '"';
  ASSERT_TRUE(keys.find_certificate("ops.example.com"));
  EXPECT_TRUE(keys.find_certificate("ops.example.com")->scopes.allow(key_scope::read));
  EXPECT_FALSE(keys.find_certificate("ops.example.co"));
  EXPECT_FALSE(key_ring::open({}).find(""));
}

TEST(bearer_of, takes_the_scheme_in_any_case_and_no_other_scheme) {
  EXPECT_EQ(bearer_of("Bearer abc"), "abc");
  EXPECT_EQ(bearer_of("bearer  abc "), "abc");
  EXPECT_EQ(bearer_of("Basic abc"), "");
  EXPECT_EQ(bearer_of("Bearer"), "");
  EXPECT_EQ(bearer_of("Bearerabc"), "");
}

}  // namespace
}  // namespace doorstep
