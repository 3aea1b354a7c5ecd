// SPDX-License-Identifier: Apache-2.0
// Rules: what matches, who gets it, what they get, and what happens to ids that nobody can have.
#include "runtime/routes.hpp"

#include "tests/runtime/routes_fixture.hpp"

#include <gmock/gmock.h>

namespace doorstep::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string rule(const std::string& body) { return "[[routes]]\n" + body + "\n"; }
std::string to_42(const std::string& match) { return rule("to = \"user:42\"\nmatch." + match); }

bool matches(const std::string& match, std::shared_ptr<const event> what, std::string_view topic = {}, std::vector<header_view> headers = {}) {
  return who(evaluated(to_42(match), std::move(what), topic, std::move(headers))) == std::vector<std::string>{"user:42"};
}

TEST(routes, match_by_topic_and_type_with_segments_and_source) {
  const auto x = event_with("{}");
  EXPECT_TRUE(matches("type = \"com.shop.order.paid\"", x));
  EXPECT_TRUE(matches("type = \"com.*.order.*\"", x));
  EXPECT_TRUE(matches("type = \"com.**\"", x));
  EXPECT_TRUE(matches("type = [\"x\", \"com.shop.order.*\"]", x));
  EXPECT_FALSE(matches("type = \"com.shop.*\"", x));
  EXPECT_FALSE(matches("type = \"com.shop.order.paid.**\"", x));
  EXPECT_TRUE(matches("topic = \"shop.orders\"", x, "shop.orders"));
  EXPECT_TRUE(matches("topic = \"shop.*\"", x, "shop.orders"));
  EXPECT_FALSE(matches("topic = \"shop.*\"", x, "other.orders"));
  EXPECT_FALSE(matches("topic = \"**\"", x)) << "what came over HTTP has no topic";
  EXPECT_TRUE(matches("source = \"/shop/*\"", x));
  EXPECT_FALSE(matches("source = \"/shop\"", x));
}

TEST(routes, match_by_header_and_severity) {
  const auto x = event_with("{}");
  EXPECT_TRUE(matches("header = { X-Tenant = \"acme\" }", x, "t", {{"x-tenant", "acme"}}));
  EXPECT_TRUE(matches("header = { x-tenant = [\"b\", \"acme\"] }", x, "t", {{"X-TENANT", "acme"}}));
  EXPECT_TRUE(matches("header = { x-tenant = \"*\" }", x, "t", {{"x-tenant", ""}}));
  EXPECT_FALSE(matches("header = { x-tenant = \"acme\" }", x, "t", {{"x-tenant", "other"}}));
  EXPECT_FALSE(matches("header = { x-tenant = \"acme\" }", x, "t"));
  EXPECT_TRUE(matches("header = { \"x.tenant\" = \"acme\" }", x, "t", {{"x.tenant", "acme"}}));

  EXPECT_TRUE(matches("severity = \"warn\"", event_with("{}", {{"severitytext", "ERROR"}})));
  EXPECT_TRUE(matches("severity = \"warn\"", event_with("{}", {{"severitynumber", "14"}})));
  EXPECT_FALSE(matches("severity = \"warn\"", event_with("{}", {{"severitytext", "info"}})));
  EXPECT_FALSE(matches("severity = \"trace\"", x)) << "without a severity";
  EXPECT_TRUE(matches("severity = \"== error\"", event_with("{}", {{"severitynumber", "18"}})));
  EXPECT_TRUE(matches("severity = \"< warn\"", event_with("{}", {{"severity", "info"}})));
}

