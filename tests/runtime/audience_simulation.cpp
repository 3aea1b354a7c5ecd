// SPDX-License-Identifier: Apache-2.0
// A channel's readers in a hostile world, from a seed: a store that lags, fails, or applies without saying so; crashes; sessions that come and go, ack cumulatively or by
// id, nack, repeat. After each step: nothing is settled durably that its reader did not ack, nothing unflagged was pushed to that reader before, nothing that
// has a receipt comes again. At the end everything owed is acked. A failure prints its seed; DOORSTEP_SIMULATION_SEED=n begins with that one.
#include "runtime/audience.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {
namespace {

constexpr int seeds = 60, steps_a_seed = 3'000;

struct violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class world {
public:
  explicit world(std::uint64_t seed) : random_(seed) {
    options_.of = address::all();
    options_.known = {100};
    options_.window = static_cast<unsigned>(1 + pick(32));
    options_.ack_timeout = milliseconds{500};
    options_.retry = {milliseconds{50}, milliseconds{400}};
    options_.recent_max = 4 + pick(60);
    options_.page_max = 1 + pick(40);
    options_.replay_rate = chance(0.5) ? 0 : 200;
    options_.start.what = chance(0.5) ? channel_start::from::latest : chance(0.5) ? channel_start::from::earliest : channel_start::from::last;
    options_.start.count = pick(10);
    users_.resize(1 + pick(6));
    for (std::size_t i = 0; i < users_.size(); ++i) users_[i].name = "u" + std::to_string(i);
    start(false);
  }

  void run() {
    for (int i = 0; i < steps_a_seed; ++i) step();
    calm_ = true;
    for (int i = 0; i < 20'000 && !at_rest(); ++i) step();
    if (!at_rest()) throw violation("not everything owed was acked: " + unsettled());
  }

private:
  struct session {
    std::uint32_t number;
    std::map<sequence, message_ptr> received;  ///< not acked yet
    std::set<sequence> nacked;
  };
  struct user {
    std::string name;
    std::optional<reader_id> reader;
    std::vector<session> sessions;
    std::optional<sequence> owed_above;
    std::set<sequence> acked, receipted, pushed;
    sequence newest_unflagged;
    std::map<std::uint64_t, std::set<sequence>> acks;  ///< by token, of this life
  };

  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  bool chance(double x) { return std::uniform_real_distribution<>(0, 1)(random_) < x; }

  void start(bool crashed) {
    if (crashed) options_.may_be_pushed = log_.empty() ? sequence{} : log_.back()->seq;
    options_.known = stored_ == 0 ? sequence{100} : log_[stored_ - 1]->seq;
    it_ = std::make_unique<audience>(options_, [this] { return random_(); });
    reads_.clear();
    loads_.clear();
    newest_.reset();
    saving_.reset();
    for (auto& x : users_) {
      x.reader.reset();
      x.sessions.clear();
      x.acks.clear();
      x.newest_unflagged = {};
    }
    std::vector<message_ptr> unsaved(log_.begin() + static_cast<std::ptrdiff_t>(stored_), log_.end());
    out_.clear();
    it_->deliver(unsaved, now_, out_);
    carry_out();
  }

  void step() {
    now_ += milliseconds(pick(20));
    const auto what = pick(100);
    out_.clear();
    if (what < 12 && !calm_)
      publish();
    else if (what < 22)
      stored_ = std::min(log_.size(), stored_ + 1 + pick(4));
    else if (what < 34)
      answer_reads();
    else if (what < 46)
      save();
    else if (what < 58)
      attach();
    else if (what < 66 && !calm_)
      detach();
    else if (what < 90)
      client();
    else if (what < 91 && !calm_ && chance(0.3))
      return start(true);
    else if (what < 92 && it_->is_idle() && !saving_)
      return start(false);
    else
      it_->tick(now_, out_);
    carry_out();
    check();
  }

  void publish() {
    auto what = std::make_shared<event>();
    what->id = std::to_string(log_.size());
    const sequence seq{(log_.empty() ? 100 : log_.back()->seq.value) + 1 + pick(5)};
    log_.push_back(std::make_shared<const message>(message{options_.of, seq, "m" + what->id, std::move(what), {}}));
    it_->deliver({log_.back()}, now_, out_);
  }

  void answer_reads() {
    if (!loads_.empty()) {
      const auto who = loads_.front();
      loads_.erase(loads_.begin());
      if (!calm_ && chance(0.2)) return it_->load_failed(who, now_);
      const auto key = reader_key(options_.of, it_->user_of(who));
      const auto found = records_.find(std::string(key.text()));
      return it_->loaded(who, found == records_.end() ? cursor_record{key, {}, {}, {}, 0} : found->second, now_, out_);
    }
    if (newest_) {
      const auto x = *std::exchange(newest_, std::nullopt);
      if (!calm_ && chance(0.2)) return it_->newest_failed(now_);
      std::vector<message_ptr> found;
      for (std::size_t i = 0; i < stored_; ++i)
        if (log_[i]->seq <= x.after) found.push_back(log_[i]);
      if (found.size() > x.limit) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(x.limit));
      return it_->newest(found, now_, out_);
    }
    if (reads_.empty()) return;
    const auto at = reads_.begin() + static_cast<std::ptrdiff_t>(pick(reads_.size()));
    const auto x = *at;
    reads_.erase(at);
    if (!calm_ && chance(0.2)) return it_->page_failed(x.after, now_);
    stored_page page;
    for (std::size_t i = 0; i < stored_; ++i)
      if (log_[i]->seq > x.after) page.messages.push_back(log_[i]);
    page.more = page.messages.size() > x.limit;
    if (page.more) page.messages.resize(x.limit);
    page.complete_to = stored_ == 0 ? sequence{100} : log_[stored_ - 1]->seq;
    it_->page(x.after, page, now_, out_);
  }

