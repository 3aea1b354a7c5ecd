// SPDX-License-Identifier: Apache-2.0
#include "runtime/api_key.hpp"

#include <algorithm>
#include <vector>

namespace doorstep {

namespace {

constexpr std::string_view hash_prefix = "sha256:", digits = "0123456789abcdef";
constexpr std::size_t key_bytes_min = 16, name_bytes_max = 64;

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < line.size();) {
    const auto end = std::min(line.find_first_of(" \t", at), line.size());
    if (end > at) words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string hex_of(const sha256_digest& hash) {
  std::string out;
  for (const auto byte : hash) out.append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
  return out;
}

std::optional<sha256_digest> hash_of(std::string_view hex) {
  sha256_digest out{};
  if (hex.size() != 2 * out.size()) return {};
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const auto value = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    if (value == std::string_view::npos) return {};
    out.at(i / 2) = static_cast<std::uint8_t>(out.at(i / 2) << 4 | value);
  }
  return out;
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::optional<key_scopes> parse_key_scopes(std::string_view text) {
  key_scopes out;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find('+'));
    key_scope one{};
    if (word == "publish")
      one = key_scope::publish;
    else if (word == "read")
      one = key_scope::read;
    else if (word == "admin")
      one = key_scope::admin;
    else
      return {};
    out.bits = static_cast<std::uint8_t>(out.bits | static_cast<unsigned>(one));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return out.bits == 0 ? std::nullopt : std::optional(out);
}

result<api_key> parse_api_key(std::string_view line) {
  const auto wrong = [](const char* what) { return failure{ec::malformed, what, {}}; };
  auto words = words_of(line);
  if (words.empty()) return wrong("is empty");
  api_key out;
  out.scopes.bits = static_cast<std::uint8_t>(key_scope::admin);
  if (const auto scopes = words.size() > 1 ? parse_key_scopes(words.front()) : std::nullopt) {
    out.scopes = *scopes;
    words.erase(words.begin());
  }
  if (words.size() > 2) return wrong("is not \"scopes key name\": a scope is publish, read or admin, with + between several");
  const auto key = words.front();
  if (key.starts_with(hash_prefix)) {
    const auto hash = hash_of(key.substr(hash_prefix.size()));
    if (!hash) return wrong("has a hash that is not sha256: and 64 hexadecimal digits");
    out.hash = *hash;
  } else {
    if (key.size() < key_bytes_min) return wrong("is shorter than 16 bytes");
    if (!is_visible(key)) return wrong("has something else than visible ASCII characters in it");
    out.hash = sha256(key);
  }
  out.name = words.size() > 1 ? std::string(words[1]) : "#" + hex_of(out.hash).substr(0, 8);
  if (out.name.size() > name_bytes_max || !is_visible(out.name)) return wrong("has a name that is not 1 to 64 visible ASCII characters");
  return out;
}

std::string api_key_hash_text(std::string_view key) { return std::string(hash_prefix) + hex_of(sha256(key)); }

}  // namespace doorstep
