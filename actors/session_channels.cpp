// SPDX-License-Identifier: Apache-2.0
#include "actors/session_channels.hpp"

#include "runtime/segment_pattern.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds reattach_delay{50};

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
    if (one.by_token && std::find(wanted.begin(), wanted.end(), one.of) == wanted.end()) gone.push_back(one.of);
  for (const auto& of : gone) leave(of);
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
  x.asked = true;
  sequence resume;
  for (const auto& [of, seq] : state_.request.resume)
    if (of == x.of) resume = seq;
  const auto where = shard_of(x.of, static_cast<std::uint32_t>(state_.shards->size()));
  self_->send((*state_.shards)[static_cast<std::size_t>(where)],
              attach_reader{self_->ctrl(), x.of, state_.who.user, resume, state_.out, self_->where()});
}

void session_channels::attach_missing() {
  for (auto& one : state_.channels.all) attach(one);
}

void session_channels::leave(const address& of) {
  const auto* one = state_.channels.find(of);
  if (one == nullptr) return;
  if (one->channel) self_->send(caf::actor_cast<channel_actor>(one->channel), detach_reader{});
  const auto left = of;  // it may be the one that goes
  state_.out->leave_channel(left, one->by_token);
  std::erase_if(state_.channels.all, [&](const membership& x) { return x.of == left; });
  state_.out->note_channels(!state_.channels.all.empty());
  for (const auto request : state_.channels.drop_acks_of(left))
    reply_error(request, {ec::unavailable, "a channel was left meanwhile, ack again", "ack"});
}

void session_channels::leave_all() { tell_all(detach_reader{}); }

bool session_channels::may_subscribe(std::string_view topic) const {
  const auto& patterns = parts_.options.channels.topics;
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& x) {
    const auto made = segment_pattern::parse(x, '.');
    return made && made->matches(topic);
  });
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
  leave(x.to);
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
  ring(reattach_delay);
}

std::optional<failure> session_channels::refused(const reader_refused& x) {
  const auto* one = state_.channels.find(x.of);
  if (one == nullptr) return std::nullopt;
  if (one->by_token || one->announced) return x.why;
  const auto request = one->request;
  leave(x.of);
  reply_error(request, x.why);
  return std::nullopt;
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

void session_channels::mark(const client::mark& x, const address& of) {
  const auto* one = state_.channels.find(of);
  const auto is_of = [&](const auto& y) { return y.first == of; };
  if (one == nullptr || !std::all_of(x.up_to.begin(), x.up_to.end(), is_of) || !std::all_of(x.seqs.begin(), x.seqs.end(), is_of))
    return one == nullptr ? refuse_foreign(x.id, "up_to") : reply_error(x.id, {ec::malformed, "a mark names the messages of one address", "up_to"});
  if (!one->channel) return reply_error(x.id, {ec::unavailable, "a channel is being loaded, mark again", {}});
  inbox_change change{0, x.id, x.what, x.on, {}, {}};
  for (const auto& [who, seq] : x.up_to) change.up_to = std::min(seq, end_of_log(parts_, of, state_.shards->size()));
  for (const auto& [who, seqs] : x.seqs) change.seqs.insert(change.seqs.end(), seqs.begin(), seqs.end());
  self_->send(caf::actor_cast<channel_actor>(one->channel), change_inbox{std::move(change)});
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
