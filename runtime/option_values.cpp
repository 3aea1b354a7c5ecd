// SPDX-License-Identifier: Apache-2.0
// Option values: from TOML, from the text of a flag or an environment variable, and back to text. What is wrong is said in a sentence. Pure, any thread.
#include "runtime/number_text.hpp"
#include "runtime/options.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;
using problem = std::optional<std::string>;

template <class... Parts>
std::string text_of(const Parts&... parts) {
  std::string out;
  (out.append(parts), ...);
  return out;
}

std::string in_quotes(sv text) {
  constexpr sv digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out.append("\\u00").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

std::string quoted_list(std::span<const sv> names, sv last) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += i + 1 == names.size() ? last : ", ";
    out += in_quotes(names[i]);
  }
  return out;
}

std::string number_text(const option& which, std::int64_t x) {
  if (which.kind == option_kind::duration) return format_duration(milliseconds(x));
  return which.kind == option_kind::size ? format_size(static_cast<std::uint64_t>(x)) : std::to_string(x);
}

sv expected(option_kind kind) {
  switch (kind) {
    case option_kind::text: return "a text in quotes";
    case option_kind::boolean: return "true or false";
    case option_kind::count: return "a whole number";
    case option_kind::size: return "a size such as \"64KiB\"";
    case option_kind::duration: return "a duration such as \"30s\"";
    case option_kind::texts: return "a list of texts such as [\"a\", \"b\"]";
    case option_kind::choice: return "a text in quotes";
  }
  return "";
}

sv kind_of(const option_value& x) {
  struct visitor {
    sv operator()(bool) const { return "true or false"; }
    sv operator()(std::int64_t) const { return "a whole number"; }
    sv operator()(const std::string&) const { return "a text"; }
    sv operator()(const std::vector<std::string>&) const { return "a list"; }
    sv operator()(const other_value& other) const { return other.kind; }
  };
  return std::visit(visitor{}, x);
}

problem wrong_kind(const option& which, const option_value& x) { return text_of(which.name, " is ", expected(which.kind), ", not ", kind_of(x)); }

problem set_number(const option& which, config& in, std::size_t row, std::int64_t x) {
  if (x < which.least || x > which.most) return text_of(which.name, " must be ", option_range(which), ", not ", number_text(which, x));
  const auto field = which.field(in, row);
  if (which.kind == option_kind::duration) {
    *std::get<milliseconds*>(field) = milliseconds(x);
  } else {
    *std::get<std::size_t*>(field) = static_cast<std::size_t>(x);
  }
  return std::nullopt;
}

problem checked(const option& which, sv text) {
  if (which.check == nullptr) return std::nullopt;
  const auto wrong = which.check(text);
  if (wrong.empty()) return std::nullopt;
  return which.secret || text.empty() ? text_of(which.name, " ", wrong) : text_of(which.name, ": ", in_quotes(text), " ", wrong);
}

problem set_choice(const option& which, config& in, std::size_t row, const std::string& text) {
  if (std::find(which.planned.begin(), which.planned.end(), text) != which.planned.end()) {
    return text_of(which.name, ": ", in_quotes(text), " is not in this version; it must be ", option_range(which));
  }
  if (std::find(which.choices.begin(), which.choices.end(), text) == which.choices.end()) {
    return text_of(which.name, " must be ", option_range(which), ", not ", in_quotes(text));
  }
  *std::get<std::string*>(which.field(in, row)) = text;
  return std::nullopt;
}

problem set_text(const option& which, config& in, std::size_t row, const std::string& text) {
  if (text.find('\0') != std::string::npos) return text_of(which.name, " has a zero byte in it");
  if (auto wrong = checked(which, text)) return wrong;
  *std::get<std::string*>(which.field(in, row)) = text;
  return std::nullopt;
}

problem set_texts(const option& which, config& in, std::size_t row, const std::vector<std::string>& texts) {
  for (const auto& text : texts) {
    if (auto wrong = checked(which, text)) return wrong;
  }
  *std::get<std::vector<std::string>*>(which.field(in, row)) = texts;
  return std::nullopt;
}

problem set_duration(const option& which, config& in, std::size_t row, sv text) {
  const auto x = parse_duration(text);
  return x ? set_number(which, in, row, x->count()) : text_of(which.name, ": ", x.error().detail);
}

problem set_size(const option& which, config& in, std::size_t row, sv text) {
  const auto x = parse_size(text);
  if (!x) return text_of(which.name, ": ", x.error().detail);
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return set_number(which, in, row, static_cast<std::int64_t>(std::min(*x, most)));
}

