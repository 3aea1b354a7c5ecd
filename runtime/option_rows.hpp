// SPDX-License-Identifier: Apache-2.0
// How a row of the option table is written, and the checks that several rows share. For the files of the table only. Pure.
#pragma once

#include "runtime/options.hpp"

namespace doorstep::option_rows {

using sv = std::string_view;

template <auto Section, auto Member>
option_field in(config& c, std::size_t) {
  return &((c.*Section).*Member);
}

template <auto Member>
option_field of_row(config& c, std::size_t row) {
  return &(c.sources[row].*Member);
}

// RFC 6901: empty, or each part after a slash, with ~ only as ~0 or ~1.
inline std::string check_pointer(sv text) {
  if (text.empty()) return "";
  if (text.front() != '/') return "is not a JSON Pointer (RFC 6901): it begins with \"/\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '~' && (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1'))) {
      return "is not a JSON Pointer (RFC 6901): \"~\" is written \"~0\" and \"/\" in a name \"~1\"";
    }
  }
  return "";
}

inline std::string check_present(sv text) { return text.empty() ? "must not be empty" : ""; }

constexpr std::int64_t kib = 1024, mib = 1024 * kib, gib = 1024 * mib;
constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;

using k = option_kind;
using field_of = option_field (*)(config&, std::size_t);
using c = config;

constexpr option row(k kind, sv name, field_of field, sv sentence) { return {.name = name, .kind = kind, .sentence = sentence, .field = field}; }

constexpr option boolean(sv name, field_of field, sv sentence) { return row(k::boolean, name, field, sentence); }

constexpr option text(sv name, field_of field, sv sentence, option_check check = nullptr) {
  auto out = row(k::text, name, field, sentence);
  out.check = check;
  return out;
}

constexpr option texts(sv name, field_of field, sv sentence, option_check check) {
  auto out = row(k::texts, name, field, sentence);
  out.check = check;
  return out;
}

constexpr option number(k kind, sv name, field_of field, std::int64_t least, std::int64_t most, sv sentence) {
  auto out = row(kind, name, field, sentence);
  out.least = least;
  out.most = most;
  return out;
}

constexpr option count(sv name, field_of field, std::int64_t least, std::int64_t most, sv sentence) {
  return number(k::count, name, field, least, most, sentence);
}
constexpr option size(sv name, field_of field, std::int64_t least, std::int64_t most, sv sentence) {
  return number(k::size, name, field, least, most, sentence);
}
constexpr option duration(sv name, field_of field, std::int64_t least, std::int64_t most, sv sentence) {
  return number(k::duration, name, field, least, most, sentence);
}

constexpr option choice(sv name, field_of field, std::span<const sv> choices, std::span<const sv> planned, sv sentence) {
  auto out = row(k::choice, name, field, sentence);
  out.choices = choices;
  out.planned = planned;
  return out;
}

constexpr option secret(option x) {
  x.secret = true;
  return x;
}

}  // namespace doorstep::option_rows
