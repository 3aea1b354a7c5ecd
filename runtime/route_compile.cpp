// SPDX-License-Identifier: Apache-2.0
// From rules as they are written to a table that can be used, or what is wrong and where. At start and at a reload. Pure, any thread.
#include "runtime/routes.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;
using kind = route_recipient::kind;
using problem = std::optional<route_fault>;

route_fault fault(const placed_text& x, std::string what, std::size_t inside = 0) { return {{std::move(what), x.at}, inside}; }
route_fault fault(const placed_text& x, syntax_fault what, std::size_t before = 0) { return fault(x, std::move(what.what), before + what.at); }

class compiler {
public:
  explicit compiler(const routing_config& options) {
    table_.all_matches = options.match == "all";
    table_.unmatched = options.unmatched == "dead_letter" ? route_table::leftover::dead_letter
                       : options.unmatched == "fallback"  ? route_table::leftover::fallback
                                                          : route_table::leftover::drop;
    table_.recipients_max = options.recipients_max;
    table_.text_bytes_max = options.text_bytes_max;
  }

  problem rule(const route_config& x) {
    route out;
    out.at = x.at;
    out.label = x.name.empty() ? "route " + std::to_string(table_.rules.size() + 1) : x.name;
    if (!x.name.empty() && !names_.insert(x.name).second) return route_fault{{"two routes are called \"" + x.name + "\"", x.at}};
    if (auto bad = match(x, out.match)) return bad;
    if (x.to.empty()) return route_fault{{out.label + " has no \"to\": it names nobody", x.at}};
    if (auto bad = recipients(x.to, out.to)) return bad;
    if (auto bad = recipients(x.except, out.except)) return bad;
    if (auto bad = renders(x, out)) return bad;
    if (auto bad = terms(x, out)) return bad;
    table_.rules.push_back(std::move(out));
    return std::nullopt;
  }

  problem fallback(const placed_texts& x) {
    if (table_.unmatched == route_table::leftover::fallback && x.empty())
      return route_fault{{"routing.unmatched is \"fallback\", and routing.fallback names nobody", {}}};
    return recipients(x, table_.fallback);
  }

  route_table_ptr take() {
    table_.make_index();
    return std::make_shared<const route_table>(std::move(table_));
  }

private:
  static problem patterns(const placed_texts& from, char separator, pattern_list& to) {
    for (const auto& x : from) {
      auto made = segment_pattern::parse(x.text, separator);
      if (!made) return fault(x, made.error());
      to.patterns.push_back(std::move(*made));
    }
    return std::nullopt;
  }

  problem match(const route_config& x, route_match& out) {
    if (auto bad = patterns(x.topics, '.', out.topics)) return bad;
    if (auto bad = patterns(x.types, '.', out.types)) return bad;
    if (auto bad = patterns(x.sources, '/', out.sources)) return bad;
    for (const auto& [name, values] : x.headers) {
      header_test test{name, {}};
      for (const auto& value : values) test.values.push_back(value.text);
      if (test.values == std::vector<std::string>{"*"}) test.values.clear();
      out.headers.push_back(std::move(test));
    }
    if (x.severity)
      if (auto bad = severity(*x.severity, out)) return bad;
    for (const auto& text : x.where) {
      auto made = route_condition::parse(text.text, table_.fields);
      if (!made) return fault(text, made.error());
      out.where.push_back(std::move(*made));
    }
    return std::nullopt;
  }

  static problem severity(const placed_text& x, route_match& out) {
    using c = route_condition::comparison;
    constexpr std::array<std::pair<sv, c>, 6> signs{
        {{">=", c::at_least}, {"<=", c::at_most}, {"==", c::equal}, {"!=", c::unequal}, {"<", c::less}, {">", c::more}}};
    severity_test test;
    test.text = x.text;
    sv rest = x.text;
    for (const auto& [sign, how] : signs) {
      if (!rest.starts_with(sign)) continue;
      test.how = how;
      rest.remove_prefix(sign.size());
      break;
    }
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    event named;
    named.extensions = {{"severitytext", std::string(rest)}};
    test.level = severity_of(named);
    if (test.level == 0)
      return fault(x, "is not a severity, such as \"warn\" or \">= error\": trace, debug, info, warn, error, fatal",
                   static_cast<std::size_t>(rest.data() - x.text.data()));
    out.severity = std::move(test);
    return std::nullopt;
  }

  problem recipients(const placed_texts& from, std::vector<route_recipient>& to) {
    for (const auto& x : from) {
      route_recipient out;
      out.text = x.text;
      if (x.text == "touser") {
        out.what = kind::named_by_event;
      } else if (x.text == "all") {
        out.what = kind::all;
        out.id = *text_template::parse("all", table_.fields);
      } else if (auto bad = address_of(x, out)) {
        return bad;
      }
      to.push_back(std::move(out));
    }
    return std::nullopt;
  }

