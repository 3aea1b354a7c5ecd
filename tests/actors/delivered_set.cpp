// SPDX-License-Identifier: Apache-2.0
// Random users, tokens, rules and events, through ROUTER, log, SHARD, mailboxes and channels to the sessions: who gets what, by which address and in which rendering,
// is what a reference says that looks at each rule and each user from the texts they were made of. A failure prints its seed; DOORSTEP_SEED=n runs that one.
#include "actors/reloader.hpp"
#include "net/claims.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/runtime/plain_rules.hpp"
#include "tests/runtime/routes_fixture.hpp"

#include <cstdlib>
#include <map>
#include <set>

namespace doorstep::test {
namespace {

constexpr std::uint32_t seeds = 400;
constexpr int events_a_seed = 24;  // below the window: nobody acks

const std::vector<string> user_ids{"ann", "ben", "cy d", "\xc3\xa9va", "o'neil", "f/g", "42"}, roles{"admin", "viewer", "ops"},
    groups{"north", "south"};
const std::vector<string> event_types{"sold", "sold.big", "alarm", "alarm.fire.now"}, event_sources{"/shop/eu", "/shop/us", "/plant"};
/// Each is in every event that has it, as a text found nowhere else.
const std::vector<string> secrets{"price", "margin", "note"};

struct plain_rendering {
  string data = "whole";        ///< "whole", "none", or members
  std::vector<string> members;  ///< pointers into /data
  string title;
};
struct plain_rule {
  std::vector<string> types, sources, headers;
  string severity;
  std::vector<plain_condition> where;
  std::vector<string> to, except;
  std::optional<plain_rendering> render;
  std::map<string, plain_rendering> for_roles;
};

struct plain_user {
  string id;
  std::set<string> roles, groups, topics;
  std::size_t device = 0;  ///< of the house's clients; a user may stand here twice
  bool away = false;
};

struct plain_event {
  string id, type, source, data, severity;
  std::map<string, string> headers;
  json::value root;
};

/// One message as a client sees it.
using seen = std::tuple<string, string, string, string>;  // event id, address, data, title

// --- the reference -----------------------------------------------------------------------------------------------------------------------

bool one_of(const std::vector<string>& patterns, string text, bool of_source) {
  const auto dotted = [of_source](string x) {
    if (of_source) std::replace(x.begin(), x.end(), '/', '.');
    return x;
  };
  return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const string& p) { return pattern_matches(dotted(p), dotted(text)); });
}

bool severity_holds(const string& wanted, const string& is) {
  const std::vector<string> levels{"trace", "debug", "info", "warn", "error", "fatal"};
  const auto level = [&](const string& x) { return std::find(levels.begin(), levels.end(), x) - levels.begin(); };
  const auto words = split(wanted, ' ');
  const auto& op = words.size() == 1 ? ">=" : words[0];
  if (is.empty()) return false;
  const auto a = level(is), b = level(words.back());
  return op == "==" ? a == b : op == "<" ? a < b : a >= b;
}

bool applies(const plain_rule& rule, const plain_event& x) {
  if (!one_of(rule.types, x.type, false) || !one_of(rule.sources, x.source, true)) return false;
  if (!rule.severity.empty() && !severity_holds(rule.severity, x.severity)) return false;
  for (const auto& h : rule.headers) {
    const auto found = x.headers.find(h.substr(0, h.find('=')));
    if (found == x.headers.end() || (h.substr(h.find('=') + 1) != "*" && found->second != h.substr(h.find('=') + 1))) return false;
  }
  return std::all_of(rule.where.begin(), rule.where.end(), [&](const auto& c) { return holds(c, x.root); });
}

