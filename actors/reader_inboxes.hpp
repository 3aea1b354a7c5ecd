// SPDX-License-Identifier: Apache-2.0
// What people did with messages of a CHANNEL: read, seen, archived. A reader's inbox is in memory only from a change until that is durable, so that a reader
// stays a cursor. The decisions are runtime/inbox. A value of the CHANNEL, on its lane.
#pragma once

#include "actors/interfaces.hpp"
#include "runtime/inbox.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace doorstep {

class reader_inboxes {
public:
  static constexpr std::size_t open_max = 1024;      ///< in memory at a time; changes of further ones are refused
  static constexpr std::size_t losses_max = 16'384;  ///< that wait; further ones are not marked
  static constexpr std::size_t looks_max = 256;      ///< for a look alone

  struct reply {
    caf::strong_actor_ptr to;
    std::pair<request_id, std::optional<failure>> answer;
  };

  explicit reader_inboxes(address of) : of_(std::move(of)) {}

  /// @returns why it was not taken.
  std::optional<failure> change(const std::string& user, caf::strong_actor_ptr by, inbox_change x, unix_ms now);
  /// Asks the store what is to be asked by now.
  void ask(message_store& store, const channel_actor& who, steady_time now);
  void loaded(const reader_inbox_read& x, steady_time now);
  void places(const reader_places_read& x, steady_time now);

  /// What this user has marked is wanted, now and after each change that is durable: see take_looked().
  void look(const std::string& user);
  struct looked {
    std::string user;
    inbox_record marks;
  };
  std::vector<looked> take_looked() { return std::exchange(looked_, {}); }

  /// A dead letter of this user: marked as such once there is room to. What is marked later than a crash stays unmarked.
  void lost(const std::string& user, sequence seq);

  bool is_dirty() const;
  std::vector<inbox_record> begin_save();
  void saved(bool durable);
  /// Replies that are due; what is done with is forgotten.
  std::vector<reply> take_replies();

  bool is_idle() const { return open_.empty() && looks_.empty() && losses_.empty(); }
  std::optional<steady_time> next_due() const { return open_.empty() || not_before_ == steady_time{} ? std::nullopt : std::optional(not_before_); }

private:
  struct entry {
    std::optional<inbox> box;               ///< none until the store has said what it has
    std::vector<inbox_change> early;        ///< before that
    std::vector<sequence> lost;             ///< likewise
    std::vector<caf::strong_actor_ptr> by;  ///< by slot of the changes
    std::uint64_t version = 0;
    bool asking = false, saving = false, look = false;
    std::vector<inbox::reply> due;
  };
  void take_losses();
  unsigned slot_of(entry& x, const caf::strong_actor_ptr& by);

  address of_;
  std::unordered_map<std::string, entry> open_;
  std::deque<std::string> looks_;                        ///< that wait until there is room
  std::deque<std::pair<std::string, sequence>> losses_;  ///< likewise
  std::vector<looked> looked_;
  steady_time not_before_{};  ///< after a store that did not answer
};

}  // namespace doorstep