  void save() {
    if (!saving_) {
      if (it_->wants_save()) saving_ = it_->begin_save(now_);
      return;
    }
    const auto batch = *std::exchange(saving_, std::nullopt);
    const bool works = calm_ || chance(0.7), says_so = works && (calm_ || chance(0.8));
    if (works)
      for (const auto& x : batch.cursors) {
        auto& at = records_[std::string(x.user.text())];
        if (x.version > at.version) at = x;
      }
    says_so ? it_->saved(now_, out_) : it_->save_failed();
  }

  void attach() {
    auto& x = users_[pick(users_.size())];
    if (x.sessions.size() > (calm_ ? 0U : 1U)) return;
    const auto number = next_session_++;
    x.sessions.push_back({number, {}, {}});
    x.reader = it_->attach(x.name, number, {}, now_, out_);
  }
  void detach() {
    auto& x = users_[pick(users_.size())];
    if (x.sessions.empty()) return;
    x.sessions.erase(x.sessions.begin() + static_cast<std::ptrdiff_t>(pick(x.sessions.size())));
    it_->detach(*x.reader, out_);
  }

  void client() {
    auto& x = users_[pick(users_.size())];
    if (x.sessions.empty()) return;
    auto& by = x.sessions[pick(x.sessions.size())];
    if (by.received.empty()) return;
    auto& got = by.received;
    auto one = got.begin();
    std::advance(one, static_cast<std::ptrdiff_t>(pick(got.size())));
    if (!calm_ && chance(0.15)) {
      by.nacked.insert(one->first);
      // From then on only an id acks it here, whatever comes.
      return it_->nack(*x.reader, {one->second->id}, {{}, milliseconds(pick(200))}, now_, out_);
    }
    const auto token = next_token_++;
    auto& means = x.acks[token];
    if (chance(0.5) || by.nacked.contains(one->first)) {
      means.insert(one->first);
      by.nacked.erase(one->first);
      x.acked.insert(one->first);
      const auto id = one->second->id;
      got.erase(one);
      return it_->ack(*x.reader, by.number, token, {}, {id, "nobodys"}, chance(0.5), now_, out_);
    }
    const auto upto = one->first;
    for (auto y = got.begin(); y != got.end() && y->first <= upto;) {
      if (by.nacked.contains(y->first)) {
        ++y;
        continue;
      }
      means.insert(y->first);
      x.acked.insert(y->first);
      y = got.erase(y);
    }
    // Acked by this session before: an up_to says it again.
    it_->ack(*x.reader, by.number, token, upto, {}, chance(0.5), now_, out_);
  }

  user& user_of(reader_id who) {
    for (auto& x : users_)
      if (x.reader == who) return x;
    throw violation("something for a reader that nobody is");
  }

