// SPDX-License-Identifier: Apache-2.0
// A channel with a store in memory that answers at once, unless it is told to hold; the clock is virtual.
#pragma once

#include "runtime/audience.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace doorstep::test {

class audience_test : public testing::Test {
protected:
  audience_test() {
    options.of = address::parse("role:admin").value();
    options.known = {100};
    options.ack_timeout = milliseconds{1000};
    options.retry = {milliseconds{100}, milliseconds{100}};
    options.clock = {now, unix_ms{1'000'000}};
  }

  /// A life of the channel, beginning with what the log has.
  void make() {
    options.known = log.empty() ? sequence{100} : log.back()->seq;
    it = std::make_unique<audience>(options, [] { return std::uint64_t{UINT64_MAX}; });
    sessions = 1;
    out.clear();
    pushed.clear();
  }
  void crash() {
    options.may_be_pushed = log.back()->seq;
    make();
  }
  void forget_all() {
    log.clear();
    records.clear();
    gaps.clear();
    gone_to = {};
    it.reset();
  }
  /// One thing happens, and what the channel asks for is answered.
  template <class F>
  void call(F&& what) {
    if (!it) make();
    out.clear();
    what();
    hold();
    answer();
  }
  /// Notes what is to be done, and leaves the store's answers for later.
  void hold() {
    for (const auto& x : out.reads) asked.push_back(x);
    note();
  }
  void answer() {
    while (!asked.empty() || out.newest || !out.load.empty()) {
      auto kept = std::exchange(out, {});
      if (kept.newest) {
        std::vector<message_ptr> found;
        for (const auto& x : log)
          if (x->seq <= kept.newest->after && x->seq > gone_to) found.push_back(x);
        if (found.size() > kept.newest->limit) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(kept.newest->limit));
        it->newest(found, now, out);
      }
      for (const auto who : kept.load) it->loaded(who, stored(std::string(it->user_of(who))), now, out);
      for (const auto& x : std::exchange(asked, {})) {
        ++reads;
        it->page(x.after, page(x.after, x.limit), now, out);
      }
      for (const auto& x : out.reads) asked.push_back(x);
      note();
      merge(kept);
    }
  }
  /// What came before the answers stays in `out` for the test to see.
  void merge(const audience_effects& before) {
    const auto shift = static_cast<std::uint32_t>(before.frames.size());
    for (auto& x : out.pushes) x.frame += shift;
    out.frames.insert(out.frames.begin(), before.frames.begin(), before.frames.end());
    out.pushes.insert(out.pushes.begin(), before.pushes.begin(), before.pushes.end());
    out.joined.insert(out.joined.begin(), before.joined.begin(), before.joined.end());
    out.answers.insert(out.answers.begin(), before.answers.begin(), before.answers.end());
    out.expired += before.expired;
    out.reads.clear();
  }
  void note() {
    for (const auto& x : out.pushes) {
      const auto& frame = out.frames[x.frame];
      pushed[x.to].push_back(frame.what->what->id);
      flags[{std::string(it->user_of(x.to)), frame.what->what->id}] = frame.redelivered;
    }
    gaps.insert(gaps.end(), out.gaps.begin(), out.gaps.end());
  }
  stored_page page(sequence after, std::size_t limit) const {
    stored_page x;
    for (const auto& m : log)
      if (m->seq > after && m->seq > gone_to) x.messages.push_back(m);
    x.more = x.messages.size() > limit;
    if (x.more) x.messages.resize(limit);
    x.complete_to = log.empty() ? sequence{100} : log.back()->seq;
    x.gone_to = gone_to;
    return x;
  }

  reader_id attach(const std::string& user) {
    reader_id who = 0;
    out.clear();
    who = it->attach(user, sessions++, {}, now, out);
    return who;
  }
  void load(reader_id who) {
    out.clear();
    it->loaded(who, stored(std::string(it->user_of(who))), now, out);
    note();
  }
  /// Attached, loaded, its cursor durable.
  reader_id join(const std::string& user) {
    if (!it) make();
    const auto who = attach(user);
    hold();
    answer();
    save();
    return who;
  }
  void detach(reader_id who) {
    call([&] { it->detach(who, out); });
  }
  void ack(reader_id who, sequence up_to, std::vector<std::string> ids) {
    call([&] { it->ack(who, 1, 1, up_to, std::move(ids), false, now, out); });
  }
  void begin_save() {
    if (it->wants_save()) saving = it->begin_save(now);
  }
  void finish_save() {
    if (!saving) return;
    for (const auto& x : saving->cursors) records[std::string(x.user.text())] = x;
    dead.insert(dead.end(), saving->dead.begin(), saving->dead.end());
    saving.reset();
    call([&] { it->saved(now, out); });
  }
  void save() {
    begin_save();
    finish_save();
  }
  void pass(milliseconds time) {
    now += time;
    call([&] { it->tick(now, out); });
  }

  message_ptr append(const std::string& id) {
    auto what = std::make_shared<event>();
    what->id = id;
    what->source = "/test";
    const sequence seq{(log.empty() ? 100 : log.back()->seq.value) + 7};
    log.push_back(std::make_shared<const message>(message{options.of, seq, "id-" + id, std::move(what), options.clock.time_at(now)}));
    return log.back();
  }
  void publish(const std::string& id) {
    const auto x = append(id);
    call([&] { it->deliver({x}, now, out); });
  }
  /// Retention takes all before this one.
  void retain_from(const std::string& id) {
    for (const auto& x : log) {
      if (x->what->id == id) return;
      gone_to = x->seq;
    }
  }

  sequence last() const { return log.back()->seq; }
  sequence seq_of(const std::string& id) const {
    for (const auto& x : log)
      if (x->what->id == id) return x->seq;
    return {};
  }
  static std::string id_of(const std::string& event) { return "id-" + event; }
  cursor_record stored(const std::string& user) {
    const auto key = reader_key(options.of, user);
    const auto found = records.find(std::string(key.text()));
    return found == records.end() ? cursor_record{key, {}, {}, {}, 0} : found->second;
  }
  /// By the last call.
  std::vector<std::string> pushed_to(reader_id who) const {
    std::vector<std::string> ids;
    for (const auto& x : out.pushes)
      if (x.to == who) ids.push_back(out.frames[x.frame].what->what->id);
    return ids;
  }
  std::vector<std::string> all_pushed_to(reader_id who) { return pushed[who]; }

  bool is_flagged(const std::string& user, const std::string& id) const { return flags.at({user, id}); }

  steady_time now{std::chrono::hours(1)};
  audience_options options;
  std::unique_ptr<audience> it;
  audience_effects out;
  std::vector<message_ptr> log;
  std::unordered_map<std::string, cursor_record> records;
  std::vector<dead_letter> dead;
  std::vector<audience_effects::hole> gaps;
  std::map<reader_id, std::vector<std::string>> pushed;
  std::map<std::pair<std::string, std::string>, bool> flags;
  std::vector<audience_effects::fetch> asked;
  std::optional<audience::batch> saving;
  sequence gone_to;
  std::uint32_t sessions = 1;
  std::size_t reads = 0;
};

}  // namespace doorstep::test
