// SPDX-License-Identifier: Apache-2.0
// Central rules: which events, to which addresses, made into what. A table is compiled once and never changes; an evaluator applies it to events.
// Pure: a table on any thread, an evaluator (it keeps scratch memory) on one. The way they are written is docs/routes.md.
#pragma once

#include "runtime/config.hpp"
#include "runtime/recipients.hpp"
#include "runtime/route_rule.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace doorstep {

class route_table {
public:
  std::vector<route> rules;
  field_set fields;
  bool all_matches = false;
  enum class leftover : std::uint8_t { drop, dead_letter, fallback };
  leftover unmatched = leftover::drop;
  std::vector<route_recipient> fallback;
  std::size_t recipients_max = 0, text_bytes_max = 0;

  /// Which channels any rule may name: nobody needs to read the others.
  struct channel_kinds {
    bool role = false, group = false, topic = false, all = false;
    bool any() const { return role || group || topic || all; }
  };
  channel_kinds channels() const;
  /// Numbers of the rules that an event of this type and topic could match, rising, appended to `out`.
  void candidates(std::string_view type, std::string_view topic, std::vector<std::uint32_t>& out) const;
  std::size_t pattern_lists() const { return pattern_lists_; }
  /// Whether any rule looks at headers: else nobody needs to carry them.
  bool reads_headers() const { return reads_headers_; }
  void make_index();

private:
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using index = std::unordered_map<std::string, std::vector<std::uint32_t>, hash, std::equal_to<>>;
  index by_type_, by_topic_;  ///< rules whose types (else topics) are all without `*`
  std::vector<std::uint32_t> others_;
  bool reads_headers_ = false;
  std::size_t pattern_lists_ = 0;
};
using route_table_ptr = std::shared_ptr<const route_table>;

struct route_fault {
  config_fault where;
  std::size_t inside = 0;  ///< at which byte of the text there
};

/// @param fallback of routing.fallback, with the places in the file.
boost::system::result<route_table_ptr, route_fault> compile_routes(const std::vector<route_config>& rules, const routing_config& options,
                                                                   const placed_texts& fallback);

/// An event and what it came with.
struct route_input {
  std::shared_ptr<const event> what;
  std::string_view topic{};  ///< empty: it came over HTTP
  std::span<const header_view> headers{};
  const record_view* record = nullptr;  ///< both for `touser`: whom the source's options name
  const source_config* source = nullptr;
};

/// What some recipients get; made once, however many they are.
struct route_variant {
  static constexpr std::uint32_t no_rule = UINT32_MAX;
  std::shared_ptr<const event> what;
  std::shared_ptr<const delivery_terms> terms;
  std::uint32_t rule = no_rule;  ///< whose it is
};
struct route_delivery {
  address to;
  std::uint32_t variant = 0;
};
struct route_outcome {
  std::vector<route_delivery> to;  ///< no address twice: the first rule that names it counts
  std::vector<route_variant> variants;
  std::vector<std::uint32_t> matched;  ///< rules, in their order
  bool unmatched() const { return matched.empty(); }
};

/// Why a rule did what it did with an event, for people.
struct route_verdict {
  bool matches = false, reached = true;
  std::string why;  ///< which part does not match, or what it came to
};

class route_evaluator {
public:
  /// @returns ec::malformed where a rule that matches names somebody who cannot be, with the rule in the detail and the recipient in the field.
  result<route_outcome> evaluate(const route_table& table, const route_input& x);
  /// One a rule.
  std::vector<route_verdict> explain(const route_table& table, const route_input& x);

private:
  bool matches(const route& rule, const route_input& x);
  bool matches(const pattern_list& patterns, std::string_view text);
  std::string why_not(const route& rule, const route_input& x);

  field_values values_;
  std::vector<std::uint32_t> candidates_;
  enum class known : std::uint8_t { not_yet, yes, no };
  std::vector<known> lists_;  ///< by number of the pattern list
};

/// Rules that can never match, or never deliver, and why. @param topics of all sources; none: not known.
struct route_finding {
  std::size_t rule = 0;
  std::string what;
};
std::vector<route_finding> lint_routes(const route_table& table, std::span<const std::string> topics);

}  // namespace doorstep
