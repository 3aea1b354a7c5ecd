// SPDX-License-Identifier: Apache-2.0
// Keys of each kind as text, the signatures they check, and everything that is not taken for one.
#include "net/token_key.hpp"

#include "net/auth.hpp"
#include "net/jwk.hpp"
#include "runtime/digest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>
#include <memory>

namespace doorstep {
namespace {

using testing::HasSubstr;
constexpr unix_ms now{1'800'000'000'000};

/// A private key, which the product never sees.
struct signer {
  std::shared_ptr<EVP_PKEY> key;
  std::string algorithm;

  static signer rsa(unsigned bits = 2048) { return {{EVP_RSA_gen(bits), EVP_PKEY_free}, "RS256"}; }
  static signer p256() { return {{EVP_EC_gen("P-256"), EVP_PKEY_free}, "ES256"}; }
  static signer ed25519() { return {{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free}, "EdDSA"}; }

  std::string pem(bool with_private = false) const {
    const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free);
    if (with_private)
      PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    else
      PEM_write_bio_PUBKEY(out.get(), key.get());
    char* data = nullptr;
    const auto size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
  std::string number(const char* name, int size = 0) const {
    BIGNUM* x = nullptr;
    EVP_PKEY_get_bn_param(key.get(), name, &x);
    std::string bytes(static_cast<std::size_t>(size > 0 ? size : BN_num_bytes(x)), '\0');
    BN_bn2binpad(x, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    BN_free(x);
    return base64url(bytes);
  }
  std::string jwk(const std::string& more = "") const {
    std::string out;
    if (algorithm == "RS256")
      out = R"({"kty":"RSA","n":")" + number(OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" + number(OSSL_PKEY_PARAM_RSA_E) + '"';
    else if (algorithm == "ES256")
      out = R"({"kty":"EC","crv":"P-256","x":")" + number(OSSL_PKEY_PARAM_EC_PUB_X, 32) + R"(","y":")" + number(OSSL_PKEY_PARAM_EC_PUB_Y, 32) + '"';
    else {
      std::array<unsigned char, 32> raw{};
      std::size_t size = raw.size();
      EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size);
      out = R"({"kty":"OKP","crv":"Ed25519","x":")" + base64url({reinterpret_cast<const char*>(raw.data()), raw.size()}) + '"';
    }
    return out + more + "}";
  }
  std::string sign(const std::string& text) const {
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, algorithm == "EdDSA" ? nullptr : EVP_sha256(), nullptr, key.get());
    std::string out(1024, '\0');
    std::size_t size = out.size();
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, reinterpret_cast<const unsigned char*>(text.data()),
                   text.size());
    out.resize(size);
    if (algorithm != "ES256") return out;
    const auto* at = reinterpret_cast<const unsigned char*>(out.data());
    const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> parts(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)), ECDSA_SIG_free);
    std::string raw(64, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(parts.get()), reinterpret_cast<unsigned char*>(raw.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parts.get()), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
    return raw;
  }
  std::string token(const std::string& more_header = "", const std::string& claims = R"({"sub":"alice"})") const {
    const auto text = base64url(R"({"alg":")" + algorithm + '"' + more_header + "}") + "." + base64url(claims);
    return text + "." + base64url(sign(text));
  }
};

token_verifier with(const std::string& key) {
  auth_config settings;
  settings.keys = {key};
  const auto made = token_verifier::open(settings);
  EXPECT_TRUE(made) << made.error().detail;
  return made ? *made : *token_verifier::open({});
}

