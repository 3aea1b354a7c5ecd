// SPDX-License-Identifier: Apache-2.0
#include "actors/session_channels.hpp"

#include "runtime/segment_pattern.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds reattach_delay{50};
/// Until a channel that fails again and again is asked for anew.
constexpr milliseconds refused_delay{5'000};

server::gap gap_of(const reader_gap& x) { return {x.of, x.from, x.to, "retention"}; }

}  // namespace

// --- coming and going ---------------------------------------------------------------------------------------------------------------------

void session_channels::look() {
  const auto kinds = parts_.routes->channels();
  if (!state_.user.empty() && (kinds.any() || !state_.channels.all.empty())) join(channels_of(state_.who, kinds));
}

void session_channels::join(const std::vector<address>& wanted) {
  std::vector<address> gone;
  for (const auto& one : state_.channels.all)
    if (one.by_token ? std::find(wanted.begin(), wanted.end(), one.of) == wanted.end() : !may_subscribe(one.of.id())) gone.push_back(one.of);
  for (const auto& of : gone) leave(of, true);
  if (!gone.empty() && state_.greeted) state_.out->send({server::left{0, gone}});
  for (const auto& of : wanted)
    if (state_.channels.find(of) == nullptr) add({of});
}

void session_channels::add(membership x) {
  state_.out->join_channel(x.of);
  state_.channels.all.push_back(std::move(x));
  state_.out->note_channels(true);
  attach(state_.channels.all.back());
}

void session_channels::attach(membership& x) {
  if (x.asked || x.channel) return;
  const auto now = self_->clock().now();
  if (x.refused_until && now < *x.refused_until) return ring(std::chrono::ceil<milliseconds>(*x.refused_until - now));
  if (x.refused_until) state_.out->join_channel(x.of);
  x.asked = true;
  sequence resume;
  for (const auto& [of, seq] : state_.request.resume)
    if (of == x.of) resume = seq;
  const auto where = shard_of(x.of, static_cast<std::uint32_t>(state_.shards->size()));
  self_->send((*state_.shards)[static_cast<std::size_t>(where)],
              attach_reader{self_->ctrl(), x.of, state_.who.user, resume, state_.out, self_->where(), state_.request.counts});
}

void session_channels::attach_missing() {
  for (auto& one : state_.channels.all) attach(one);
}

void session_channels::leave(const address& of, bool for_good) {
  const auto* one = state_.channels.find(of);
  if (one == nullptr) return;
  if (one->channel) self_->send(caf::actor_cast<channel_actor>(one->channel), detach_reader{});
  const auto left = of;  // it may be the one that goes
  if (one->request != 0) reply_error(one->request, {ec::forbidden, "this channel is not to be subscribed to any more", "subscribe.address"});
  state_.out->leave_channel(left, for_good);
  std::erase_if(state_.channels.all, [&](const membership& x) { return x.of == left; });
  state_.out->note_channels(!state_.channels.all.empty());
  for (const auto request : state_.channels.drop_acks_of(left))
    reply_error(request, {ec::unavailable, "a channel was left meanwhile, ack again", "ack"});
  drop_marks_of(left);
}

void session_channels::leave_all() { tell_all(detach_reader{}); }

bool session_channels::may_subscribe(std::string_view topic) const {
  const auto& patterns = parts_.options.channels.topics;
  const auto fits = [&](const std::string& x) {
    const auto made = segment_pattern::parse(x, '.');
    return made && made->matches(topic);
  };
  const auto& own = state_.who.topics;
  return std::any_of(patterns.begin(), patterns.end(), fits) || std::any_of(own.begin(), own.end(), fits);
}

void session_channels::subscribe(const client::subscribe& x) {
  if (const auto* known = state_.channels.find(x.to)) {
    if (!known->channel) return reply_error(x.id, {ec::unavailable, "this channel is being joined already", {}});
    state_.out->send({server::joined{x.id, {{x.to, known->floor}}}});
    return;
  }
  if (x.to.kind() != "topic" || !may_subscribe(x.to.id())) {
    parts_.counts.commands_forbidden.add();
    return reply_error(x.id, {ec::forbidden, "this channel is not to be subscribed to", "subscribe.address"});
  }
  if (state_.channels.subscribed() >= parts_.options.channels.session_topics_max)
    return reply_error(x.id, {ec::queue_full, "this session has subscribed to as many topics as it may (channels.session_topics_max)", {}});
  membership one{x.to};
  one.request = x.id;
  one.by_token = false;
  add(std::move(one));
}

void session_channels::unsubscribe(const client::unsubscribe& x) {
  const auto* known = state_.channels.find(x.to);
  if (known == nullptr || known->by_token) return refuse_foreign(x.id, "unsubscribe.address");
  leave(x.to, false);
  state_.out->send({server::left{x.id, {x.to}}});
}