TEST(routes, comparisons_hold_for_the_right_kinds_only) {
  const auto x = event_with(
      R"({"n":42,"big":9007199254740993,"s":"pa\u0069d","a":{"b":[1,{"c":true}]},"nil":null,"f":1.50,"q":"it's","n":42,"huge":1e999,"tiny":1e-999})");
  const auto where = [&](const std::string& condition) { return matches("where = '''" + condition + "'''", x); };
  for (const char* yes : {"/data/n == 42",
                          "/data/n == 42.0",
                          "/data/n >= 42",
                          "/data/n < 42.5",
                          "/data/n != 41",
                          "/data/n in [1, 42]",
                          "/data/s == \"paid\"",
                          "/data/s == 'paid'",
                          "/data/s in ['x', 'paid']",
                          "/data/s >= 'pa'",
                          "/data/a/b/1/c == true",
                          "/data/a/b/0 == 1",
                          "/data/f == 1.5",
                          "/data/nil == null",
                          "/data/n != '42'",
                          "!/data/nil",
                          "!/data/gone",
                          "/data/n",
                          "/data/a",
                          "/subject == 'o-17'",
                          "/data/big == 9007199254740993",
                          "/data/q == 'it\\'s'",
                          "/data/huge > 1",
                          "/data/tiny < 1"})
    EXPECT_TRUE(where(yes)) << yes;
  for (const char* no : {"/data/n == '42'", "/data/n < '5'", "/data/gone != 1", "/data/gone", "/data/nil", "!/data/n", "/data/s > 5",
                         "/data/big == 9007199254740992", "/data/a/b/2", "/data/a/b/01", "/data/n/x", "/subject > 5", "/data/n != 42"})
    EXPECT_FALSE(where(no)) << no;
}

TEST(routes, of_members_with_one_name_the_last_counts) {
  EXPECT_THAT(who(evaluated(rule("to = \"user:{/data/a/b}\""), event_with(R"({"a":{"b":"x"},"a":{"c":"y"}})"))), IsEmpty());
  EXPECT_THAT(who(evaluated(rule("to = \"user:{/data/a/b}\""), event_with(R"({"a":{"b":"x"},"a":{"b":"y"}})"))), ElementsAre("user:y"));
}

TEST(routes, name_users_one_by_one_in_lists_and_by_what_the_event_says_and_except_some) {
  const auto x = event_with(R"({"buyerId":"b 1","n":7,"watchers":["w/1",2,"b 1","w\"3"],"muted":["w/1"]})", {{"touser", "t1,t2"}});
  EXPECT_THAT(who(evaluated(rule("to = [\"user:{/data/buyerId}\", \"users:{/data/watchers}\", \"user:ops\", \"touser\"]"), x)),
              ElementsAre("user:b 1", "user:w/1", "user:2", "user:w\"3", "user:ops", "user:t1", "user:t2"));
  EXPECT_THAT(who(evaluated(rule("to = \"users:{/data/watchers}\"\nexcept = [\"users:{/data/muted}\", \"user:{/data/buyerId}\"]"), x)),
              ElementsAre("user:2", "user:w\"3"));
  EXPECT_THAT(who(evaluated(rule("to = [\"user:{/data/n}\", \"user:c-{/data/n}-{/data/buyerId}\", \"users:w-{/data/watchers}\"]"), x)),
              ElementsAre("user:7", "user:c-7-b 1", "user:w-w/1", "user:w-2", "user:w-b 1", "user:w-w\"3"));
  EXPECT_THAT(who(evaluated(rule("to = \"users:{/data/buyerId}\""), x)), ElementsAre("user:b 1")) << "one is a list of one";
  EXPECT_THAT(who(evaluated(rule("to = \"user:{/data/owner|nobody's}\""), x)), ElementsAre("user:nobody's"));
}

TEST(routes, what_is_missing_names_nobody_and_what_cannot_be_an_id_is_malformed_by_name) {
  const auto r = rule("name = \"paid\"\nto = \"user:{/data/id}\"");
  EXPECT_THAT(who(evaluated(r, event_with("{}"))), IsEmpty());
  EXPECT_THAT(who(evaluated(r, event_with(R"({"id":null})"))), IsEmpty());
  EXPECT_THAT(who(evaluated(r, event_with(""))), IsEmpty());
  EXPECT_THAT(who(evaluated(r, event_with(R"({"id":12345678901234567890123})"))), ElementsAre("user:12345678901234567890123"));
  EXPECT_THAT(who(evaluated(r, event_with(R"({"id":"\ud83d\ude80 x"})"))), ElementsAre("user:\xF0\x9F\x9A\x80 x"));
  const auto long_id = R"({"id":")" + std::string(4096, 'x') + "\"}";
  for (const std::string& data : {std::string(R"({"id":"a\u0000b"})"), std::string(R"({"id":""})"), std::string(R"({"id":1.5})"),
                                  std::string(R"({"id":true})"), std::string(R"({"id":{"x":1}})"), std::string(R"({"id":["a"]})"), long_id}) {
    const auto out = evaluated(r, event_with(data));
    ASSERT_FALSE(out) << data;
    EXPECT_EQ(out.error().code, ec::malformed);
    EXPECT_EQ(out.error().field, "user:{/data/id}");
    EXPECT_THAT(out.error().detail, HasSubstr("paid: ")) << data;
  }
  const auto list = evaluated(rule("to = \"users:{/data/ids}\""), event_with(R"({"ids":["a",null]})"));
  ASSERT_FALSE(list);
  EXPECT_THAT(list.error().detail, HasSubstr("neither a string nor a whole number"));
}

