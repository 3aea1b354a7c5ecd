// SPDX-License-Identifier: Apache-2.0
// JSON Pointers into events, as routes use them: all pointers of all rules are one tree, and one pass over an event finds what they name. Pure, any thread.
#pragma once

#include "runtime/event.hpp"

#include <boost/system/result.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// What is wrong with a text in the configuration, and at which of its bytes.
struct syntax_fault {
  std::string what;
  std::size_t at = 0;
};
template <class T>
using parsed = boost::system::result<T, syntax_fault>;

using field_id = std::uint32_t;

enum class field_kind : std::uint8_t { missing, null, boolean, number, text, list, object };
std::string_view name(field_kind x);  ///< "a number", "missing"

/// What a pointer names in one event: a view into the event.
struct field_value {
  std::string_view token;  ///< as JSON writes it; of an attribute its text itself
  bool attribute = false;
  field_kind kind() const;
  /// A string's characters; anything else as JSON writes it.
  std::string text() const;
  /// Whether it is the text `x`, without a copy where nothing is escaped.
  bool is_text(std::string_view x) const;
};

/// Numbers compare as whole numbers where both are, so that large ids stay apart.
struct json_number {
  bool whole = false;
  std::int64_t integer = 0;
  double real = 0;
  static json_number of(std::string_view token);
  bool operator==(const json_number& x) const { return whole && x.whole ? integer == x.integer : real == x.real; }
  bool operator<(const json_number& x) const { return whole && x.whole ? integer < x.integer : real < x.real; }
};

/// The pointers of a rule table. They point into the event as CloudEvents' JSON writes it: /data/..., /type, /subject, and extensions by their name.
class field_set {
public:
  parsed<field_id> add(std::string_view pointer);
  std::size_t size() const { return pointers_.size(); }
  const std::string& pointer(field_id x) const { return pointers_[x]; }
  /// True for what is text in every event: all but /data and what is below.
  bool is_attribute(field_id x) const { return !attributes_[x].empty(); }

private:
  friend class field_values;
  static constexpr field_id none = UINT32_MAX;
  struct step {
    std::string key;
    std::uint32_t node = 0;
  };
  struct node {
    field_id here = none;
    std::vector<step> steps;  ///< sorted by key
  };
  std::uint32_t below(std::uint32_t node, std::string key);

  std::vector<std::string> pointers_;
  std::vector<std::string> attributes_;  ///< of each pointer; empty: it is in the data
  std::vector<node> nodes_{1};           ///< the first is /data
};

/// The values of one event. Keeps its memory from event to event; the event must outlive the values.
class field_values {
public:
  /// Nothing is read before the first value is asked for.
  void of(const field_set& which, const event& what);
  const field_value& operator[](field_id x);
  /// Of a value that is a number; read once an event.
  const json_number& number(field_id x);

private:
  void read();
  void walk(std::uint32_t at, std::string_view value);
  void forget(std::uint32_t at);

  const field_set* which_ = nullptr;
  const event* what_ = nullptr;
  bool is_read_ = false;
  std::vector<field_value> values_;
  std::vector<std::optional<json_number>> numbers_;
  std::vector<bool> seen_;
};

}  // namespace doorstep
