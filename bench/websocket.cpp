// SPDX-License-Identifier: Apache-2.0
#include "bench/websocket.hpp"

#include "runtime/digest.hpp"

#include <openssl/evp.h>

#include <cctype>
#include <cstring>

namespace bench {

namespace {

void apply_mask(char* bytes, std::size_t size, const unsigned char (&mask)[4]) {
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(bytes[i]) ^ mask[i & 3]);
}

std::string text_of(const doorstep::sha256_digest& x) { return {reinterpret_cast<const char*>(x.data()), x.size()}; }

}  // namespace

std::optional<frame> parse_frame(char* bytes, std::size_t size) {
  if (size < 2) return std::nullopt;
  const auto* in = reinterpret_cast<const unsigned char*>(bytes);
  const bool masked = (in[1] & 0x80) != 0;
  std::size_t length = in[1] & 0x7f;
  std::size_t at = 2;
  const std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (size < at + extended + (masked ? 4 : 0)) return std::nullopt;
  if (extended != 0) {
    length = 0;
    for (std::size_t i = 0; i < extended; ++i) length = length << 8 | in[at + i];
    at += extended;
  }
  unsigned char mask[4] = {};
  if (masked) {
    std::memcpy(mask, bytes + at, 4);
    at += 4;
  }
  if (size - at < length) return std::nullopt;
  if (masked) apply_mask(bytes + at, length, mask);
  return frame{static_cast<opcode>(in[0] & 0x0f), (in[0] & 0x80) != 0, {bytes + at, length}, at + length};
}

char* write_server_header(char* end, opcode kind, std::size_t payload_bytes) {
  const std::size_t extended = payload_bytes < 126 ? 0 : payload_bytes < 65536 ? 2 : 8;
  char* begin = end - 2 - extended;
  begin[0] = static_cast<char>(0x80 | static_cast<unsigned>(kind));
  begin[1] = static_cast<char>(extended == 0 ? payload_bytes : extended == 2 ? 126 : 127);
  for (std::size_t i = 0; i < extended; ++i) begin[2 + i] = static_cast<char>(payload_bytes >> (8 * (extended - 1 - i)));
  return begin;
}

void append_client_frame(std::string& out, opcode kind, std::string_view payload, std::uint32_t mask_bits) {
  char header[server_header_bytes_max];
  char* begin = write_server_header(header + sizeof header, kind, payload.size());
  begin[1] = static_cast<char>(begin[1] | 0x80);
  out.append(begin, static_cast<std::size_t>(header + sizeof header - begin));
  unsigned char mask[4];
  std::memcpy(mask, &mask_bits, 4);
  out.append(reinterpret_cast<const char*>(mask), 4);
  out.append(payload);
  apply_mask(out.data() + out.size() - payload.size(), payload.size(), mask);
}

std::string_view header_value(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
    at += 2;
    if (head.size() - at <= name.size() || head[at + name.size()] != ':') continue;
    bool same = true;
    for (std::size_t i = 0; i < name.size() && same; ++i) same = std::tolower(static_cast<unsigned char>(head[at + i])) == name[i];
    if (!same) continue;
    std::string_view value = head.substr(at + name.size() + 1);
    value = value.substr(0, value.find("\r\n"));
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
    return value;
  }
  return {};
}

std::string accept_key(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return doorstep::base64({reinterpret_cast<const char*>(digest), size});
}

std::string make_token(std::string_view secret, std::string_view user, std::int64_t expires_at, std::string_view more) {
  const std::string claims = "{\"sub\":\"" + std::string(user) + "\",\"exp\":" + std::to_string(expires_at) + std::string(more) + "}";
  const std::string signed_part = doorstep::base64url("{\"alg\":\"HS256\",\"typ\":\"JWT\"}") + "." + doorstep::base64url(claims);
  return signed_part + "." + doorstep::base64url(text_of(doorstep::hmac_sha256(secret, signed_part)));
}

std::string user_of_token(std::string_view token) {
  const auto first = token.find('.');
  const auto second = token.find('.', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return {};
  const auto claims = doorstep::base64url_decode(token.substr(first + 1, second - first - 1));
  if (!claims) return {};
  const auto at = claims->find("\"sub\":\"");
  if (at == std::string::npos) return {};
  const auto begin = at + 7;
  return claims->substr(begin, claims->find('"', begin) - begin);
}

}  // namespace bench
