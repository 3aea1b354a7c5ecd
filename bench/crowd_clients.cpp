// SPDX-License-Identifier: Apache-2.0
#include "bench/crowd_clients.hpp"

#include "bench/process_stat.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace bench {

namespace {

constexpr std::string_view names[] = {"", "\"role:crowd\":", "\"all\":"};

std::string name_in_json(std::size_t user, std::size_t kind) {
  return kind == crowd_ledger::mailbox ? "\"" + crowd_ledger::address_of(user, kind) + "\":" : std::string(names[kind]);
}

/// What follows `begin` up to the next quotation mark.
std::string_view text_after(std::string_view line, std::string_view begin) {
  const auto at = line.find(begin);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + begin.size());
  return line.substr(0, line.find('"'));
}

}  // namespace

crowd_clients::crowd_clients(client_options options, crowd_options crowd, crowd_ledger& book, histogram& latency)
    : client_pool(std::move(options), nobody_, latency), crowd_(crowd), crowd_book_(book), random_(crowd.seed), phones_(options_.users) {}

crowd_clients::~crowd_clients() {
  for (const auto& [at, fd] : silent_) ::close(fd);
}

std::string crowd_clients::token_of(std::size_t index) const {
  const std::string_view more = crowd_ledger::has_role(index) ? R"(,"roles":["crowd"])" : "";
  return make_token(options_.secret, "b" + std::to_string(index), expires_at_, more);
}

std::string crowd_clients::members_of_connect(std::size_t index) const {
  std::string resume;
  for (std::size_t kind = 0; kind < crowd_ledger::kinds; ++kind)
    if (const auto seq = crowd_book_.highest(index, kind); seq != 0)
      resume += (resume.empty() ? "" : ",") + name_in_json(index, kind) + std::to_string(seq);
  return resume.empty() ? "" : "\"resume\":{" + resume + "}";
}

void crowd_clients::greeted(std::size_t index, std::string_view line) {
  const auto at = line.find("\"addresses\":{");
  const std::string_view addresses = line.substr(at, line.find('}', at) - at);
  for (std::size_t kind = 0; kind < crowd_ledger::kinds; ++kind) {
    const std::string name = name_in_json(index, kind);
    const bool is_read = addresses.find(name) != std::string_view::npos;
    if (is_read != (kind != crowd_ledger::role || crowd_ledger::has_role(index))) ++crowd_book_.unexpected;
    if (!is_read) continue;
    crowd_book_.greeted(index, kind, number_after(addresses, name));
    note_receipt(index, kind, number_after(addresses, name));
  }
  repeat_acks(index);
  phones_[index].live_since = now_ns();
  if (roams_) plan_in(index, std::exponential_distribution<double>(1 / crowd_.mean_drop_seconds)(random_));
}

void crowd_clients::message(std::size_t index, std::string_view line) {
  if (number_after(line, "{\"run\":") != options_.run) {
    ++counts_.foreign;
    return;
  }
  const std::string_view address = text_after(line, "\"address\":\"");
  const std::uint64_t seq = number_after(line, "\"seq\":");
  const auto intended_ns = static_cast<std::int64_t>(number_after(line, ",\"t\":"));
  if (const auto kind = crowd_ledger::kind_of(index, address)) note_ack(index, *kind, seq, text_after(line, "\"id\":\""));
  const auto number = static_cast<std::uint32_t>(number_after(line, ",\"n\":"));
  const bool is_first = crowd_book_.delivered(index, address, number, seq, line.find("\"redelivered\":true") != std::string_view::npos);
  // How long it took is asked of those only who were there when it was sent.
  if (is_first && intended_ns >= from_ns_ && intended_ns < to_ns_ && phones_[index].live_since <= intended_ns)
    latency_.add((received_ns_ - intended_ns) / 1000);
}

void crowd_clients::receipt(std::size_t index, std::string_view line) {
  for (std::size_t kind = 0; kind < crowd_ledger::kinds; ++kind)
    if (const auto seq = number_after(line, name_in_json(index, kind)); seq != 0) {
      crowd_book_.receipted(index, kind, seq);
      note_receipt(index, kind, seq);
    }
  note_ids(index, line);
}

void crowd_clients::note_ack(std::size_t index, std::size_t kind, std::uint64_t seq, std::string_view id) {
  phone& me = phones_[index];
  me.to_ack[kind] = std::max(me.to_ack[kind], seq);
  auto& acked = me.without_receipt[kind];
  if (!me.is_deaf && (acked.empty() || acked.back().first < seq)) acked.emplace_back(seq, id);
  if (!me.is_deaf) me.acked_up_to[kind] = std::max(me.acked_up_to[kind], seq);
}

void crowd_clients::note_receipt(std::size_t index, std::size_t kind, std::uint64_t up_to) {
  auto& acked = phones_[index].without_receipt[kind];
  while (!acked.empty() && acked.front().first <= up_to) acked.pop_front();
}