TEST(routes, the_first_match_counts_or_all_and_an_address_gets_what_the_first_rule_that_names_it_says) {
  const std::string rules = R"(
[[routes]]
match.type = "com.shop.**"
to = ["user:a", "user:b"]
render.title = "one"
[[routes]]
match.where = "/data/n > 1"
to = ["user:b", "user:c"]
render.title = "two"
)";
  const auto x = event_with(R"({"n":2})");
  EXPECT_THAT(who(evaluated(rules, x)), ElementsAre("user:a", "user:b"));
  const auto all = evaluated("[routing]\nmatch = \"all\"\n" + rules, x);
  EXPECT_THAT(who(all), ElementsAre("user:a", "user:b", "user:c"));
  ASSERT_TRUE(all);
  EXPECT_THAT(all->matched, ElementsAre(0, 1));
  EXPECT_EQ(all->variants[all->to[1].variant].what->extension("title"), "one");
  EXPECT_EQ(all->variants[all->to[2].variant].what->extension("title"), "two");
}

TEST(routes, render_once_for_all_who_get_it) {
  const auto x = event_with(R"({"id":17,"total":"9.50","item":{"name":"A \"B\"\nC"},"to":["a","b","c"]})", {{"title", "old"}, {"link", "old"}});
  const auto out = evaluated(rule(R"(to = "users:{/data/to}"
[routes.render]
title = "Order {/data/id} {/data/gone|?}{/data/missing} {{}}"
body = "{/data/item/name}, {/data/item}"
link = "{/data/gone}"
icon = "/i/{/subject}.png"
default = "-"
data = ["/data/item/name", "/data/total", "/data/gone"])"),
                             x);
  ASSERT_TRUE(out) << out.error().detail;
  ASSERT_EQ(out->variants.size(), 1U);
  EXPECT_EQ(out->to.size(), 3U);
  const auto& got = *out->variants[0].what;
  EXPECT_EQ(got.extension("title"), "Order 17 ?- {}");
  EXPECT_EQ(got.extension("body"), R"(A "B" C, {"name":"A \"B\"\nC"})") << "no control characters in attributes";
  EXPECT_EQ(got.extension("link"), "-");
  EXPECT_EQ(got.extension("icon"), "/i/o-17.png");
  EXPECT_EQ(got.data, R"({"name":"A \"B\"\nC","total":"9.50"})");
  EXPECT_EQ(got.id, "1");
  // What a log record holds must be readable again.
  const auto again = event_from_json(to_json(got));
  ASSERT_TRUE(again) << again.error().detail;
  EXPECT_EQ(again->extension("body"), got.extension("body"));
  EXPECT_EQ(x->extension("title"), "old");

  const auto plain = evaluated(rule("to = \"users:{/data/to}\""), x);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->variants[0].what.get(), x.get()) << "without render it is the event itself";
  EXPECT_EQ(plain->variants[0].terms, nullptr);
  const auto none = evaluated(rule("to = \"user:a\"\nrender.data = \"none\""), x);
  EXPECT_EQ(none->variants[0].what->data, "");
}

TEST(routes, cut_long_texts_at_a_character) {
  const auto x = event_with(R"({"s":")" + std::string(63, 'x') + "\xC3\xBC\"}");
  const auto out = evaluated("[routing]\ntext_bytes_max = 64\n" + rule("to = \"user:a\"\nrender.body = \"{/data/s}\""), x);
  EXPECT_EQ(out->variants[0].what->extension("body"), std::string(63, 'x'));
}

