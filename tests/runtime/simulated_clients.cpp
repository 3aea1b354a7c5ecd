// SPDX-License-Identifier: Apache-2.0
// Connections that deliver in order or break, and clients that drop, resume, repeat acks, ack cumulatively or by id, nack, stall, and read.
#include "tests/runtime/simulated_world.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace doorstep::test {

// --- connections and clients ---

void simulated_world::to_server(std::uint64_t id, std::function<void(simulated_connection&)> what) {
  auto& x = connections_[id];
  x.to_server = std::max(x.to_server, now() + milliseconds{pick(30)});
  at(x.to_server, [this, id, what = std::move(what)] {
    auto& y = connections_[id];
    if (!y.served) return;
    out_.clear();
    what(y);
    if (box_) carry_out();
  });
}

void simulated_world::to_client(std::uint64_t id, std::function<void(simulated_connection&)> what) {
  auto& x = connections_[id];
  x.to_client = std::max(x.to_client, now() + milliseconds{pick(30)});
  at(x.to_client, [this, id, what = std::move(what)] {
    if (connections_[id].up) what(connections_[id]);
  });
}

void simulated_world::client_lives(std::size_t i) {
  auto& me = clients_[i];
  after(20 + static_cast<int>(pick(400)), [this, i] { client_lives(i); });
  if (me.connected == 0) {
    if (!down_ && (calm_ || chance(0.5))) connect(i);
    return;
  }
  auto& x = connections_[me.connected];
  if (!x.served || fails(hazards_.drops)) {
    x.up = false;
    const auto id = std::exchange(me.connected, 0);
    after(static_cast<int>(pick(500)), [this, id] {
      if (connections_[id].served) leave(id);
    });
  } else if (fails(0.05)) {
    me.stalls_until = now() + milliseconds{3'000};
  } else if (chance(0.1)) {
    to_server(me.connected, [this, upto = me.seen](simulated_connection&) { read(upto); });
  }
}

void simulated_world::connect(std::size_t i) {
  auto& me = clients_[i];
  wake();
  out_.clear();
  const auto slot = box_->attach({me.resumes ? me.seen : 0}, now(), out_);
  if (!slot) return;
  const auto id = ++connection_count_;
  me.connected = id;
  connections_[id].client = i;
  connections_[id].slot = *slot;
  by_slot_[*slot] = id;
  // The moments around the first push are where a horizon can be wrong.
  if (hazards_.crashes && fails(0.25))
    after_in_this_life(static_cast<int>(pick(60)), [this] {
      if (!calm_) crash(chance(0.5));
    });
  if (!me.unreceipted.empty()) send_ack(id, 0, {me.unreceipted.begin(), me.unreceipted.end()}, {});
  carry_out();
}

void simulated_world::leave(std::uint64_t id) {
  connections_[id].served = false;
  box_->detach(connections_[id].slot, now());
  out_.clear();
  carry_out();
}

void simulated_world::push(const outbox_effects::push& x) {
  const auto seq = x.what->seq.value;
  const auto id = by_slot_[x.slot];
  if (!connections_[id].served) throw violation("a push to a slot that nobody has");
  pushes_->pushed(x, *store_, options_.clock.time_at(now()));
  to_client(id, [this, seq, id](simulated_connection& c) { receive(id, c, seq); });
}

void simulated_world::receive(std::uint64_t id, simulated_connection& c, std::uint64_t seq) {
  auto& me = clients_[c.client];
  me.seen = std::max(me.seen, seq);
  // What comes below something that came before is acked by id, as what was nacked.
  if (!c.received.contains(seq) && !c.received.empty() && seq < c.received.rbegin()->first) c.nacked.insert(seq);
  auto& handled = c.received[seq];
  // What it has acked before it acks again, or the gap would stay: the server does not send it once more.
  const bool again = me.unreceipted.contains(seq);
  if (!handled && !again && fails(hazards_.nacks)) {
    c.nacked.insert(seq);
    to_server(id, [this, seq](simulated_connection& y) { box_->nack({"m" + std::to_string(seq)}, now(), out_, y.slot); });
    return;
  }
  if (!handled && !again && fails(hazards_.ignores)) return;
  handled = true;
  handled_.insert(seq);
  if (me.acks_by_id || c.nacked.contains(seq)) c.ids_to_ack.insert(seq);
  if (!std::exchange(c.ack_planned, true)) plan_ack(id);
}

void simulated_world::plan_ack(std::uint64_t id) {
  auto& me = clients_[connections_[id].client];
  const auto when = std::max(now() + milliseconds{pick(200)}, calm_ ? now() : me.stalls_until);
  at(when, [this, id] {
    if (connections_[id].up) flush_acks(id);
  });
}

void simulated_world::flush_acks(std::uint64_t id) {
  auto& c = connections_[id];
  c.ack_planned = false;
  const auto due = acks_due(c, clients_[c.client], hazards_.gives_up);
  if (!due.covers.empty()) send_ack(id, due.up_to, due.ids, due.covers);
}

void simulated_world::send_ack(std::uint64_t id, std::uint64_t up_to, std::vector<std::uint64_t> seqs, std::vector<std::uint64_t> covers) {
  auto& me = clients_[connections_[id].client];
  const auto request = ++me.request;
  std::vector<std::string> ids;
  for (auto seq : seqs) ids.push_back("m" + std::to_string(seq));
  covers.insert(covers.end(), seqs.begin(), seqs.end());
  me.unreceipted.insert(covers.begin(), covers.end());
  connections_[id].asked[request] = std::move(covers);
  to_server(id, [this, request, up_to, ids](simulated_connection& c) { box_->ack(c.slot, request, {up_to}, ids, now(), out_); });
}

void simulated_world::receipt(const outbox_effects::receipt& x) {
  if (x.request == 0) return store_->check_told(x.ids);
  const auto id = by_slot_[x.slot];
  auto& c = connections_[id];
  const auto asked = c.asked.find(x.request);
  if (!c.served || asked == c.asked.end()) throw violation("a receipt to somebody who asked for none");
  for (auto seq : asked->second)
    if (!record().acked.is_acked({seq})) throw violation("I4: a receipt before the store has the ack: m" + std::to_string(seq));
  if (x.up_to > record().acked.floor()) throw violation("I4: a receipt above the floor in the store");
  to_client(id, [this, covers = asked->second](simulated_connection& y) {
    for (auto seq : covers) clients_[y.client].unreceipted.erase(seq);
  });
}

void simulated_world::read(std::uint64_t upto) {
  if (calm_ || !box_->is_loaded()) return;
  read_upto_ = std::max(read_upto_, {upto});
  count();
}

void simulated_world::count() {
  box_->recount(read_upto_);
  count_again_ = counting_;
  if (!counting_) ask_for_count();
}

void simulated_world::ask_for_count() {
  counting_ = true;
  after_in_this_life(static_cast<int>(pick(100)), [this] {
    stored_mailbox found;
    found.unread = found.unseen = unread_in_store(read_upto_);
    found.page.complete_to = {complete_to()};
    after_in_this_life(static_cast<int>(pick(100)), [this, found] {
      counting_ = false;
      out_.clear();
      if (std::exchange(count_again_, false) || !box_->recounted(found, out_)) return ask_for_count();
      carry_out();
    });
  });
}

}  // namespace doorstep::test