sv trimmed(sv text) {
  const auto begin = text.find_first_not_of(" \t");
  return begin == sv::npos ? sv{} : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string> split_list(sv text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    if (const auto item = trimmed(text.substr(0, comma)); !item.empty()) out.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

std::size_t edit_distance(sv a, sv b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const auto replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

problem set_option(const option& which, config& in, std::size_t row, const option_value& value) {
  const auto* text = std::get_if<std::string>(&value);
  switch (which.kind) {
    case option_kind::text: return text ? set_text(which, in, row, *text) : wrong_kind(which, value);
    case option_kind::choice: return text ? set_choice(which, in, row, *text) : wrong_kind(which, value);
    case option_kind::duration: return text ? set_duration(which, in, row, *text) : wrong_kind(which, value);
    case option_kind::size:
      if (text) return set_size(which, in, row, *text);
      [[fallthrough]];
    case option_kind::count:
      if (const auto* x = std::get_if<std::int64_t>(&value)) return set_number(which, in, row, *x);
      return wrong_kind(which, value);
    case option_kind::texts:
      if (const auto* x = std::get_if<std::vector<std::string>>(&value)) return set_texts(which, in, row, *x);
      return wrong_kind(which, value);
    case option_kind::boolean:
      if (const auto* x = std::get_if<bool>(&value)) {
        *std::get<bool*>(which.field(in, row)) = *x;
        return std::nullopt;
      }
      return wrong_kind(which, value);
  }
  return wrong_kind(which, value);
}

problem set_option_text(const option& which, config& in, std::size_t row, sv text) {
  switch (which.kind) {
    case option_kind::boolean:
      if (text == "true" || text == "false") return set_option(which, in, row, text == "true");
      return text_of(which.name, " is true or false, not ", in_quotes(text));
    case option_kind::count: {
      const auto x = number_in<std::int64_t>(text);
      return x ? set_number(which, in, row, *x) : text_of(which.name, " is a whole number, not ", in_quotes(text));
    }
    case option_kind::texts: return set_texts(which, in, row, split_list(text));
    default: return set_option(which, in, row, std::string(text));
  }
}

std::string option_text(const option& which, config& in, std::size_t row) {
  struct visitor {
    const option& which;
    std::string operator()(const std::string* x) const { return in_quotes(*x); }
    std::string operator()(const bool* x) const { return *x ? "true" : "false"; }
    std::string operator()(const std::size_t* x) const {
      const auto text = number_text(which, static_cast<std::int64_t>(*x));
      return which.kind == option_kind::size ? in_quotes(text) : text;
    }
    std::string operator()(const milliseconds* x) const { return in_quotes(format_duration(*x)); }
    std::string operator()(const std::vector<std::string>* x) const {
      const std::vector<sv> views(x->begin(), x->end());
      return text_of("[", quoted_list(views, ", "), "]");
    }
  };
  return std::visit(visitor{which}, which.field(in, row));
}

std::string option_range(const option& which) {
  if (!which.choices.empty()) return quoted_list(which.choices, " or ");
  return which.most == 0 ? "" : text_of(number_text(which, which.least), " to ", number_text(which, which.most));
}

sv kind_name(option_kind kind) {
  switch (kind) {
    case option_kind::text: return "text";
    case option_kind::boolean: return "boolean";
    case option_kind::count: return "number";
    case option_kind::size: return "size";
    case option_kind::duration: return "duration";
    case option_kind::texts: return "list";
    case option_kind::choice: return "choice";
  }
  return "";
}

sv nearest_name(sv typed, std::span<const sv> names) {
  sv best;
  auto best_distance = std::max<std::size_t>(typed.size() / 3, 2) + 1;
  for (const auto name : names) {
    if (const auto distance = edit_distance(typed, name); distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

namespace {

/// Rules, keys and certificates are taken over by a reload; what a thread was made for is not, nor whether a port speaks TLS.
bool is_reloaded(const option& x, const config& running, const config& wanted) {
  if (x.section() == "routing") return !x.key().starts_with("fan_out_");
  if (x.section() == "auth") return !x.key().starts_with("jwks_") && !x.key().starts_with("hook_") && x.key() != "tickets_max";
  if (x.name == "http.tls_certificate" || x.name == "http.tls_key") return running.http.tls_key.empty() == wanted.http.tls_key.empty();
  if (x.section() == "internal" && x.key().starts_with("tls_")) return running.internal.tls_key.empty() == wanted.internal.tls_key.empty();
  return x.section() == "internal" && x.key().starts_with("api_keys");
}

}  // namespace

std::vector<std::string> options_for_restart(const config& running, const config& wanted) {
  config a = running, b = wanted;
  std::vector<std::string> out;
  const auto compare = [&](const option& x, std::size_t row, std::string name) {
    if (option_text(x, a, row) != option_text(x, b, row)) out.push_back(std::move(name));
  };
  for (const auto& x : all_options())
    if (!x.of_source() && !is_reloaded(x, running, wanted)) compare(x, 0, std::string(x.name));
  if (a.sources.size() != b.sources.size()) out.emplace_back("sources");
  for (std::size_t row = 0; row < std::min(a.sources.size(), b.sources.size()); ++row)
    for (const auto& x : all_options())
      if (x.of_source()) compare(x, row, text_of("sources.", std::to_string(row), ".", x.key()));
  return out;
}

}  // namespace doorstep