  void carry_out() {
    for (const auto& x : out_.reads) reads_.push_back(x);
    for (const auto who : out_.load) loads_.push_back(who);
    if (out_.newest) newest_ = out_.newest;
    for (const auto& x : out_.joined) {
      auto& whose = user_of(x.who);
      if (!whose.owed_above) whose.owed_above = x.floor;
    }
    for (const auto& x : out_.pushes) {
      auto& whose = user_of(x.to);
      const auto& frame = out_.frames[x.frame];
      const auto seq = frame.what->seq;
      if (whose.receipted.contains(seq)) throw violation(whose.name + " was pushed what has a receipt");
      if (!frame.redelivered && whose.pushed.contains(seq)) throw violation(whose.name + " was pushed again, unflagged");
      if (!frame.redelivered && seq < whose.newest_unflagged) throw violation(whose.name + " was pushed out of order");
      if (!frame.redelivered) whose.newest_unflagged = seq;
      if (whose.owed_above && seq <= *whose.owed_above) throw violation(whose.name + " was pushed what it is not owed");
      whose.pushed.insert(seq);
      for (auto& session : whose.sessions)
        if (x.session == 0 || x.session == session.number) session.received[seq] = frame.what;
    }
    for (const auto& x : out_.answers) {
      auto& whose = user_of(x.who);
      const auto& means = whose.acks[x.token];
      const auto& durable = records_[std::string(reader_key(options_.of, whose.name).text())].acked;
      for (const auto seq : means) {
        // Above the floor only ids are named: of an up_to the client knows it once the floor says so.
        const auto id = std::find_if(log_.begin(), log_.end(), [&](const auto& m) { return m->seq == seq; })->get()->id;
        if (seq > x.up_to && std::find(x.ids.begin(), x.ids.end(), id) == x.ids.end()) continue;
        if (!durable.is_acked(seq)) throw violation(whose.name + " has a receipt for what is not durable");
        whose.receipted.insert(seq);
      }
    }
    for (const auto who : out_.gone)
      for (auto& x : users_)
        if (x.reader == who) x.reader.reset();
  }

  void check() {
    for (const auto& x : users_) {
      const auto found = records_.find(std::string(reader_key(options_.of, x.name).text()));
      if (found == records_.end() || !x.owed_above) continue;
      for (const auto& m : log_)
        if (m->seq > *x.owed_above && found->second.acked.is_acked(m->seq) && !x.acked.contains(m->seq))
          throw violation(x.name + ": " + std::to_string(m->seq.value) + " is settled and was not acked");
    }
  }

  bool owes(const user& x) const {
    if (!x.owed_above) return false;
    const auto found = records_.find(std::string(reader_key(options_.of, x.name).text()));
    return std::any_of(log_.begin(), log_.end(),
                       [&](const auto& m) { return m->seq > *x.owed_above && (found == records_.end() || !found->second.acked.is_acked(m->seq)); });
  }
  bool at_rest() const {
    return std::none_of(users_.begin(), users_.end(), [&](const user& x) { return owes(x); });
  }
  std::string unsettled() const {
    std::string out;
    for (const auto& x : users_)
      if (owes(x)) out += x.name + " ";
    return out;
  }

  std::mt19937_64 random_;
  audience_options options_;
  std::unique_ptr<audience> it_;
  audience_effects out_;
  steady_time now_{std::chrono::hours(1)};
  std::vector<message_ptr> log_;
  std::size_t stored_ = 0;
  std::map<std::string, cursor_record> records_;
  std::vector<audience_effects::fetch> reads_;
  std::vector<reader_id> loads_;
  std::optional<audience_effects::fetch> newest_;
  std::optional<audience::batch> saving_;
  std::vector<user> users_;
  std::uint32_t next_session_ = 1;
  std::uint64_t next_token_ = 1;
  bool calm_ = false;
};

TEST(audience_simulation, holds_its_promises_through_drops_crashes_and_a_failing_store) {
  std::uint64_t seed = 1, last = seeds;
  if (const auto* steps = std::getenv("DOORSTEP_SIMULATION_STEPS")) last = std::strtoull(steps, nullptr, 10) / steps_a_seed;
  if (const auto* given = std::getenv("DOORSTEP_SIMULATION_SEED")) seed = last = std::strtoull(given, nullptr, 10);
  for (; seed <= last; ++seed) {
    try {
      world(seed).run();
    } catch (const violation& why) {
      FAIL() << why.what() << " (DOORSTEP_SIMULATION_SEED=" << seed << ")";
    }
  }
}

}  // namespace
}  // namespace doorstep::test
