// SPDX-License-Identifier: Apache-2.0
#include "storage/origin_text.hpp"

#include "runtime/number_text.hpp"

#include <charconv>
#include <cstdint>
#include <utility>

namespace doorstep {

namespace {

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '%') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto* const first = text.data() + i + 1;
    if (std::from_chars(first, first + 2, byte, 16).ptr != first + 2) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

/// Takes the part before the next `end` off the front.
std::string_view next_part(std::string_view& text, char end) {
  const auto part = text.substr(0, text.find(end));
  text.remove_prefix(part.size() + (part.size() < text.size() ? 1 : 0));
  return part;
}

/// Four parts off the front.
std::optional<origin_partition> take_name(std::string_view& text) {
  const auto source = percent_decoded(next_part(text, ' '));
  const auto generation = number_in<std::uint32_t>(next_part(text, ' '));
  const auto topic = next_part(text, ' ');
  const auto partition = number_in<std::int32_t>(next_part(text, ' '));
  if (!source || source->empty() || !generation || topic.empty() || !partition) return std::nullopt;
  return origin_partition{*source, *generation, std::string(topic), *partition};
}

}  // namespace

std::string origin_name(const origin_partition& x) {
  return percent_encoded(x.source) + " " + std::to_string(x.generation) + " " + x.topic + " " + std::to_string(x.partition);
}

std::optional<origin_partition> origin_from_name(std::string_view text) {
  auto out = take_name(text);
  return text.empty() ? out : std::nullopt;
}

std::string origin_state(const origin_position& x) {
  auto out = origin_name(x.from) + " " + std::to_string(x.floor) + " " + std::to_string(x.rescan);
  for (const auto& [offset, to] : x.above) out.append("\n").append(std::to_string(offset)).append(" ").append(to);
  return out;
}

std::optional<origin_position> origin_from_state(std::string_view text) {
  auto first = next_part(text, '\n');
  auto from = take_name(first);
  const auto floor = number_in<std::int64_t>(next_part(first, ' '));
  const auto rescan = number_in<std::uint64_t>(first);
  if (!from || !floor || !rescan) return std::nullopt;
  origin_position out{std::move(*from), *floor, *rescan};
  while (!text.empty()) {
    auto line = next_part(text, '\n');
    const auto offset = number_in<std::int64_t>(next_part(line, ' '));
    if (!offset || line.empty()) return std::nullopt;
    out.above.emplace_back(*offset, std::string(line));
  }
  return out;
}

}  // namespace doorstep
