// SPDX-License-Identifier: Apache-2.0
// OpenSSL 3 by its EVP interface, which 3.0 and 3.5 share.
#include "net/token_key.hpp"

#include "runtime/digest.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>

namespace doorstep {
namespace {

template <auto Free>
struct freed {
  template <class T>
  void operator()(T* x) const {
    Free(x);
  }
};
using pkey_ptr = std::unique_ptr<EVP_PKEY, freed<EVP_PKEY_free>>;
using pkey_context = std::unique_ptr<EVP_PKEY_CTX, freed<EVP_PKEY_CTX_free>>;
using digest_context = std::unique_ptr<EVP_MD_CTX, freed<EVP_MD_CTX_free>>;
using number = std::unique_ptr<BIGNUM, freed<BN_free>>;
using builder = std::unique_ptr<OSSL_PARAM_BLD, freed<OSSL_PARAM_BLD_free>>;
using parameters = std::unique_ptr<OSSL_PARAM, freed<OSSL_PARAM_free>>;
using ecdsa_signature = std::unique_ptr<ECDSA_SIG, freed<ECDSA_SIG_free>>;
using bio_ptr = std::unique_ptr<BIO, freed<BIO_free>>;
using certificate_ptr = std::unique_ptr<X509, freed<X509_free>>;

constexpr int rsa_bits_min = 2048, rsa_bits_max = 8192;
constexpr std::size_t p256_bytes = 32, ed25519_bytes = 32;

const unsigned char* bytes_of(std::string_view x) { return reinterpret_cast<const unsigned char*>(x.data()); }
failure unusable(std::string why) {
  ERR_clear_error();
  return {ec::bad_config, std::move(why), {}};
}
number number_of(std::string_view x) { return number(BN_bin2bn(bytes_of(x), static_cast<int>(x.size()), nullptr)); }

/// The public key that OpenSSL makes of named values.
pkey_ptr made_of(const char* type, OSSL_PARAM_BLD* values) {
  const parameters all(OSSL_PARAM_BLD_to_param(values));
  const pkey_context context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* made = nullptr;
  if (all && context && EVP_PKEY_fromdata_init(context.get()) == 1) EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, all.get());
  return pkey_ptr(made);
}

/// JOSE writes r and s side by side (RFC 7518, 3.4), OpenSSL wants DER.
std::string der_of(std::string_view signature) {
  if (signature.size() != 2 * p256_bytes) return {};
  const ecdsa_signature made(ECDSA_SIG_new());
  auto r = number_of(signature.substr(0, p256_bytes)), s = number_of(signature.substr(p256_bytes));
  if (!made || !r || !s || ECDSA_SIG_set0(made.get(), r.get(), s.get()) != 1) return {};
  (void)r.release();  // the signature's now
  (void)s.release();
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(made.get(), &der);
  if (size <= 0) return {};
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

bool has_mac(const std::string& secret, const EVP_MD* hash, std::string_view text, std::string_view mac) {
  // That it is long enough for SHA-256 was seen to when the configuration was read.
  if (hash != EVP_sha256() && secret.size() < static_cast<std::size_t>(EVP_MD_get_size(hash))) return false;
  std::array<unsigned char, EVP_MAX_MD_SIZE> right{};
  unsigned size = 0;
  if (HMAC(hash, secret.data(), static_cast<int>(secret.size()), bytes_of(text), text.size(), right.data(), &size) == nullptr) return false;
  return equal_in_constant_time(mac, {reinterpret_cast<const char*>(right.data()), size});
}

std::optional<key_kind> kind_of_key(EVP_PKEY* x) {
  if (EVP_PKEY_is_a(x, "RSA") == 1) return key_kind::rsa;
  if (EVP_PKEY_is_a(x, "ED25519") == 1) return key_kind::ed25519;
  std::array<char, 64> group{};
  std::size_t size = 0;
  if (EVP_PKEY_is_a(x, "EC") == 1 && EVP_PKEY_get_utf8_string_param(x, OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), &size) == 1 &&
      std::string_view(group.data(), size) == "prime256v1")
    return key_kind::p256;
  return {};
}

}  // namespace

std::optional<token_algorithm> algorithm_named(std::string_view name) {
  if (name == "HS256") return token_algorithm::hs256;
  if (name == "HS384") return token_algorithm::hs384;
  if (name == "HS512") return token_algorithm::hs512;
  if (name == "RS256") return token_algorithm::rs256;
  if (name == "ES256") return token_algorithm::es256;
  if (name == "EdDSA") return token_algorithm::eddsa;
  return {};
}

key_kind kind_of(token_algorithm x) {
  switch (x) {
    case token_algorithm::rs256: return key_kind::rsa;
    case token_algorithm::es256: return key_kind::p256;
    case token_algorithm::eddsa: return key_kind::ed25519;
    default: return key_kind::secret;
  }
}

