// SPDX-License-Identifier: Apache-2.0
// What a SESSION says to its channels and hears from them. Made for one message, as a SESSION's own turn; on its lane.
#pragma once

#include "actors/memberships.hpp"
#include "actors/session.hpp"

#include <optional>
#include <vector>

namespace doorstep {

class session_channels {
public:
  session_channels(session_self* self, const services& parts) : self_(self), state_(self->state), parts_(parts) {}

  /// Those that the token gives, as the rules are now, are read from here on; what it gave before and does not any more is left.
  void look();
  void attach_missing();
  void leave_all();
  /// The mailbox has failed: what it was to say will not come.
  void mailbox_gone();
  void subscribe(const client::subscribe& x);
  void unsubscribe(const client::unsubscribe& x);

  void attached(const reader_attached& x);
  void gap(const reader_gap& x);
  void failed(const address& of);
  /// @returns why the client cannot be served.
  std::optional<failure> refused(const reader_refused& x);

  /// An ack that may concern channels: each is asked what of it is its own, what is nobody's goes to the mailbox.
  void ack(const client::ack& x);
  void answered(const reader_acked& x);
  /// A receipt of the mailbox that is part of a joint one becomes the whole of it.
  void fold(server::receipt& x);

  /// What the person did: each owner is told its part, and the client gets one answer.
  void mark(const client::mark& x);
  /// An answer to a part of a mark. @returns false where it was not one.
  bool mark_answered(request_id request, const std::optional<failure>& why);

  void tell(const nack_messages& x) { tell_all(x); }
  void tell(const extend_deadlines& x) { tell_all(x); }
  void refuse_foreign(request_id id, const char* field);
  /// What the client is told of its channels when it is greeted.
  void greet(server::connected& hello, std::vector<server::event>& more);

private:
  void join(const std::vector<address>& wanted);
  void add(membership x);
  void attach(membership& x);
  /// @param for_good nothing that is still on its way is sent any more
  void leave(const address& of, bool for_good);
  bool may_subscribe(std::string_view topic) const;
  void drop_marks_of(const address& of);
  void refuse(membership& x, const failure& why);
  void complete(const joint_ack& ack);
  void reply_error(request_id id, failure what) { state_.out->send({server::error{id, std::move(what)}}); }
  void ring(milliseconds delay);
  template <class Message>
  void tell_all(const Message& x) {
    for (const auto& one : state_.channels.all)
      if (one.channel) self_->send(caf::actor_cast<channel_actor>(one.channel), x);
  }

  session_self* self_;
  session_state& state_;
  const services& parts_;
};

/// The highest seq that the log has given in the shard of an address.
sequence end_of_log(const services& parts, const address& of, std::size_t shards);

}  // namespace doorstep