TEST(token_key, checks_what_each_kind_signed_read_from_pem_and_from_jwk) {
  for (const auto& x : {signer::rsa(), signer::p256(), signer::ed25519()}) {
    for (const auto& text : {x.pem(), x.jwk(), R"({"keys":[)" + x.jwk(R"(,"kid":"1","use":"sig","alg":")" + x.algorithm + '"') + "]}"}) {
      const auto verifier = with(text);
      const auto who = verifier.verify(x.token(), now);
      ASSERT_TRUE(who) << x.algorithm << ": " << who.error().detail;
      EXPECT_EQ(who->user, "alice");
      auto token = x.token();
      token[token.rfind('.') + 10] = token[token.rfind('.') + 10] == 'A' ? 'B' : 'A';
      EXPECT_FALSE(verifier.verify(token, now)) << x.algorithm;
    }
  }
}

TEST(token_key, of_another_pair_checks_nothing) {
  for (auto make : {+[] { return signer::rsa(); }, &signer::p256, &signer::ed25519}) {
    const auto who = with(make().pem()).verify(make().token(), now);
    ASSERT_FALSE(who);
    EXPECT_EQ(who.error().code, ec::unauthorized);
  }
}

TEST(token_key, is_never_a_secret_whatever_the_token_says) {
  const auto x = signer::rsa();
  for (const auto& text : {x.pem(), x.jwk()}) {
    const auto verifier = with(text);
    for (const auto& secret : {text, x.pem(), x.pem().substr(0, x.pem().size() - 1)}) {
      const auto body = base64url(R"({"alg":"HS256"})") + "." + base64url(R"({"sub":"alice"})");
      const auto mac = hmac_sha256(secret, body);
      const auto who = verifier.verify(body + "." + base64url({reinterpret_cast<const char*>(mac.data()), mac.size()}), now);
      ASSERT_FALSE(who);
      EXPECT_EQ(who.error().code, ec::unauthorized);
    }
  }
}

TEST(token_key, with_an_id_is_tried_for_that_id_only_and_an_unknown_id_is_told_apart_from_a_bad_signature) {
  const auto one = signer::p256(), two = signer::p256();
  const auto verifier = with(R"({"keys":[)" + one.jwk(R"(,"kid":"1")") + "," + two.jwk(R"(,"kid":"2")") + "]}");
  EXPECT_TRUE(verifier.verify(one.token(R"(,"kid":"1")"), now));
  EXPECT_TRUE(verifier.verify(two.token(), now)) << "a token without an id may be of any key";
  EXPECT_EQ(verifier.verify(one.token(R"(,"kid":"2")"), now).error().code, ec::unauthorized);
  EXPECT_EQ(verifier.verify(one.token(R"(,"kid":"3")"), now).error().code, ec::unavailable);
  const auto later = read_published_keys(R"({"keys":[)" + one.jwk(R"(,"kid":"3")") + "]}");
  ASSERT_TRUE(later);
  EXPECT_TRUE(verifier.verify(one.token(R"(,"kid":"3")"), now, &*later));
}

TEST(token_key, refuses_what_an_operator_cannot_have_meant_and_never_shows_it) {
  const auto x = signer::p256();
  const std::pair<std::string, const char*> wrong[] = {
      {"hello", "neither PEM nor"},
      {"{}", "no keys"},
      {R"({"keys":[]})", "1 to 64"},
      {R"({"keys":7})", "no list"},
      {R"({"keys":[7]})", "not an object"},
      {x.pem(true), "private key"},
      {signer::ed25519().jwk(R"(,"d":"AAAA")"), "private key"},
      {signer::rsa(1024).pem(), "2048"},
      {signer::rsa(1024).jwk(), "2048"},
      {signer{{EVP_EC_gen("P-384"), EVP_PKEY_free}, ""}.pem(), "P-256"},
      {x.jwk(R"(,"use":"enc")"), "not for signatures"},
      {x.jwk(R"(,"alg":"RS256")"), "alg does not fit"},
      {x.jwk(R"(,"alg":"none")"), "alg does not fit"},
      {R"({"kty":"oct","k":"AAAA"})", "shorter than 32"},
      {R"({"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"})", "32 bytes"},
      {R"({"kty":"EC","crv":"P-256","x":")" + base64url(std::string(32, '\1')) + R"(","y":")" + base64url(std::string(32, '\1')) + "\"}", "OpenSSL"},
      {"-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----\n", "OpenSSL"},
      {"-----BEGIN NOTHING-----\nbm90\n-----END NOTHING-----\n", "OpenSSL"},
  };
  for (const auto& [text, why] : wrong) {
    const auto keys = read_configured_keys(text);
    ASSERT_FALSE(keys) << text;
    EXPECT_EQ(keys.error().code, ec::bad_config) << text;
    EXPECT_THAT(keys.error().detail, HasSubstr(why));
    EXPECT_THAT(keys.error().detail, testing::Not(HasSubstr(text)));
  }
}

TEST(token_key, of_a_published_set_is_passed_over_where_it_is_of_no_use) {
  const auto x = signer::ed25519();
  const auto keys = read_published_keys(R"({"keys":[{"kty":"oct","k":")" + base64url(std::string(64, 's')) + R"("},{"kty":"RSA"},7,null,)" +
                                        signer::p256().jwk(R"(,"use":"enc")") + "," + x.jwk(R"(,"kid":"x")") + "]}");
  ASSERT_TRUE(keys) << keys.error().detail;
  ASSERT_EQ(keys->size(), 1U);
  EXPECT_EQ(keys->front().id, "x");
  EXPECT_EQ(keys->front().kind(), key_kind::ed25519);
  EXPECT_FALSE(read_published_keys(R"({"keys":[{"kty":"oct","k":")" + base64url(std::string(64, 's')) + "\"}]}"));
  EXPECT_FALSE(read_published_keys("<html>"));
}

}  // namespace
}  // namespace doorstep
