// SPDX-License-Identifier: Apache-2.0
// Is this text UTF-8, and is it text that an address or an attribute may hold? Pure, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace doorstep {

/// Reads the code point at `at` and moves behind it (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF). @returns false where there is none.
constexpr bool decode_utf8(std::string_view text, std::size_t& at, char32_t& out) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(at);
  if (first < 0x80) return out = first, ++at, true;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return false;
  out = first & (0xFF >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return false;
    out = (out << 6) | (byte(at + i) & 0x3F);
  }
  if ((length == 3 && (out < 0x800 || (out >= 0xD800 && out <= 0xDFFF))) || (length == 4 && (out < 0x10000 || out > 0x10FFFF))) return false;
  at += length;
  return true;
}

constexpr bool is_utf8(std::string_view text) {
  char32_t point = 0;
  for (std::size_t at = 0; at < text.size();)
    if (!decode_utf8(text, at, point)) return false;
  return true;
}

/// U+0000-001F and U+007F-009F.
constexpr bool is_control(char32_t x) { return x < 0x20 || (x >= 0x7F && x <= 0x9F); }
/// Code points that Unicode sets aside for internal use; CloudEvents 1.0, section "Type System", refuses them.
constexpr bool is_noncharacter(char32_t x) { return (x >= 0xFDD0 && x <= 0xFDEF) || (x & 0xFFFE) == 0xFFFE; }

}  // namespace doorstep