TEST(routes, say_how_their_messages_are_delivered) {
  using ordering = delivery_terms::ordering;
  const auto x = event_with(R"({"id":17})");
  const auto terms = [&](const std::string& how) { return evaluated(rule("to = \"user:a\"\n" + how), x)->variants.at(0).terms; };
  EXPECT_EQ(terms(""), nullptr);
  const auto all = terms("order = \"strict\"\nkey = \"o-{/data/id}\"\nttl = \"2h\"\npriority = 7\nmax_attempts = 0");
  EXPECT_EQ(all->order, ordering::strict);
  EXPECT_EQ(all->key, "o-17");
  EXPECT_EQ(all->ttl, std::optional(milliseconds(7'200'000)));
  EXPECT_EQ(all->priority, 7);
  EXPECT_EQ(all->max_attempts, std::optional(0U));
  EXPECT_EQ(terms("priority = 1")->max_attempts, std::nullopt);
  EXPECT_EQ(terms("collapse_key = \"seat\"")->order, ordering::latest);
  EXPECT_EQ(terms("collapse_key = \"seat\"")->key, "seat");
  EXPECT_EQ(terms("collapse_key = \"{/data/gone}\"")->order, ordering::configured) << "without a key it would replace what has nothing to do with it";
}

TEST(routes, what_nothing_matches_is_told_apart_and_may_have_a_fallback) {
  const std::string rules = "[[routes]]\nmatch.type = \"x\"\nto = \"user:a\"\n";
  const auto x = event_with("{}", {{"touser", "t"}});
  const auto dropped = evaluated(rules, x);
  EXPECT_TRUE(dropped->unmatched());
  EXPECT_THAT(who(dropped), IsEmpty());
  const auto back = evaluated("[routing]\nunmatched = \"fallback\"\nfallback = [\"user:ops\", \"touser\"]\n" + rules, x);
  EXPECT_TRUE(back->unmatched());
  EXPECT_THAT(who(back), ElementsAre("user:ops", "user:t"));
  EXPECT_FALSE(evaluated("[[routes]]\nto = \"user:{/data/gone}\"", x)->unmatched()) << "a rule that names nobody has matched";
}

TEST(routes, more_recipients_than_allowed_are_refused) {
  const auto x = event_with(R"({"to":["a","b","c","a"]})");
  const std::string r = rule("to = \"users:{/data/to}\"");
  EXPECT_EQ(who(evaluated("[routing]\nrecipients_max = 3\n" + r, x)).size(), 3U);
  const auto out = evaluated("[routing]\nrecipients_max = 2\n" + r, x);
  ASSERT_FALSE(out);
  EXPECT_THAT(out.error().detail, HasSubstr("routing.recipients_max"));
}

TEST(routes, explain_what_each_rule_did) {
  const auto table = table_of(R"(
[[routes]]
match.type = "com.bank.*"
to = "user:a"
[[routes]]
match.where = "/data/n > 50"
to = "user:a"
[[routes]]
match.where = "/data/n == '42'"
to = "user:a"
[[routes]]
name = "hit"
to = "user:{/data/who}"
[[routes]]
match.severity = "warn"
to = "user:a"
[[routes]]
to = "user:b"
)");
  ASSERT_NE(table, nullptr);
  const auto out = route_evaluator().explain(*table, {event_with(R"({"n":42,"who":"z"})")});
  ASSERT_EQ(out.size(), 6U);
  EXPECT_THAT(out[0].why, HasSubstr("type is \"com.shop.order.paid\", not com.bank.*"));
  EXPECT_THAT(out[1].why, HasSubstr("/data/n is 42"));
  EXPECT_THAT(out[2].why, HasSubstr("a number, not a string"));
  EXPECT_TRUE(out[3].matches && out[3].reached);
  EXPECT_EQ(out[3].why, "names 1");
  EXPECT_THAT(out[4].why, HasSubstr("severity is missing"));
  EXPECT_FALSE(out[5].reached);
  EXPECT_THAT(out[5].why, HasSubstr("hit did before it"));
}