  problem address_of(const placed_text& x, route_recipient& out) {
    constexpr std::array<std::pair<sv, kind>, 5> kinds{
        {{"user:", kind::user}, {"users:", kind::users}, {"role:", kind::role}, {"group:", kind::group}, {"topic:", kind::topic}}};
    const auto* found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return x.text.starts_with(k.first); });
    if (found == kinds.end())
      return fault(
          x,
          "is not an address: write user:{/data/id}, users:{/data/ids} for a list, touser for whom the event names, or a channel: role:name, "
          "group:name, topic:name, all");
    out.what = found->second;
    const auto prefix = found->first.size();
    auto made = text_template::parse(sv(x.text).substr(prefix), table_.fields);
    if (!made) return fault(x, made.error(), prefix);
    out.id = std::move(*made);
    if (out.what == kind::users) {
      const auto& parts = out.id.parts();
      const auto places = std::count_if(parts.begin(), parts.end(), [](const auto& part) { return part.field.has_value(); });
      if (places != 1) return fault(x, "users: has one placeholder, which finds the list: users:{/data/ids}", prefix);
    } else if (out.id.is_constant()) {
      field_values none;
      std::string id;
      out.id.append_to(id, none);
      if (auto made_address = address::user(id); !made_address) return fault(x, made_address.error().detail, prefix);
    }
    return std::nullopt;
  }

  problem text(const std::optional<placed_text>& from, std::optional<text_template>& to) {
    if (!from) return std::nullopt;
    auto made = text_template::parse(from->text, table_.fields);
    if (!made) return fault(*from, made.error());
    to = std::move(*made);
    return std::nullopt;
  }

  problem render(const render_config& x, rendering& out) {
    out.otherwise = x.otherwise;
    if (auto bad = text(x.title, out.title)) return bad;
    if (auto bad = text(x.body, out.body)) return bad;
    if (auto bad = text(x.link, out.link)) return bad;
    if (auto bad = text(x.icon, out.icon)) return bad;
    if (x.data && x.data->text != "whole" && x.data->text != "none")
      return fault(*x.data, "is \"whole\", \"none\", or a list of JSON Pointers such as [\"/data/id\", \"/data/total\"]");
    if (x.data && x.data->text == "none") out.data = rendering::data_part::none;
    if (x.data_members.empty()) return std::nullopt;
    out.data = rendering::data_part::members;
    std::set<std::string> taken;
    for (const auto& pointer : x.data_members) {
      auto field = table_.fields.add(pointer.text);
      if (!field) return fault(pointer, field.error());
      auto name = last_step(pointer.text);
      if (!taken.insert(name).second) return fault(pointer, "two members of the data would be called \"" + name + "\"");
      out.members.emplace_back(std::move(name), *field);
    }
    return std::nullopt;
  }

  static std::string last_step(sv pointer) {
    std::string out;
    pointer.remove_prefix(pointer.rfind('/') + 1);
    for (std::size_t i = 0; i < pointer.size(); ++i) out += pointer[i] != '~' ? pointer[i] : pointer[++i] == '0' ? '~' : '/';
    return out;
  }

  problem renders(const route_config& x, route& out) {
    if (x.render) {
      out.render.emplace();
      if (auto bad = render(*x.render, *out.render)) return bad;
    }
    for (const auto& [role, how] : x.role_renders) {
      out.role_renders.emplace_back(role.text, rendering{});
      if (auto bad = render(how, out.role_renders.back().second)) return bad;
    }
    return std::nullopt;
  }

  problem terms(const route_config& x, route& out) {
    using ordering = delivery_terms::ordering;
    constexpr std::array<std::pair<sv, ordering>, 3> orders{
        {{"window", ordering::window}, {"strict", ordering::strict}, {"latest", ordering::latest}}};
    if (x.collapse_key && (x.order || x.key))
      return fault(*x.collapse_key, "collapse_key is order = \"latest\" with that key; give the one or the others");
    auto made = std::make_shared<delivery_terms>();
    if (x.order) {
      const auto* found = std::find_if(orders.begin(), orders.end(), [&](const auto& o) { return o.first == x.order->text; });
      if (found == orders.end()) return fault(*x.order, "order is \"window\", \"strict\" or \"latest\"");
      made->order = found->second;
      if (made->order == ordering::latest && !x.key) return fault(*x.order, "order = \"latest\" needs a key: the newest of each is kept");
    }
    if (x.collapse_key) made->order = ordering::latest;
    for (const auto* given : {&x.key, &x.collapse_key})
      if (*given && (*given)->text.empty()) return fault(**given, "must not be empty");
    std::optional<text_template> key;
    if (auto bad = text(x.collapse_key ? x.collapse_key : x.key, key)) return bad;
    if (key && key->is_constant()) {
      field_values none;
      key->append_to(made->key, none);
    } else {
      out.key = std::move(key);
    }
    if (x.ttl_ms) made->ttl = milliseconds(*x.ttl_ms);
    if (x.max_attempts) made->max_attempts = static_cast<std::uint32_t>(*x.max_attempts);
    if (x.priority) made->priority = static_cast<std::uint8_t>(*x.priority);
    if (x.order || x.key || x.collapse_key || x.ttl_ms || x.max_attempts || x.priority) out.terms = std::move(made);
    return std::nullopt;
  }

  route_table table_;
  std::set<std::string> names_;
};

}  // namespace

boost::system::result<route_table_ptr, route_fault> compile_routes(const std::vector<route_config>& rules, const routing_config& options,
                                                                   const placed_texts& fallback) {
  compiler x(options);
  for (const auto& rule : rules)
    if (auto bad = x.rule(rule)) return std::move(*bad);
  if (auto bad = x.fallback(fallback)) return std::move(*bad);
  return x.take();
}

}  // namespace doorstep
