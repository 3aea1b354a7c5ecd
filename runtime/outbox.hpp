// SPDX-License-Identifier: Apache-2.0
// What is owed to one user: window, retries, cursor, push horizon, receipts. The pure core of a MAILBOX actor: every call takes what happened (and `now`)
// and fills in what is to be done. No thread, no clock, no I/O. The rules are in docs/decisions/0004-outbox.md, numbered as the comments here name them.
#pragma once

#include "runtime/backoff.hpp"
#include "runtime/cursor.hpp"
#include "runtime/message.hpp"
#include "runtime/stored.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

struct outbox_options {
  std::size_t window = 32;         ///< unacked messages pushed at a time
  milliseconds ack_timeout{30'000};
  backoff retry;
  std::size_t backlog_max = 256;   ///< messages kept in memory beyond the window
  std::size_t holes_max = 1024;    ///< acked messages above the floor; at the limit nothing new is pushed until the oldest unacked one is acked
};

/// What the actor has to do after a call. Reused between calls: clear() first.
struct outbox_effects {
  struct push { unsigned slot; message_ptr what; std::uint32_t attempt; bool redelivered; };
  /// The acks of one request are durable.
  struct receipt { unsigned slot; std::uint64_t request; sequence up_to; std::vector<std::string> ids; };
  struct fetch { sequence after; std::size_t limit; };
  std::vector<push> pushes;             ///< grouped by message, in seq order
  std::vector<receipt> receipts;
  std::optional<fetch> read;            ///< ask the store; answer with page()
  bool counts_changed = false;
  std::size_t acked = 0, repeated = 0, redelivered = 0, timed_out = 0;  ///< for the metrics
  std::vector<std::pair<steady_time, unix_ms>> acked_times;             ///< pushed at / appended at, of messages acked the first time
  void clear();
};

class outbox {
public:
  static constexpr milliseconds read_retry{200};
  static constexpr unsigned slots_max = 64;  ///< sessions of one user on one mailbox; the next one is refused

  /// @param random uniform 64-bit numbers, for the jitter.
  outbox(outbox_options options, std::function<std::uint64_t()> random);

  /// What the store had. @param open_horizon where the log stood when this mailbox's earlier life may still have pushed: replaces an open horizon.
  void load(const stored_mailbox& start, sequence open_horizon, steady_time now, outbox_effects& out);
  bool is_loaded() const { return loaded_; }

  /// Live messages from the shard, seqs rising. Before load() they are only noted.
  void deliver(const std::vector<message_ptr>& messages, steady_time now, outbox_effects& out);
  /// The answer to effects.read.
  void page(const stored_page& x, steady_time now, outbox_effects& out);
  /// The read failed: asked again after read_retry, by tick().
  void page_failed(steady_time now);

  /// A session is there. @param resume the highest seq its client saw. @returns its slot, or nothing when all are taken.
  std::optional<unsigned> attach(sequence resume, steady_time now, outbox_effects& out);
  void detach(unsigned slot, steady_time now);
  std::size_t sessions() const { return attached_; }

  /// Cumulative and by id; both may be given. Receipts come once the record that holds them is saved.
  void ack(unsigned slot, std::uint64_t request, sequence up_to, std::vector<std::string> ids, steady_time now, outbox_effects& out);
  /// Counted as an attempt; sent again after the retry delay. Unknown ids are ignored.
  void nack(const std::vector<std::string>& ids, steady_time now, outbox_effects& out);
  /// The person has read everything up to here. @returns true when the store has to count what is left (see recounted()).
  bool read(sequence up_to, outbox_effects& out);
  void recounted(std::uint64_t unread, outbox_effects& out);

  /// Ack timeouts and retries that are due.
  void tick(steady_time now, outbox_effects& out);
  /// When tick() has something to do next.
  std::optional<steady_time> next_due() const;

