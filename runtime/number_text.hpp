// SPDX-License-Identifier: Apache-2.0
// Numbers out of text, where the whole text has to be one.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace doorstep {

/// @returns none where the text is empty, holds something else than one decimal number, or where that does not fit.
template <class T>
std::optional<T> number_in(std::string_view text) {
  T out{};
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (wrong != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace doorstep