bool token_key::verifies(token_algorithm by, std::string_view text, std::string_view signature) const {
  if (doorstep::kind_of(by) != kind_) return false;
  const auto* hash = by == token_algorithm::eddsa   ? nullptr
                     : by == token_algorithm::hs384 ? EVP_sha384()
                     : by == token_algorithm::hs512 ? EVP_sha512()
                                                    : EVP_sha256();
  if (kind_ == key_kind::secret) return has_mac(secret_, hash, text, signature);
  std::string der;
  if (kind_ == key_kind::p256) {
    der = der_of(signature);
    if (der.empty()) return false;
    signature = der;
  }
  const digest_context context(EVP_MD_CTX_new());
  const bool good = context && EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, static_cast<EVP_PKEY*>(public_.get())) == 1 &&
                    EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

token_key token_key::secret(std::string bytes) {
  token_key made;
  made.secret_ = std::move(bytes);
  return made;
}

namespace {

result<std::pair<key_kind, std::shared_ptr<void>>> checked(pkey_ptr key) {
  if (!key) return unusable("the key is none that OpenSSL takes");
  const auto kind = kind_of_key(key.get());
  if (!kind) return unusable("a key must be RSA, P-256 or Ed25519");
  const auto bits = EVP_PKEY_get_bits(key.get());
  if (*kind == key_kind::rsa && (bits < rsa_bits_min || bits > rsa_bits_max)) return unusable("an RSA key must have 2048 to 8192 bits");
  const pkey_context context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!context || EVP_PKEY_public_check(context.get()) != 1) return unusable("the key's numbers do not fit together");
  return std::pair(*kind, std::shared_ptr<void>(key.release(), [](void* x) { EVP_PKEY_free(static_cast<EVP_PKEY*>(x)); }));
}

}  // namespace

result<token_key> token_key::rsa(std::string_view modulus, std::string_view exponent) {
  const auto n = number_of(modulus), e = number_of(exponent);
  if (!n || !e || BN_is_odd(e.get()) == 0 || BN_is_one(e.get()) == 1) return unusable("the RSA key's exponent cannot be one");
  const builder values(OSSL_PARAM_BLD_new());
  if (!values || OSSL_PARAM_BLD_push_BN(values.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(values.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
    return unusable("no memory for a key");
  auto key = checked(made_of("RSA", values.get()));
  if (!key) return key.error();
  token_key made;
  std::tie(made.kind_, made.public_) = std::move(*key);
  return made;
}

result<token_key> token_key::p256(std::string_view x, std::string_view y) {
  if (x.size() != p256_bytes || y.size() != p256_bytes) return unusable("the coordinates of a P-256 key have 32 bytes each");
  const auto point = "\x04" + std::string(x) + std::string(y);
  const builder values(OSSL_PARAM_BLD_new());
  if (!values || OSSL_PARAM_BLD_push_utf8_string(values.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(values.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
    return unusable("no memory for a key");
  auto key = checked(made_of("EC", values.get()));
  if (!key) return key.error();
  token_key made;
  std::tie(made.kind_, made.public_) = std::move(*key);
  return made;
}

result<token_key> token_key::ed25519(std::string_view x) {
  if (x.size() != ed25519_bytes) return unusable("an Ed25519 key has 32 bytes");
  auto key = checked(pkey_ptr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(x), x.size())));
  if (!key) return key.error();
  token_key made;
  std::tie(made.kind_, made.public_) = std::move(*key);
  return made;
}

result<std::vector<token_key>> token_key::from_pem(const std::string& text) {
  std::vector<token_key> all;
  const bio_ptr in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  char *name = nullptr, *head = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  while (in && PEM_read_bio(in.get(), &name, &head, &data, &size) == 1) {
    const std::string label = name;
    const unsigned char* at = data;
    pkey_ptr key;
    if (label == "PUBLIC KEY") key.reset(d2i_PUBKEY(nullptr, &at, size));
    if (label == "CERTIFICATE")
      if (const certificate_ptr certificate(d2i_X509(nullptr, &at, size)); certificate) key.reset(X509_get_pubkey(certificate.get()));
    OPENSSL_free(name);
    OPENSSL_free(head);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
    if (label.find("PRIVATE") != label.npos) return unusable("a private key has no place here: only its public half is needed");
    auto good = checked(std::move(key));
    if (!good) return good.error();
    token_key made;
    std::tie(made.kind_, made.public_) = std::move(*good);
    all.push_back(std::move(made));
  }
  ERR_clear_error();  // that there is no further block is how it ends
  if (all.empty()) return unusable("there is neither a PUBLIC KEY nor a CERTIFICATE in the PEM text");
  return all;
}

}  // namespace doorstep
