// SPDX-License-Identifier: Apache-2.0
// What a MAILBOX does for the inbox of its user: questions to the store, counts, replies. Made when the inbox is first needed, so that a mailbox that only delivers
// carries none of it. The decisions are runtime/inbox. On the mailbox's lane.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"
#include "runtime/inbox.hpp"
#include "runtime/outbox.hpp"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace doorstep {

class inbox_desk {
public:
  /// @param unsaved the store does not have the record as it is here
  inbox_desk(const services& parts, inbox_record start, bool unsaved) : parts_(parts), box_(std::move(start), unsaved) {}

  /// @returns why it was not taken.
  std::optional<failure> change(inbox_change x) {
    if (box_.change(std::move(x), wall_now())) return std::nullopt;
    return failure{ec::queue_full, "too many changes of this inbox wait for the store", {}};
  }
  void places(const result<stored_places>& x, steady_time now);
  /// The store's count, or why there is none.
  void counted(const result<stored_mailbox>& x, outbox& owed, outbox_effects& out, steady_time now);
  /// What one of the devices acked, or had pass away.
  void note(const note_in_inbox& x);
  void forget(unsigned slot) { box_.forget(slot); }

  /// Something is to be written with the next record.
  bool is_dirty() const { return box_.is_dirty(); }
  bool is_idle() const { return box_.is_idle(); }
  /// What goes with a record of that version and floor; null: nothing has changed. @param leaving the dead letters of the same batch
  /// @param replaced what newer ones took the place of
  /// @param note_floor write the time of the floor down even where nothing else has changed
  std::shared_ptr<const inbox_record> begin_save(const cursor_record& record, std::span<const given_up> leaving, std::span<const sequence> replaced,
                                                 bool note_floor);
  /// @returns the replies that are due.
  std::vector<inbox::reply> saved(bool durable, outbox& owed);
  std::vector<inbox::reply> take_replies() { return box_.take_replies(); }

  /// The store has to count: marks have changed, or a message came that was marked before it was heard of.
  void count(outbox& owed);
  /// Asks the store what is to be asked by now.
  void ask(const address& user, const mailbox_actor& who, steady_time now);
  std::optional<steady_time> next_due() const;

private:
  const services& parts_;
  inbox box_;
  bool count_wanted_ = false, counting_ = false;
  steady_time places_not_before_{}, count_not_before_{};
};

}  // namespace doorstep