void session_channels::greet(server::connected& hello, std::vector<server::event>& more) {
  for (auto& one : state_.channels.all) {
    if (!one.channel) continue;  // it was not waited for any longer: `joined` comes when it is there
    hello.addresses.emplace_back(one.of, one.floor);
    one.announced = true;
    for (const auto& x : std::exchange(one.gaps, {})) more.emplace_back(gap_of(x));
  }
}

// --- what channels say --------------------------------------------------------------------------------------------------------------------

void session_channels::attached(const reader_attached& x) {
  auto* one = state_.channels.find(x.of);
  if (one == nullptr) {  // left meanwhile
    self_->send(caf::actor_cast<channel_actor>(x.channel), detach_reader{});
    return;
  }
  one->channel = x.channel;
  one->floor = x.floor;
  one->asked = false;
  one->refused_until.reset();
  if (!state_.greeted) return;
  std::vector<server::event> events;
  if (!std::exchange(one->announced, true)) events.emplace_back(server::joined{std::exchange(one->request, 0), {{x.of, x.floor}}});
  for (const auto& gap : std::exchange(one->gaps, {})) events.emplace_back(gap_of(gap));
  state_.out->send(std::move(events));
}

void session_channels::gap(const reader_gap& x) {
  auto* one = state_.channels.find(x.of);
  if (one == nullptr) return;
  if (one->announced)
    state_.out->send({gap_of(x)});
  else
    one->gaps.push_back(x);
}

/// Made anew, it has to be asked again, as by a client that reconnects.
void session_channels::failed(const address& of) {
  auto* one = state_.channels.find(of);
  if (one == nullptr) return;
  one->channel = nullptr;
  one->asked = false;
  state_.channels.drop_acks();
  drop_marks_of(of);
  ring(reattach_delay);
}

std::optional<failure> session_channels::refused(const reader_refused& x) {
  auto* one = state_.channels.find(x.of);
  if (one == nullptr) return std::nullopt;
  if (x.why.code == ec::stopping) return x.why;
  if (one->by_token || one->announced) {
    refuse(*one, x.why);
    return std::nullopt;
  }
  const auto request = std::exchange(one->request, 0);
  leave(x.of, false);
  reply_error(request, x.why);
  return std::nullopt;
}

/// The others go on. The client is told that this one does not, and that it does when it is there again.
void session_channels::refuse(membership& x, const failure& why) {
  x.asked = false;
  x.refused_until = self_->clock().now() + refused_delay;
  state_.out->leave_channel(x.of, false);
  if (std::exchange(x.announced, false)) {
    auto told = why;
    told.field = std::string(x.of.text());
    state_.out->send({server::left{0, {x.of}}, server::error{0, std::move(told)}});
  }
  ring(refused_delay);
}

void session_channels::refuse_foreign(request_id id, const char* field) {
  parts_.counts.commands_forbidden.add();
  reply_error(id, {ec::forbidden, "not an address of this session", field});
}

// --- acks ---------------------------------------------------------------------------------------------------------------------------------

void session_channels::ack(const client::ack& x) {
  std::vector<std::pair<membership*, sequence>> to;
  sequence of_mailbox;
  bool mailbox_named = false;
  for (const auto& [of, seq] : x.up_to) {
    auto* one = of == state_.user ? nullptr : state_.channels.find(of);
    if (of != state_.user && one == nullptr) return refuse_foreign(x.id, "ack.up_to");
    if (one != nullptr) {
      to.emplace_back(one, seq);
    } else {
      of_mailbox = std::max(of_mailbox, seq);
      mailbox_named = true;
    }
  }
  if (!x.ids.empty())
    for (auto& one : state_.channels.all)
      if (std::none_of(to.begin(), to.end(), [&](const auto& y) { return y.first == &one; })) to.emplace_back(&one, sequence{});
  if (to.empty()) {
    self_->send(state_.box, ack_messages{x.id, of_mailbox, {}});
    return;
  }
  if (std::any_of(to.begin(), to.end(), [](const auto& y) { return !y.first->channel; }))
    return reply_error(x.id, {ec::unavailable, "a channel is being loaded, ack again", "ack"});
  auto* ack = state_.channels.begin_ack(x.id);
  if (ack == nullptr) return reply_error(x.id, {ec::queue_full, "too many acks wait to become durable", "ack"});
  ack->of_mailbox = of_mailbox;
  ack->mailbox_named = mailbox_named;
  ack->channels_left = to.size();
  ack->unclaimed = x.ids;
  for (const auto& [one, seq] : to) {
    if (seq) ack->named.push_back(one->of);
    ack->asked.push_back(one->of);
    self_->send(caf::actor_cast<channel_actor>(one->channel), ack_reader{ack->token, seq, x.ids, x.id != 0});
  }
}

