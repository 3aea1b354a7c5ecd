// SPDX-License-Identifier: Apache-2.0
// One comparison of a route: `/data/amount > 100`, `/data/state in ["paid", "sent"]`, `/data/vip`, `!/data/hidden`. Pure, any thread.
#pragma once

#include "runtime/event_fields.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

struct json_literal {
  field_kind kind = field_kind::null;
  std::string text;  ///< the characters of a string, else as written
  json_number number;
};

class route_condition {
public:
  enum class comparison : std::uint8_t { present, absent, equal, unequal, less, at_most, more, at_least, one_of };

  static parsed<route_condition> parse(std::string_view text, field_set& fields);

  /// A comparison never holds with what is missing, nor with a value of another kind than the literal's; but `!=` holds with another kind.
  bool holds(const field_value& x) const { return holds(x, nullptr); }
  bool holds(field_values& of) const;
  /// Why it does not hold: "/data/amount is 42".
  std::string why_not(const field_value& x) const;

  /// No event can fulfil both. Conservative: false where it is not known.
  bool contradicts(const route_condition& other) const;
  /// Whatever fulfils this one fulfils `other`. Conservative: false where it is not known.
  bool implies(const route_condition& other) const;
  /// The event has only texts there, and a text never fulfils this.
  bool is_impossible(const field_set& fields) const;

  field_id field() const { return field_; }
  const std::string& text() const { return text_; }

private:
  bool admits(const json_literal& x) const;  ///< as if the event had this value
  /// `number`: what the value is as one, where that is known already.
  bool holds(const field_value& x, const json_number* number) const;
  bool is_ordering() const { return how_ >= comparison::less && how_ <= comparison::at_least; }

  std::string text_, pointer_;
  field_id field_ = 0;
  comparison how_ = comparison::present;
  std::vector<json_literal> with_;
};

}  // namespace doorstep
