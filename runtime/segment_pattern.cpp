// SPDX-License-Identifier: Apache-2.0
#include "runtime/segment_pattern.hpp"

#include <utility>

namespace doorstep {

namespace {

/// Takes the segment at the front. False when there is none left.
bool take(std::string_view& rest, bool& any, char separator, std::string_view& segment) {
  if (!any) return false;
  const auto end = rest.find(separator);
  segment = rest.substr(0, end);
  any = end != std::string_view::npos;
  if (any) rest.remove_prefix(end + 1);
  return true;
}

}  // namespace

parsed<segment_pattern> segment_pattern::parse(std::string_view text, char separator) {
  if (text.empty()) return syntax_fault{"must not be empty", 0};
  segment_pattern out;
  out.text_ = text;
  out.separator_ = separator;
  std::string_view rest = text, segment;
  for (bool any = true; take(rest, any, separator, segment);) {
    const auto at = static_cast<std::size_t>(segment.data() - text.data());
    if (segment == "**" && !any) {
      out.open_ended_ = true;
      out.exact_ = false;
    } else if (segment == "**") {
      return syntax_fault{"\"**\" stands for all that follows: it can only be at the end", at};
    } else {
      if (segment != "*" && segment.find('*') != std::string_view::npos)
        return syntax_fault{std::string("\"*\" stands for a whole segment between two \"") + separator + "\"", at + segment.find('*')};
      out.exact_ = out.exact_ && segment != "*";
      out.segments_.emplace_back(segment);
    }
  }
  return out;
}

bool segment_pattern::matches(std::string_view text) const {
  if (exact_) return text == text_;
  bool any = true;
  std::string_view segment;
  for (const auto& wanted : segments_)
    if (!take(text, any, separator_, segment) || (wanted != "*" && wanted != segment)) return false;
  return open_ended_ ? any : !any;
}

bool segment_pattern::covers(const segment_pattern& other) const {
  if (other.segments_.size() < segments_.size() || (other.open_ended_ && !open_ended_)) return false;
  for (std::size_t i = 0; i < segments_.size(); ++i)
    if (segments_[i] != "*" && segments_[i] != other.segments_[i]) return false;
  // `**` is one segment or more.
  return open_ended_ ? other.open_ended_ || other.segments_.size() > segments_.size() : other.segments_.size() == segments_.size();
}

}  // namespace doorstep