void session_channels::mark(const client::mark& x) {
  const auto shards = state_.shards->size();
  std::vector<std::pair<address, inbox_change>> parts;
  const auto part = [&](const address& of) -> inbox_change& {
    for (auto& [known, change] : parts)
      if (known == of) return change;
    return parts.emplace_back(of, inbox_change{0, 0, x.what, x.on, {}, {}}).second;
  };
  if (x.all) {
    part(state_.user).up_to = end_of_log(parts_, state_.user, shards);
    for (const auto& one : state_.channels.all)
      if (!one.refused_until) part(one.of).up_to = end_of_log(parts_, one.of, shards);
  }
  for (const auto& [of, seq] : x.up_to) part(of).up_to = std::max(part(of).up_to, std::min(seq, end_of_log(parts_, of, shards)));
  for (const auto& [of, seqs] : x.seqs) part(of).seqs.insert(part(of).seqs.end(), seqs.begin(), seqs.end());
  if (parts.empty()) part(state_.user);
  std::vector<address> of_channels;
  for (const auto& [of, change] : parts) {
    if (of == state_.user) continue;
    const auto* one = state_.channels.find(of);
    if (one == nullptr) return refuse_foreign(x.id, x.up_to.empty() ? "seqs" : "up_to");
    if (!one->channel) return reply_error(x.id, {ec::unavailable, "a channel is being loaded, mark again", {}});
    of_channels.push_back(of);
  }
  request_id request = x.id;
  if (parts.size() > 1 && request != 0) {
    const auto* whole = state_.channels.begin_mark(request, parts.size(), std::move(of_channels));
    if (whole == nullptr) return reply_error(x.id, {ec::queue_full, "too many marks wait to become durable", {}});
    request = memberships::joint | whole->token;
  }
  for (auto& [of, change] : parts) {
    change.request = request;
    if (of == state_.user)
      self_->send(state_.inbox ? state_.inbox : state_.box, change_inbox{std::move(change)});
    else
      self_->send(caf::actor_cast<channel_actor>(state_.channels.find(of)->channel), change_inbox{std::move(change)});
  }
}

bool session_channels::mark_answered(request_id request, const std::optional<failure>& why) {
  if ((request & memberships::joint) == 0) return false;
  const auto whole = state_.channels.mark_answered(request & ~memberships::joint, why);
  if (!whole) return true;
  if (whole->why)
    reply_error(whole->request, *whole->why);
  else
    state_.out->send({server::done{whole->request}});
  return true;
}

void session_channels::drop_marks_of(const address& of) {
  for (const auto request : state_.channels.drop_marks_of(of))
    reply_error(request, {ec::unavailable, "a part of this mark was not confirmed, mark again", {}});
}

void session_channels::mailbox_gone() {
  state_.channels.drop_acks();
  drop_marks_of({});
}

sequence end_of_log(const services& parts, const address& of, std::size_t shards) {
  const auto end = parts.log.end_offset(shard_of(of, static_cast<std::uint32_t>(shards)));
  return end == 0 ? sequence{} : sequence::at(parts.log.generation(), end - 1);
}

void session_channels::answered(const reader_acked& x) {
  auto* ack = state_.channels.answered(x);
  if (ack == nullptr) return;
  if (!ack->mailbox_named && ack->unclaimed.empty()) return complete(*ack);
  const bool waited_for = ack->request != 0;
  self_->send(state_.box, ack_messages{waited_for ? memberships::joint | ack->token : 0, ack->of_mailbox, std::exchange(ack->unclaimed, {})});
  if (!waited_for) complete(*ack);
}

void session_channels::fold(server::receipt& x) {
  if ((x.id & memberships::joint) == 0) return;
  const auto token = x.id & ~memberships::joint;
  x.id = 0;
  auto* ack = state_.channels.find_ack(token);
  if (ack == nullptr) return;
  auto whole = std::move(ack->collected);
  whole.up_to.insert(whole.up_to.end(), x.up_to.begin(), x.up_to.end());
  whole.ids.insert(whole.ids.end(), x.ids.begin(), x.ids.end());
  x = std::move(whole);
  state_.channels.end_ack(token);
}

void session_channels::complete(const joint_ack& ack) {
  const auto receipt = ack.collected;
  state_.channels.end_ack(ack.token);
  if (receipt.up_to.empty() && receipt.ids.empty() && receipt.id == 0) return;
  if (state_.out->add_receipts({receipt})) ring(parts_.options.delivery.receipt_delay);
}

void session_channels::ring(milliseconds delay) {
  if (!std::exchange(state_.rings, true)) self_->ring_at(self_->clock().now() + delay);
}

}  // namespace doorstep