/// @returns false where one of them cannot be an address.
bool add_addresses(const string& text, const json::value& root, std::vector<string>& out) {
  if (text == "all") return out.push_back("all"), true;
  auto kind = text.substr(0, text.find(':'));
  auto name = text.substr(text.find(':') + 1);
  const bool list = kind == "users";
  if (list) kind = "user";
  const auto add = [&](const json::value& x) {
    if (!x.is_string() && !x.is_int64()) return false;
    const auto id = x.is_string() ? string(x.as_string().c_str()) : json::serialize(x);
    if (id.empty()) return false;
    out.push_back(kind + ":" + id);
    return true;
  };
  if (name.front() != '{') return out.push_back(kind + ":" + name), true;
  name = name.substr(1, name.size() - 2);
  const auto bar = name.find('|');
  const auto found = at_pointer(root, name.substr(0, bar));
  if (!found || found->is_null()) return bar == string::npos || add(json::string(name.substr(bar + 1)));
  if (!found->is_array()) return add(*found);
  return list && std::all_of(found->as_array().begin(), found->as_array().end(), add);
}

seen rendered(const std::optional<plain_rendering>& how, const plain_event& x, const string& to) {
  if (!how) return {x.id, to, x.data, ""};
  string data = how->data == "whole" ? x.data : "";
  if (how->data == "members") {
    json::object made;
    for (const auto& pointer : how->members)
      if (const auto found = at_pointer(x.root, pointer)) made[pointer.substr(pointer.rfind('/') + 1)] = *found;
    data = json::serialize(made);
  }
  string title = how->title;
  if (const auto at = title.find("{/data/price}"); at != string::npos) {
    const auto found = at_pointer(x.root, "/data/price");
    title.replace(at, 13, found ? string(found->as_string().c_str()) : "");
  }
  return {x.id, to, data, title};
}

/// What goes to which address; none where the event is refused.
std::optional<std::map<string, seen>> owed(const std::vector<plain_rule>& rules, bool all, const plain_event& x) {
  std::map<string, seen> out;
  for (const auto& rule : rules) {
    if (!applies(rule, x)) continue;
    std::vector<string> to, except;
    for (const auto& one : rule.to)
      if (!add_addresses(one, x.root, to)) return std::nullopt;
    if (!to.empty())
      for (const auto& one : rule.except)
        if (!add_addresses(one, x.root, except)) return std::nullopt;
    for (const auto& one : to) {
      if (std::find(except.begin(), except.end(), one) != except.end() || out.contains(one)) continue;
      auto how = rule.render;
      if (const auto role = rule.for_roles.find(one.substr(one.find(':') + 1)); one.starts_with("role:") && role != rule.for_roles.end())
        how = role->second;
      out[one] = rendered(how, x, one);
    }
    if (!all) break;
  }
  return out;
}

bool reads(const plain_user& who, const string& address) {
  const auto kind = address.substr(0, address.find(':'));
  const auto name = address.substr(address.find(':') + 1);
  if (kind == "user") return name == who.id;
  if (kind == "role") return who.roles.contains(name);
  if (kind == "group") return who.groups.contains(name);
  if (kind == "topic") return who.topics.contains(name);
  return address == "all";
}

// --- chance ------------------------------------------------------------------------------------------------------------------------------

plain_rendering made_rendering(dice& d) {
  plain_rendering x;
  x.data = d.of({"whole", "none", "members", "members"});
  if (x.data == "members")
    for (const auto& name : {"price", "margin", "note", "n"})
      if (d.one_in(2)) x.members.push_back("/data/" + string(name));
  if (x.data == "members" && x.members.empty()) x.members.push_back("/data/n");
  x.title = d.of({"", "news", "it costs {/data/price}."});
  return x;
}

