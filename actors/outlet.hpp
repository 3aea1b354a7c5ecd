// SPDX-License-Identifier: Apache-2.0
// The way out of one SESSION: what its socket is sent, in order. Lives on the session's lane. A MAILBOX of the same lane pushes here itself: a message to
// the SESSION only to have it call the socket was a sixth of a push's cost. One on another lane sends push_messages to the SESSION.
#pragma once

#include "actors/messages.hpp"
#include "net/connection.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace doorstep {

class outlet {
public:
  explicit outlet(std::shared_ptr<connection> socket) : socket_(std::move(socket)) {}

  /// Before open() it is kept: the client's first frame is `connected`.
  void push(const push_messages& x);
  /// A message of a channel; the same that others get.
  void push_shared(const shared_push_ptr& x);
  /// The client has been greeted.
  void open();
  /// Events of the SESSION itself.
  void send(std::vector<server::event> events);
  /// A receipt that was asked for by id goes at once; the others ride on what comes next. @returns true when some wait for that.
  bool add_receipts(const std::vector<server::receipt>& receipts);
  void send_waiting_receipts() { send({}); }
  void close(close_code code, std::string reason, milliseconds delay);
  /// The socket is gone: nothing is sent any more.
  void forget() {
    socket_.reset();
    detach();
  }

  /// Acks may go to the mailbox directly while no command of this client waits in the SESSION: they would overtake it.
  void attach(const address& user, caf::strong_actor_ptr box) {
    user_ = user;
    box_ = std::move(box);
  }
  void detach() { box_.reset(); }
  /// Ids of an ack may be a channel's: the SESSION has to look.
  void note_channels(bool any) { channels_ = any; }
  bool reads_channels() const { return channels_; }

  /// The client wants to know what is unread: one sum over the mailbox and the channels it reads.
  void want_counts() { counts_wanted_ = true; }
  /// What is unread in the mailbox, as it is greeted.
  void note_counts(const server::counts& of_mailbox) { of_mailbox_ = of_mailbox; }
  /// From a CHANNEL. Told once all channels have said theirs.
  void channel_counts(const address& of, const server::counts& what);
  /// The sum, to be told with the greeting; nothing while a channel has not counted yet.
  std::optional<server::counts> greeting_counts() { return told_ = sum(); }
  /// Tells the sum where it has changed.
  void tell_counts();
  /// Of a channel that the session has left: what is held back, and what is still on its way where `for_good`, is not sent any more.
  void leave_channel(const address& of, bool for_good);
  void join_channel(const address& of);
  void command_sent() { ++commands_waiting_; }
  void command_taken() { --commands_waiting_; }
  bool may_go_direct() const { return box_ && commands_waiting_ == 0; }
  const address& user() const { return user_; }
  const caf::strong_actor_ptr& box() const { return box_; }

  const void* socket() const { return socket_.get(); }  ///< only to be compared or asked for
  sequence seen() const { return seen_; }               ///< the highest seq pushed here or named by resume
  void note_seen(sequence seq) { seen_ = std::max(seen_, seq); }

private:
  std::shared_ptr<connection> socket_;
  sequence seen_;
  bool open_ = false, channels_ = false;
  bool counts_wanted_ = false;
  std::uint32_t commands_waiting_ = 0;
  caf::strong_actor_ptr box_;  ///< null until attached
  address user_;
  server::receipt later_;                     ///< receipts that ride on the next frame
  std::vector<push_messages> held_;           ///< before open(); a mailbox's window bounds it
  std::vector<shared_push_ptr> held_shared_;  ///< likewise, of channels: one a message
  std::vector<address> left_;                 ///< channels that a token gave and does not any more
  struct counted {
    address of;
    std::optional<server::counts> what;
  };
  std::optional<server::counts> sum() const;
  std::vector<counted> counted_;  ///< channels, where counts are wanted
  server::counts of_mailbox_;
  std::optional<server::counts> told_;  ///< the last sum
};

}  // namespace doorstep