std::vector<std::string> found(const std::string& toml, std::vector<std::string> topics = {}) {
  const auto table = table_of(toml);
  std::vector<std::string> out;
  if (table != nullptr)
    for (const auto& x : lint_routes(*table, topics)) out.push_back(std::to_string(x.rule) + ": " + x.what);
  return out;
}

TEST(route_lint, finds_rules_that_can_never_match) {
  const auto two = [](const std::string& a, const std::string& b) {
    return "[[routes]]\nto = \"user:a\"\n" + a + "\n[[routes]]\nto = \"user:b\"\n" + b + "\n";
  };
  EXPECT_THAT(found(two("match.type = \"a.*\"", "match.type = \"a.b\"")), ElementsAre(HasSubstr("1: can never match: route 1 before it")));
  EXPECT_THAT(found("[routing]\nmatch = \"all\"\n" + two("match.type = \"a.*\"", "match.type = \"a.b\"")), IsEmpty());
  EXPECT_THAT(found(two("match.type = \"a.b\"", "match.type = \"a.*\"")), IsEmpty());
  EXPECT_THAT(found(two("match.where = \"/data/n > 3\"", "match.where = [\"/data/n >= 5\", \"/data/x\"]")), ElementsAre(HasSubstr("1: ")));
  EXPECT_THAT(found(two("match.where = \"/data/n > 5\"", "match.where = \"/data/n >= 5\"")), IsEmpty());
  EXPECT_THAT(found(two("match.where = \"/data/s in ['a', 'b']\"", "match.where = \"/data/s == 'a'\"")), ElementsAre(HasSubstr("1: ")));
  EXPECT_THAT(found(two("match.severity = \"warn\"", "match.severity = \"error\"")), ElementsAre(HasSubstr("1: ")));
  EXPECT_THAT(found(two("match.header = { a = \"*\" }", "match.header = { a = \"x\" }")), ElementsAre(HasSubstr("1: ")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.where = [\"/data/n > 5\", \"/data/n < 3\"]")), ElementsAre(HasSubstr("exclude each other")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.where = [\"/data/n == 5\", \"!/data/n\"]")), ElementsAre(HasSubstr("exclude each other")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.where = \"/subject == 5\"")), ElementsAre(HasSubstr("an attribute is a text")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.severity = \"> fatal\"")), ElementsAre(HasSubstr("no severity")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.topic = \"orders\""), {"payments"}), ElementsAre(HasSubstr("no source reads")));
  EXPECT_THAT(found(rule("to = \"user:a\"\nmatch.topic = \"orders\""), {"orders"}), IsEmpty());
  EXPECT_THAT(found(rule("to = \"user:{/data/a}\"\nexcept = \"user:{/data/a}\"")), ElementsAre(HasSubstr("delivers nothing")));
}

TEST(routes, name_channels_and_render_once_for_each_role) {
  const std::string rules =
      "[[routes]]\nto = [\"user:{/data/buyer}\", \"role:admin\", \"role:viewer\", \"group:{/data/team}\", \"topic:sales\", \"all\"]\n"
      "render.data = \"none\"\n[routes.render.role.admin]\ndata = [\"/data/price\"]\n";
  const auto found = evaluated(rules, event_with(R"({"buyer":"b","team":"north","price":7})"));
  EXPECT_THAT(who(found), ElementsAre("user:b", "role:admin", "role:viewer", "group:north", "topic:sales", "all"));
  ASSERT_EQ(found->variants.size(), 2U);
  for (const auto& x : found->to)
    EXPECT_EQ(found->variants[x.variant].what->data, x.to.text() == "role:admin" ? R"({"price":7})" : "") << x.to.text();
  const auto kinds = table_of(rules)->channels();
  EXPECT_TRUE(kinds.role && kinds.group && kinds.topic && kinds.all);
  EXPECT_FALSE(table_of("[[routes]]\nto = \"user:a\"\n")->channels().any());
}