plain_rule made_rule(dice& d) {
  plain_rule x;
  if (!d.one_in(3)) x.types.push_back(d.of({"sold", "sold.*", "*", "**", "alarm.**", "alarm"}));
  if (d.one_in(4)) x.sources.push_back(d.of({"/shop/*", "/plant", "/shop/eu", "/**"}));
  if (d.one_in(5)) x.headers.push_back(d.of({"tenant=acme", "tenant=*", "region=eu"}));
  if (d.one_in(5)) x.severity = d.of({"warn", "== error", "< warn", ">= info"});
  if (d.one_in(2)) {
    const auto op = d.of({"==", "!=", "<", ">=", "in", "present", "absent"});
    x.where.push_back(
        {d.of({"/data/n", "/data/team", "/data/buyer", "/data/price"}), op, op == "in" ? "[1, \"north\"]" : d.of({"1", "2.5", "\"north\""})});
  }
  const std::vector<string> to{"user:{/data/buyer}",
                               "users:{/data/watchers}",
                               "user:{/data/owner|ann}",
                               "role:admin",
                               "role:viewer",
                               "role:ops",
                               "group:{/data/team}",
                               "group:north",
                               "all",
                               "topic:news",
                               "role:{/data/role|admin}"};
  for (auto n = 1 + d.below(4); n > 0; --n) x.to.push_back(d.of(to));
  if (d.one_in(2)) x.except.push_back(d.of(to));
  if (d.one_in(2)) {
    x.render = made_rendering(d);
    for (const auto& role : roles)
      if (d.one_in(3)) x.for_roles[role] = made_rendering(d);
  }
  return x;
}

string written(const plain_rendering& x) {
  string out;
  if (x.data != "whole") out += "data = " + (x.data == "none" ? quoted("none") : list(x.members)) + "\n";
  if (!x.title.empty()) out += "title = " + quoted(x.title) + "\n";
  return out.empty() ? "data = \"whole\"\n" : out;
}

string written(const plain_rule& x) {
  string out = "[[routes]]\nto = " + list(x.to) + "\n";
  if (!x.except.empty()) out += "except = " + list(x.except) + "\n";
  if (!x.types.empty()) out += "match.type = " + list(x.types) + "\n";
  if (!x.sources.empty()) out += "match.source = " + list(x.sources) + "\n";
  for (const auto& h : x.headers) out += "match.header." + h.substr(0, h.find('=')) + " = " + quoted(h.substr(h.find('=') + 1)) + "\n";
  if (!x.severity.empty()) out += "match.severity = " + quoted(x.severity) + "\n";
  for (const auto& c : x.where) out += "match.where = " + list({written(c)}) + "\n";
  if (x.render) out += "[routes.render]\n" + written(*x.render);
  for (const auto& [role, how] : x.for_roles) out += "[routes.render.role." + role + "]\n" + written(how);
  return out;
}

plain_event rolled_event(dice& d, int number) {
  plain_event x;
  x.id = "e" + std::to_string(number);
  x.type = d.of(event_types);
  x.source = d.of(event_sources);
  json::object data{{"n", d.below(3)}};
  for (const auto& name : secrets)
    if (!d.one_in(4)) data[name] = name + "-of-" + x.id + ".";
  if (!d.one_in(4)) data["team"] = d.of(groups);
  if (!d.one_in(3)) data["buyer"] = d.of(user_ids);
  if (d.one_in(12)) data["buyer"] = 42;
  if (d.one_in(40)) data["buyer"] = json::array{1};
  if (d.one_in(3)) data["owner"] = d.one_in(3) ? json::value(nullptr) : json::value(d.of(user_ids));
  if (d.one_in(3)) data["role"] = d.of(roles);
  if (!d.one_in(3)) {
    json::array watchers;
    for (auto n = d.below(4); n > 0; --n) watchers.emplace_back(d.of(user_ids));
    data["watchers"] = watchers;
  }
  if (d.one_in(2)) x.severity = d.of({"debug", "info", "warn", "error", "fatal"});
  if (d.one_in(2)) x.headers["tenant"] = d.of({"acme", "other"});
  if (d.one_in(3)) x.headers["region"] = "eu";
  x.data = json::serialize(data);
  x.root = json::object{{"data", data}};
  return x;
}

json::value made_claim(dice& d, const std::set<string>& names) {
  if (d.one_in(2)) return json::value_from(names);
  string text;
  for (const auto& x : names) text += (text.empty() ? "" : d.of({" ", ",", ", "})) + x;
  return json::value(text);
}

