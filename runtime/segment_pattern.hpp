// SPDX-License-Identifier: Apache-2.0
// Patterns of whole segments, as routes match topics, types and sources by: `*` is one segment, `**` at the end all that follow. Pure, any thread.
#pragma once

#include "runtime/event_fields.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

class segment_pattern {
public:
  /// @param separator between segments: '.' of topics and types, '/' of sources.
  static parsed<segment_pattern> parse(std::string_view text, char separator);
  bool matches(std::string_view text) const;
  /// Nothing but its own text matches.
  bool is_exact() const { return exact_; }
  /// True where it matches whatever `other` does. Both have the same separator.
  bool covers(const segment_pattern& other) const;
  const std::string& text() const { return text_; }

private:
  std::string text_;
  char separator_ = '.';
  bool exact_ = true, open_ended_ = false;
  std::vector<std::string> segments_;  ///< without the `**`
};

}  // namespace doorstep