/// A receipt may also name the messages alone, without the floor.
void crowd_clients::note_ids(std::size_t index, std::string_view line) {
  const auto at = line.find("\"ids\":[");
  if (at == std::string_view::npos) return;
  const std::string_view ids = line.substr(at, line.find(']', at) - at);
  for (std::size_t kind = 0; kind < crowd_ledger::kinds; ++kind) {
    auto& acked = phones_[index].without_receipt[kind];
    if (acked.empty()) continue;
    std::erase_if(acked, [&](const auto& x) { return ids.find(x.second) != std::string_view::npos; });
    if (acked.empty() && phones_[index].to_ack[kind] == 0) crowd_book_.receipted(index, kind, phones_[index].acked_up_to[kind]);
  }
}

/// What was acked on an earlier connection and has no receipt: the protocol has it said again, by ids.
void crowd_clients::repeat_acks(std::size_t index) {
  std::string ids;
  for (const auto& acked : phones_[index].without_receipt)
    for (const auto& [seq, id] : acked) ids += (ids.empty() ? "\"" : ",\"") + id + "\"";
  if (!ids.empty()) say(opcode::text, "{\"id\":2,\"ack\":{\"ids\":[" + ids + "]}}");
}

std::string crowd_clients::ack_of(std::size_t index) {
  if (phones_[index].is_deaf) return {};
  std::string out;
  for (std::size_t kind = 0; kind < crowd_ledger::kinds; ++kind)
    if (const auto seq = std::exchange(phones_[index].to_ack[kind], 0); seq != 0)
      out += (out.empty() ? "" : ",") + name_in_json(index, kind) + std::to_string(seq);
  return out.empty() ? "" : "{\"ack\":{\"up_to\":{" + out + "}}}";
}

void crowd_clients::forget_connection(std::size_t index) {
  phones_[index].to_ack = {};
  phones_[index].is_deaf = false;
  ++phones_[index].life;
}

void crowd_clients::lost_connection(std::size_t index) {
  ++lost_by_server;
  forget_connection(index);
  plan_in(index, pause());
}

double crowd_clients::pause() { return crowd_.pause_min_seconds + random_share() * (crowd_.pause_max_seconds - crowd_.pause_min_seconds); }

void crowd_clients::plan_in(std::size_t index, double seconds) {
  plans_.push({now_ns() + static_cast<std::int64_t>(seconds * 1e9), index, phones_[index].life});
}

void crowd_clients::go(std::size_t index, farewell how) {
  forget_connection(index);
  if (const int fd = leave(index, how); fd >= 0) silent_.emplace_back(now_ns() + static_cast<std::int64_t>(crowd_.silence_seconds * 1e9), fd);
}

void crowd_clients::carry_out(const plan& x) {
  if (x.life != phones_[x.index].life) return;
  if (!is_live(x.index)) {
    ++returns;
    open(x.index);
    return;
  }
  if (!phones_[x.index].is_deaf) {
    if (!roams_) return;
    phones_[x.index].is_deaf = true;
    return plan_in(x.index, random_share() * crowd_.deaf_max_seconds);
  }
  const double how = random_share();
  const bool says_goodbye = how < crowd_.goodbyes, is_cut = !says_goodbye && how < crowd_.goodbyes + crowd_.cuts;
  ++(says_goodbye ? goodbyes : is_cut ? cuts : silences);
  go(x.index, says_goodbye ? farewell::close_frame : is_cut ? farewell::cut : farewell::none);
  plan_in(x.index, pause());
}

void crowd_clients::live(std::int64_t nanoseconds) {
  const std::int64_t end = now_ns() + nanoseconds;
  for (std::int64_t now = now_ns(); now < end; now = now_ns()) {
    while (!plans_.empty() && plans_.top().at_ns <= now) {
      const plan next = plans_.top();
      plans_.pop();
      carry_out(next);
    }
    for (; !silent_.empty() && silent_.front().first <= now; silent_.pop_front()) ::close(silent_.front().second);
    const std::int64_t until = plans_.empty() ? end : std::min(end, plans_.top().at_ns);
    turn(static_cast<int>(std::clamp<std::int64_t>((until - now + 999'999) / 1'000'000, 0, 100)));
  }
}

void crowd_clients::roam() {
  roams_ = true;
  for (std::size_t i = 0; i < phones_.size(); ++i)
    if (is_live(i)) plan_in(i, std::exponential_distribution<double>(1 / crowd_.mean_drop_seconds)(random_));
}

void crowd_clients::settle() { roams_ = false; }

void crowd_clients::call_the_roll() {
  const double seconds = static_cast<double>(options_.users) / static_cast<double>(options_.connects_per_second);
  for (std::size_t i = 0; i < phones_.size(); ++i) {
    go(i, farewell::close_frame);
    plan_in(i, random_share() * seconds);
  }
}

}  // namespace bench