// --- the house ---------------------------------------------------------------------------------------------------------------------------

class town final : public house_in_a_bottle {
public:
  explicit town(std::uint32_t seed) : d_(seed) {
    for (auto n = 2 + d_.below(5); n > 0; --n) rules_.push_back(made_rule(d_));
    all_matches_ = d_.one_in(2);
    toml_ = all_matches_ ? "[routing]\nmatch = \"all\"\n" : "";
    for (const auto& x : rules_) toml_ += written(x);
    options_.channels.topics = {"news"};
    auth_.roles_claim = d_.one_in(2) ? "roles" : "/realm/roles";
    auth_.groups_claim = "groups";
  }
  const string& toml() const { return toml_; }

  void run() {
    options_.routes = table_of(toml_);
    if (options_.routes == nullptr) return;
    parts_.routes = std::make_shared<live_routes>(options_.routes);
    SetUp();
    people_come();
    const auto who_goes = d_.below(users_.size());
    for (int i = 0; i < events_a_seed && !HasFatalFailure(); ++i) {
      if (i == events_a_seed / 3) goes(users_[who_goes]);
      if (i == events_a_seed / 2) gets_another_token(users_[d_.below(users_.size())]);
      happens(rolled_event(d_, i));
    }
    if (users_[who_goes].away) comes_back(users_[who_goes]);
    for (const auto& x : users_) judge(x);
    for (const auto& who : channels()) caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
    TearDown();
  }

  static inline std::size_t deliveries = 0, refused = 0, hidden = 0;

private:
  void TestBody() override {}

