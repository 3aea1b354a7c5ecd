// SPDX-License-Identifier: Apache-2.0
// Texts with placeholders out of an event: "Order {/data/id} for {/data/name|you}". Pure, any thread.
#pragma once

#include "runtime/event_fields.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

class text_template {
public:
  struct part {
    std::string text;  ///< literal, where there is no field
    std::optional<field_id> field;
    std::optional<std::string> otherwise;  ///< where the field is missing or null
  };

  /// `{/pointer}` or `{/pointer|default}`; a brace itself is written twice.
  static parsed<text_template> parse(std::string_view text, field_set& fields);

  /// @param otherwise for placeholders without a default of their own. @returns false, and nothing useful in `out`, where one has neither a value nor a default.
  bool append_to(std::string& out, field_values& of, const std::string* otherwise = nullptr) const;
  const std::vector<part>& parts() const { return parts_; }
  bool is_constant() const;

private:
  std::vector<part> parts_;
};

/// What a log record may hold as an attribute (CloudEvents String): control characters become blanks, and it ends before `bytes_max`, at a character's border.
std::string attribute_text(std::string text, std::size_t bytes_max);

}  // namespace doorstep
