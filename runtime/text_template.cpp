// SPDX-License-Identifier: Apache-2.0
#include "runtime/text_template.hpp"

#include "runtime/utf8.hpp"

#include <algorithm>
#include <utility>

namespace doorstep {

parsed<text_template> text_template::parse(std::string_view text, field_set& fields) {
  text_template out;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) out.parts_.push_back({std::exchange(literal, {}), {}, {}});
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      literal += c;
    } else if (at + 1 < text.size() && text[at + 1] == c) {
      literal += c;
      ++at;
    } else if (c == '}') {
      return syntax_fault{"\"}\" without a \"{\" before it; a brace itself is written twice", at};
    } else {
      const auto end = text.find('}', at);
      if (end == std::string_view::npos) return syntax_fault{"the placeholder has no \"}\"; a brace itself is written twice", at};
      const auto inside = text.substr(at + 1, end - at - 1);
      const auto bar = inside.find('|');
      auto field = fields.add(inside.substr(0, bar));
      if (!field) return syntax_fault{std::move(field.error().what), at + 1 + field.error().at};
      end_literal();
      out.parts_.push_back({{}, *field, bar == std::string_view::npos ? std::nullopt : std::optional(std::string(inside.substr(bar + 1)))});
      at = end;
    }
  }
  end_literal();
  return out;
}

bool text_template::append_to(std::string& out, field_values& of, const std::string* otherwise) const {
  for (const auto& x : parts_) {
    if (!x.field) {
      out += x.text;
      continue;
    }
    const auto& value = of[*x.field];
    const auto kind = value.kind();
    if (kind != field_kind::missing && kind != field_kind::null) {
      out += value.text();
    } else if (x.otherwise) {
      out += *x.otherwise;
    } else if (otherwise != nullptr) {
      out += *otherwise;
    } else {
      return false;
    }
  }
  return true;
}

bool text_template::is_constant() const {
  return std::none_of(parts_.begin(), parts_.end(), [](const part& x) { return x.field.has_value(); });
}

std::string attribute_text(std::string text, std::size_t bytes_max) {
  std::string out;
  out.reserve(std::min(text.size(), bytes_max));
  for (std::size_t at = 0; at < text.size();) {
    const auto from = at;
    char32_t point = 0;
    const bool valid = decode_utf8(text, at, point);
    if (!valid) at = from + 1;
    const bool usable = valid && !is_control(point) && !is_noncharacter(point);
    const auto size = usable ? at - from : 1;
    if (out.size() + size > bytes_max) break;
    usable ? out.append(text, from, size) : out.append(1, ' ');
  }
  return out;
}

}  // namespace doorstep