  /// By way of a token's claims, as they may be written.
  identity shown_by(const plain_user& who) {
    json::object claims{{"sub", who.id}, {"groups", made_claim(d_, who.groups)}};
    auto held = made_claim(d_, who.roles);
    if (auth_.roles_claim == "roles")
      claims["roles"] = held;
    else
      claims["realm"] = json::object{{"roles", held}};
    auto out = read_claims(claims, auth_, {1'000});
    EXPECT_TRUE(out) << json::serialize(claims);
    return out ? *out : identity{};
  }

  void enter(plain_user& who) {
    who.device = clients_.size();
    clients_.emplace_back();
    open(clients_.back());
    clients_.back().handler->connected({}, shown_by(who));
    settle();
    if (!who.topics.empty()) say(clients_[who.device], client::subscribe{7, address::parse("topic:news").value()});
  }

  void people_come() {
    for (const auto& id : user_ids) {
      plain_user x{id, {}, {}, {}};
      for (const auto& role : roles)
        if (d_.one_in(2)) x.roles.insert(role);
      for (const auto& group : groups)
        if (d_.one_in(3)) x.groups.insert(group);
      if (options_.routes->channels().topic && d_.one_in(2)) x.topics.insert("news");
      enter(x);
      users_.push_back(x);
      if (!d_.one_in(4)) continue;
      enter(x);  // on a second device
      users_.push_back(x);
    }
    expected_.resize(users_.size());
  }

  /// All of them, so that nothing of a user's is sent before it is back.
  void goes(const plain_user& who) {
    for (auto& x : users_) {
      if (x.id != who.id) continue;
      disconnect(clients_[x.device]);
      x.away = true;
    }
  }
  void comes_back(const plain_user& who) {
    for (auto& x : users_) {
      if (x.id != who.id) continue;
      const auto before = clients_[x.device].seen->pushes;
      enter(x);
      // Unacked, so it comes again; the first time counts.
      auto& now = clients_[x.device].seen->pushes;
      std::erase_if(now, [&](const auto& y) {
        return std::any_of(before.begin(), before.end(), [&](const auto& z) { return z.what->id == y.what->id && z.what->to == y.what->to; });
      });
      now.insert(now.begin(), before.begin(), before.end());
    }
  }
  void gets_another_token(const plain_user& who) {
    if (who.away) return;
    std::set<string> held;
    for (const auto& role : roles)
      if (d_.one_in(2)) held.insert(role);
    for (auto& x : users_) {
      if (x.id != who.id) continue;
      x.roles = held;
      clients_[x.device].handler->refreshed(9, shown_by(x));
      settle();
    }
  }

  void happens(const plain_event& x) {
    const auto wanted = owed(rules_, all_matches_, x);
    event what;
    what.id = x.id;
    what.type = x.type;
    what.source = x.source;
    what.data = x.data;
    what.data_content_type = "application/json";
    if (!x.severity.empty()) what.extensions = {{"severitytext", x.severity}};
    auto headers = std::make_shared<std::vector<header>>();
    for (const auto& [name, value] : x.headers) headers->push_back({name, value});
    result<std::vector<publish_outcome>> outcome = failure{ec::internal, "never answered", {}};
    caf::anon_send(router_, publish_events{{what}, [&](auto y) { outcome = std::move(y); }, headers});
    settle();
    ASSERT_EQ(outcome.has_value(), wanted.has_value()) << x.data << (outcome ? "" : to_string(outcome.error()));
    if (!wanted) {
      ++refused;
      return;
    }
    for (std::size_t i = 0; i < users_.size(); ++i)
      for (const auto& [to, how] : *wanted)
        if (reads(users_[i], to)) expected_[i].push_back(how);
    events_.push_back(x);
  }

  void judge(const plain_user& who) {
    auto wanted = expected_[static_cast<std::size_t>(&who - users_.data())];
    std::vector<seen> got;
    string bytes;
    for (const auto& x : clients_[who.device].seen->pushes) {
      const auto& what = *x.what->what;
      got.emplace_back(what.id, string(x.what->to.text()), what.data, what.extension("title"));
      bytes += shared_push(x).native();
    }
    std::sort(got.begin(), got.end());
    std::sort(wanted.begin(), wanted.end());
    EXPECT_EQ(got, wanted) << who.id;
    deliveries += wanted.size();
    // What no rendering of his holds is nowhere in the bytes of any.
    for (const auto& x : events_)
      for (const auto& name : secrets) {
        const auto secret = name + "-of-" + x.id + ".";
        const bool may_see = std::any_of(wanted.begin(), wanted.end(), [&](const seen& y) {
          return std::get<2>(y).find(secret) != string::npos || std::get<3>(y).find(secret) != string::npos;
        });
        if (may_see) continue;
        EXPECT_EQ(bytes.find(secret), string::npos) << who.id << " sees " << secret;
        hidden += x.data.find(secret) != string::npos ? 1 : 0;
      }
  }

  std::vector<channel_actor> channels() {
    std::vector<channel_actor> out;
    auto* self = dynamic_cast<shard_self*>(caf::actor_cast<caf::abstract_actor*>(shards_[0]));
    for (const auto& [of, entry] : self->state.channels.all()) out.push_back(entry.who);
    return out;
  }

  dice d_;
  std::vector<plain_rule> rules_;
  bool all_matches_ = false;
  string toml_;
  auth_config auth_;
  std::vector<plain_user> users_;
  std::vector<std::vector<seen>> expected_;
  std::vector<plain_event> events_;
};

TEST(delivered_set, is_what_a_naive_reference_says_for_random_users_tokens_rules_and_events) {
  std::uint32_t seed = 1, last = seeds;
  if (const auto* given = std::getenv("DOORSTEP_SEED")) seed = last = static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10));
  const bool all = seed != last;
  for (; seed <= last && !testing::Test::HasFailure(); ++seed) {
    town one(seed);
    SCOPED_TRACE("DOORSTEP_SEED=" + std::to_string(seed) + "\n" + one.toml());
    one.run();
  }
  if (!all || testing::Test::HasFailure()) return;
  EXPECT_GT(town::deliveries, 10'000U);
  EXPECT_GT(town::hidden, 10'000U);
  EXPECT_GT(town::refused, 10U);
}

}  // namespace
}  // namespace doorstep::test
