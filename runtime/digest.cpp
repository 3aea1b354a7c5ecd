// SPDX-License-Identifier: Apache-2.0
// Digests through OpenSSL's EVP interface, base 64 by table. Pure, any thread.
#include "runtime/digest.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <memory>
#include <stdexcept>

namespace doorstep {

namespace {

constexpr std::string_view standard_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view url_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const unsigned char* bytes_of(std::string_view x) { return reinterpret_cast<const unsigned char*>(x.data()); }

/// One context a thread, and the algorithm looked up once: fetching it for each digest costs more than the digest.
EVP_MD_CTX* context_of_this_thread() {
  struct free_context {
    void operator()(EVP_MD_CTX* x) const { EVP_MD_CTX_free(x); }
  };
  thread_local const std::unique_ptr<EVP_MD_CTX, free_context> context(EVP_MD_CTX_new());
  return context.get();
}

const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}

std::string encode(std::string_view in, std::string_view alphabet, bool padded) {
  std::string out;
  out.reserve((in.size() + 2) / 3 * 4);
  const auto byte = [&](std::size_t i) { return i < in.size() ? std::uint32_t{static_cast<std::uint8_t>(in[i])} : 0U; };
  for (std::size_t i = 0; i < in.size(); i += 3) {
    const std::uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    const std::size_t digits = in.size() - i >= 3 ? 4 : in.size() - i + 1;
    for (std::size_t d = 0; d < digits; ++d) out += alphabet[(group >> (18 - 6 * d)) & 63];
    if (padded) out.append(4 - digits, '=');
  }
  return out;
}

std::array<std::int8_t, 256> table_of(std::string_view alphabet) {
  std::array<std::int8_t, 256> out;
  out.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) out[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::int8_t>(i);
  return out;
}

/// Digits without padding. Bits that are left over must be zero, so that one value has one text.
std::optional<std::string> decode(std::string_view digits, const std::array<std::int8_t, 256>& table) {
  if (digits.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(digits.size() / 4 * 3 + 2);
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const char c : digits) {
    const std::int8_t digit = table[static_cast<std::uint8_t>(c)];
    if (digit < 0) return std::nullopt;
    buffer = buffer << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(buffer >> bits & 0xFF);
    }
  }
  if ((buffer & ((1U << bits) - 1)) != 0) return std::nullopt;
  return out;
}

}  // namespace

sha256_digest sha256(std::string_view bytes) {
  sha256_digest out;
  EVP_MD_CTX* const context = context_of_this_thread();
  if (context == nullptr || EVP_DigestInit_ex2(context, algorithm(), nullptr) != 1 || EVP_DigestUpdate(context, bytes.data(), bytes.size()) != 1 ||
      EVP_DigestFinal_ex(context, out.data(), nullptr) != 1) {
    throw std::runtime_error("OpenSSL offers no SHA-256");
  }
  return out;
}

sha256_digest hmac_sha256(std::string_view key, std::string_view bytes) {
  sha256_digest out;
  unsigned size = 0;
  // HMAC() takes a null key for "the former one", so an empty key still needs an address.
  const void* const key_bytes = key.empty() ? "" : key.data();
  if (HMAC(EVP_sha256(), key_bytes, static_cast<int>(key.size()), bytes_of(bytes), bytes.size(), out.data(), &size) == nullptr) {
    throw std::runtime_error("OpenSSL offers no HMAC-SHA-256");
  }
  return out;
}

std::string base64url(std::string_view bytes) { return encode(bytes, url_alphabet, false); }

std::optional<std::string> base64url_decode(std::string_view text) {
  static const auto table = table_of(url_alphabet);
  return decode(text, table);
}

std::string base64(std::string_view bytes) { return encode(bytes, standard_alphabet, true); }

std::optional<std::string> base64_decode(std::string_view text) {
  static const auto table = table_of(standard_alphabet);
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, table);
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string random_bytes(std::size_t count) {
  std::string out(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(count)) != 1) throw std::runtime_error("OpenSSL has no random bytes");
  return out;
}

}  // namespace doorstep
