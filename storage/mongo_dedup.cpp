// SPDX-License-Identifier: Apache-2.0
// Keys first, then the messages, then the position: after a crash in between a message finds its own key, with its own seq, and is no duplicate of itself.
#include "storage/mongo_dedup.hpp"

#include "storage/mongo_format.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t keys_a_question = 1'000;
constexpr milliseconds reap_interval{60'000};

std::string key_of(const message& x) { return x.id + "#" + std::to_string(x.requeue); }

}  // namespace

result<void> mongo_dedup::look_up(const std::vector<std::string>& keys, std::unordered_map<std::string, place>& into) {
  for (std::size_t from = 0; from < keys.size(); from += keys_a_question) {
    const auto to = keys.begin() + static_cast<std::ptrdiff_t>(std::min(keys.size(), from + keys_a_question));
    bson_out any_of;
    any_of.texts("$in", {keys.begin() + static_cast<std::ptrdiff_t>(from), to});
    auto found = at_.find(mongo_collection::dedup, bson_with("_id", any_of), {}, [&](const bson_in& x) -> result<void> {
      if (auto known = check_format(x); !known) return known;
      into.insert_or_assign(x.text("_id"), place{{x.count("seq")}, {x.number("appended")}});
      return {};
    });
    if (!found) return found;
  }
  return {};
}

result<void> mongo_dedup::judge(std::span<store_work> works) {
  std::vector<std::string> keys;
  for (auto& work : works) {
    work.duplicates.clear();
    if (!work.batch.duplicates) continue;
    for (const auto& x : work.batch.messages) keys.push_back(key_of(*x));
  }
  if (keys.empty()) return {};
  std::unordered_map<std::string, place> known;
  if (auto found = look_up(keys, known); !found) return found;
  std::unordered_map<std::string, place> fresh;
  for (auto& work : works) {
    if (!work.batch.duplicates) continue;
    for (const auto& x : work.batch.messages) {
      newest_ = std::max(newest_, x->appended);
      auto key = key_of(*x);
      const auto found = known.find(key);
      if (found != known.end() && x->seq <= found->second.seq) continue;  // itself, or one before it that is read again
      if (found != known.end() && x->appended.value - found->second.appended.value < window_.count()) {
        work.duplicates.push_back(x);
        continue;
      }
      known.insert_or_assign(key, place{x->seq, x->appended});
      fresh.insert_or_assign(std::move(key), place{x->seq, x->appended});
    }
  }
  std::vector<mongo_operation> all;
  for (const auto& [key, x] : fresh) {
    bson_out set;
    set.number("v", mongo_format_version).number("seq", x.seq.value).number("appended", x.appended.value);
    all.push_back({mongo_operation::kind::upsert, bson_with("_id", key), bson_with("$set", set)});
  }
  if (auto written = at_.write(mongo_collection::dedup, all); !written) return written.error();
  return {};
}

void mongo_dedup::reap() {
  const auto now = std::chrono::steady_clock::now();
  if (newest_.value == 0 || now < reap_due_) return;
  reap_due_ = now + reap_interval;
  static_cast<void>(at_.remove_all(mongo_collection::dedup, bson_with("appended", bson_with("$lt", newest_.value - window_.count()))));
}

}  // namespace doorstep