  /// At most one save is under way. wants_save() says whether to begin one; save_is_urgent() whether a push or a client waits for it.
  bool wants_save() const { return dirty_ && !saving_; }
  bool save_is_urgent() const { return urgent_; }
  cursor_record begin_save(const address& user);
  void saved(steady_time now, outbox_effects& out);
  void save_failed();

  /// Writes the horizon down as closed: nothing beyond it was pushed. For passivation and drain; the next attach opens it again.
  void close_horizon();
  bool horizon_is_closed() const { return !horizon_.open; }
  /// Nothing is under way: no session, no save, no read, nothing to write.
  bool is_idle() const { return loaded_ && attached_ == 0 && !dirty_ && !saving_ && !reading_; }

  std::uint64_t unread() const { return unread_; }
  sequence floor() const { return cursor_.floor(); }
  const cursor& acked() const { return cursor_; }

  /// For GET /v1/mailboxes: one unacked pushed message.
  struct in_flight_view { message_ptr what; std::uint32_t attempt; std::optional<steady_time> next_retry; };
  std::vector<in_flight_view> in_flight() const;
  std::size_t in_flight_count() const { return flight_.size(); }
  std::size_t queued_count() const { return queue_.size(); }
  bool is_behind() const { return behind_; }

private:
  struct entry {
    message_ptr what;
    std::uint32_t attempt = 0;     ///< delivery rounds so far
    bool maybe_pushed = false;     ///< it may have been pushed before: flagged
    bool waits_for_retry = false;  ///< `due` is the retry; otherwise the ack deadline
    steady_time due{}, pushed_at{};
    std::uint64_t sent_to = 0;     ///< slots whose cumulative ack covers it
  };
  struct slot_state { bool used = false; sequence resume; bool waits = false; };  // waits: attached while nothing may be pushed
  struct pending_receipt { outbox_effects::receipt what; std::uint64_t version; };
  struct pending_ack { unsigned slot; std::uint64_t request; sequence up_to; std::vector<std::string> ids; };

  bool may_push() const { return attached_ > 0 && horizon_saved_open_; }
  void fill(steady_time now, outbox_effects& out);
  void greet_newcomers(steady_time now, outbox_effects& out);
  void push_round(entry& x, steady_time now, outbox_effects& out);
  void push_to(entry& x, unsigned slot, bool flagged, outbox_effects& out);
  void want_more(outbox_effects& out);
  void mark_acked(std::deque<entry>::iterator at, outbox_effects& out);
  bool ack_by_id(const std::string& id, outbox_effects& out);
  void settle_acks(outbox_effects& out);
  void raise_floor();
  void make_dirty(bool urgent) { dirty_ = true; urgent_ = urgent_ || urgent; }
  void count_unread(sequence seq, outbox_effects& out);
  void start_retry(entry& x, steady_time now);

  outbox_options options_;
  std::function<std::uint64_t()> random_;

  cursor cursor_;
  push_horizon horizon_;
  sequence read_upto_, flag_upto_, pushed_upto_;
  std::uint64_t version_ = 0, unread_ = 0;
  bool horizon_saved_open_ = false;  ///< the store knows that we push
  bool loaded_ = false, dirty_ = false, saving_ = false, urgent_ = false, closing_ = false, saving_open_ = false, saving_closed_ = false;

  std::deque<entry> flight_;         ///< unacked, in the window, by seq
  std::deque<message_ptr> queue_;    ///< next ones, by seq
  sequence known_;                   ///< all unacked messages up to here are in flight_ or queue_
  sequence highest_;                 ///< the highest seq heard of
  sequence counted_;                 ///< unread_ has counted up to here
  std::vector<sequence> before_load_;
  bool behind_ = false, reading_ = false;
  std::optional<steady_time> read_again_;  ///< a read failed or found nothing new

  std::vector<slot_state> slots_;  ///< grows to the most sessions there were at a time
  std::size_t attached_ = 0;
  std::vector<pending_receipt> receipts_;
  std::vector<pending_ack> waiting_acks_;  ///< by-id acks that came before the window was loaded
};

}  // namespace doorstep
