// SPDX-License-Identifier: Apache-2.0
// bench_routes: what it costs to find the rules of an event: 200 rules, an event with 1 KB of data that the last one matches. Prints microseconds an event,
// the best of many short rounds; aimed at: 5. A plain program: checks nothing but that the rule was found.
#include "runtime/routes.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

using namespace doorstep;

namespace {

constexpr int rules = 200, events = 100, rounds = 400;

/// Twenty members, some of them nested, 1 KB.
std::string made_data() {
  std::string out = "{";
  for (int i = 0; i < 12; ++i) out += "\"field" + std::to_string(i) + "\":\"value of field " + std::to_string(i) + "\",";
  out += R"("amount":42.5,"count":7,"state":"paid","buyerId":"b-17","item":{"sku":"A-1","name":"A thing","tags":["x","y","z"]},)";
  out += R"("watchers":["w1","w2","w3"],"text":")";
  return out + std::string(1024 - out.size() - 2, 't') + "\"}";
}

std::string rule(const std::string& match, bool last) {
  return "[[routes]]\nto = " + std::string(last ? "[\"user:{/data/buyerId}\", \"users:{/data/watchers}\"]" : "\"user:x\"") + "\n" + match + "\n";
}

/// A quarter each by type, by topic, by a type with `*`, by comparisons alone: as a large configuration may look.
std::string mixed() {
  std::string out;
  for (int i = 0; i < rules - 1; ++i) {
    const auto n = std::to_string(i);
    const auto where = "match.where = \"/data/field" + std::to_string(i % 12) + " == 'other " + n + "'\"";
    switch (i % 4) {
      case 0: out += rule("match.type = \"com.shop.kind" + n + "\"\n" + where, false); break;
      case 1: out += rule("match.topic = \"topic" + n + "\"\n" + where, false); break;
      case 2: out += rule("match.type = \"com.*.order" + n + ".*\"", false); break;
      default: out += rule(where, false);
    }
  }
  return out + rule("match.where = [\"/data/amount > 40\", \"/data/state == 'paid'\"]", true);
}

/// Nothing for the index: every rule compares something in the data, each at another place.
std::string all_by_data() {
  std::string out;
  for (int i = 0; i < rules - 1; ++i) {
    const auto n = std::to_string(i);
    const auto place = i % 2 == 0 ? "/data/field" + std::to_string(i % 12) : "/data/item/field" + n;
    out += rule("match.where = \"" + place + " == 'other " + n + "'\"", false);
  }
  return out + rule("match.where = [\"/data/amount > 40\", \"/data/state == 'paid'\"]", true);
}

std::string all_of_one_type() {
  std::string out;
  for (int i = 0; i < rules - 1; ++i)
    out += rule("match.type = \"com.shop.order.*\"\nmatch.where = [\"/data/count > " + std::to_string(i + 10) + "\", \"/data/amount > 1\"]", false);
  return out + rule("match.type = \"com.shop.**\"", true);
}

void measure(const char* name, const std::string& toml) {
  const auto loaded = load_config(toml, "bench.toml", {}, {});
  if (!loaded) {
    std::printf("%s\n", loaded.error().detail.c_str());
    std::exit(1);
  }
  auto what = std::make_shared<event>();
  what->id = "1";
  what->source = "/bench";
  what->type = "com.shop.order.paid";
  what->data = made_data();
  route_evaluator evaluator;
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto began = std::chrono::steady_clock::now();
    std::size_t found = 0;
    for (int i = 0; i < events; ++i) found += evaluator.evaluate(*loaded->routes, {what, "orders"})->to.size();
    best = std::min(best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count() / events);
    if (found != std::size_t{events} * 4) std::abort();
  }
  std::printf("%-28s %6.2f us an event\n", name, best);
}

}  // namespace

int main() {
  std::printf("%d rules, %zu bytes of data, 4 recipients\n", rules, made_data().size());
  measure("mixed", mixed());
  measure("all look into the data", all_by_data());
  measure("all of one type", all_of_one_type());
  measure("one rule", rule("", true));
  return 0;
}