TEST(route_errors, name_file_line_and_caret) {
  EXPECT_EQ(
      error_of("[[routes]]\nto = \"user:{/data/id\"\n"),
      "doorstep.toml:2:12: the placeholder has no \"}\"; a brace itself is written twice\n 2 | to = \"user:{/data/id\"\n   |            ^~~~~~~~~");
  EXPECT_EQ(
      error_of("[[routes]]\nto = [\"user:a\", \"rolle:admin\"]\n"),
      "doorstep.toml:2:17: is not an address: write user:{/data/id}, users:{/data/ids} for a list, touser for whom the event names, or a channel: "
      "role:name, group:name, topic:name, all\n"
      " 2 | to = [\"user:a\", \"rolle:admin\"]\n   |                 ^~~~~~~~~~~~~");
  EXPECT_EQ(error_of("[[routes]]\nto = \"user:a\"\nmatch.where = [\"/data/a == 1\", \"/data/b = 2\"]\n"),
            "doorstep.toml:3:41: after the pointer comes ==, !=, <, <=, >, >= or in\n 3 | match.where = [\"/data/a == 1\", \"/data/b = 2\"]\n"
            "   |                                         ^~~");
}

TEST(route_errors, are_found_before_anything_starts) {
  const auto bad = [](const std::string& body) { return error_of("[[routes]]\n" + body + "\n"); };
  EXPECT_THAT(bad("to = \"role:\""), HasSubstr("empty"));
  EXPECT_THAT(bad("to = \"topic:{data/x}\""), HasSubstr("begins with"));
  EXPECT_THAT(bad("match.type = \"x\""), HasSubstr("has no \"to\""));
  EXPECT_THAT(bad("to = \"alice\""), HasSubstr("is not an address"));
  EXPECT_THAT(bad("to = \"users:x\""), HasSubstr("one placeholder"));
  EXPECT_THAT(bad("to = \"user:\""), HasSubstr("empty"));
  EXPECT_THAT(bad("to = \"user:{data/x}\""), HasSubstr("begins with"));
  EXPECT_THAT(bad("to = \"user:{/subject/x}\""), HasSubstr("nothing below it"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.type = \"a.b*\""), HasSubstr("whole segment"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.type = \"a.**.c\""), HasSubstr("at the end"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.severity = \"loud\""), HasSubstr("is not a severity"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.where = \"/data/a > true\""), HasSubstr("have an order"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.where = \"/data/a == paid\""), HasSubstr("string in quotes"));
  EXPECT_THAT(bad("to = \"user:a\"\nmatch.typ = \"a\""), HasSubstr("did you mean \"type\"?"));
  EXPECT_THAT(bad("to = \"user:a\"\nexept = \"user:b\""), HasSubstr("did you mean \"except\"?"));
  EXPECT_THAT(bad("to = \"user:a\"\nrender.tite = \"b\""), HasSubstr("did you mean \"title\"?"));
  EXPECT_THAT(bad("to = \"user:a\"\nrender.data = \"some\""), HasSubstr("whole"));
  EXPECT_THAT(bad("to = \"user:a\"\norder = \"latest\""), HasSubstr("needs a key"));
  EXPECT_THAT(bad("to = \"user:a\"\norder = \"strict\"\ncollapse_key = \"a\""), HasSubstr("the one or the others"));
  EXPECT_THAT(bad("to = \"user:a\"\npriority = 10"), HasSubstr("0 to 9"));
  EXPECT_THAT(bad("to = \"user:a\"\nttl = \"soon\""), HasSubstr("is not a duration"));
  EXPECT_THAT(bad("name = \"x\"\nto = \"user:a\"\n[[routes]]\nname = \"x\"\nto = \"user:a\""), HasSubstr("two routes are called"));
  EXPECT_THAT(error_of("[routing]\nunmatched = \"fallback\"\n[[routes]]\nto = \"user:a\""), HasSubstr("routing.fallback names nobody"));
  EXPECT_THAT(error_of("[routing]\nfallback = [\"role:x\"]\n[[routes]]\nto = \"user:a\""), IsEmpty());
  EXPECT_THAT(error_of("routes = 5"), HasSubstr("[[routes]]"));
  EXPECT_EQ(error_of("routes = []"), "");
}

}  // namespace
}  // namespace doorstep::test
