// SPDX-License-Identifier: Apache-2.0
// What is owed to one user: window, retries, cursor, push horizon, receipts. The pure core of a MAILBOX actor: every call takes what happened (and `now`)
// and fills in what is to be done. No thread, no clock, no I/O. The rules are in docs/decisions/0004-outbox.md, numbered as the comments here name them.
#pragma once

#include "runtime/backoff.hpp"
#include "runtime/cursor.hpp"
#include "runtime/delivery_terms.hpp"
#include "runtime/message.hpp"
#include "runtime/stored.hpp"

#include <boost/container/devector.hpp>
#include <boost/container/small_vector.hpp>

#include <bit>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

struct outbox_options {
  std::size_t window = 32;  ///< unacked messages pushed at a time
  milliseconds ack_timeout{30'000};
  backoff retry;
  std::size_t backlog_max = 256;  ///< messages kept in memory beyond the window; 0: none is kept and none pushed, only counted and expired
  std::size_t holes_max =
      1024;  ///< ranges of acked messages above the floor; at the limit nothing new is pushed until the oldest unacked one is acked
  // when a message is given up; all of it off unless set
  milliseconds ttl{0};             ///< since the append, where the event names no expirytime; 0 = for ever
  std::size_t messages_max = 0;    ///< owed at a time; 0 = no limit
  std::uint64_t bytes_max = 0;     ///< content_bytes() owed at a time, likewise
  std::uint32_t max_attempts = 0;  ///< delivery rounds that a live session failed: a nack, or no ack in time; 0 = never
  /// What goes beyond those limits.
  enum class victim : std::uint8_t { oldest, newest } overflow = victim::oldest;
  delivery_terms::ordering order = delivery_terms::ordering::window;  ///< of messages whose terms name none
  wall_anchor clock{};                                                ///< by which expiry is judged
  std::vector<sequence> poisoned{};                                   ///< they brought earlier lives of this mailbox down
};

/// A message that leaves unacked. Stored as a dead letter in the same batch as the record that settles it.
struct given_up {
  message_ptr what;
  dead_reason reason = dead_reason::max_attempts;
  std::uint32_t attempts = 0;  ///< delivery rounds
  std::string detail;
};

dead_letter dead_letter_of(const given_up& x, unix_ms now);

/// What a client says with a nack.
struct nack_terms {
  std::string reason{};
  std::optional<milliseconds> retry_in{};  ///< instead of the retry delay
};

/// What the actor has to do after a call. Reused between calls: clear() first.
struct outbox_effects {
  struct push {
    unsigned slot;
    message_ptr what;
    std::uint32_t attempt;
    bool redelivered;
  };
  /// The acks of one request are durable, or (request 0) those of another session. `up_to` is the floor that the store holds: everything up to it is
  /// acked. 0: nothing yet.
  struct receipt {
    unsigned slot;
    std::uint64_t request;
    sequence up_to;
    std::vector<std::string> ids;
  };
  struct fetch {
    sequence after;
    std::size_t limit;
  };
  struct fetch_newest {
    sequence upto;
    std::size_t limit;
  };
  std::vector<push> pushes;          ///< grouped by message, in seq order but where messages of a strict group had to wait
  std::vector<given_up> to_bury{};   ///< filled in by begin_save(): dead letters of the same batch
  std::vector<sequence> replaced{};  ///< filled in by begin_save(): superseded since the last one, settled by this one
  std::vector<dead_reason> buried;   ///< these are durable dead letters now
  std::vector<receipt> receipts;
  std::optional<fetch> read;                ///< ask the store; answer with page()
  std::optional<fetch_newest> read_newest;  ///< the last ones up to there; answer with newest()
  bool counts_changed = false;
  bool recount = false;  ///< only the store can tell what is unread now; answer with recounted()
  std::size_t acked = 0, repeated = 0, redelivered = 0, timed_out = 0, superseded = 0;  ///< for the metrics
  std::vector<std::pair<steady_time, unix_ms>> acked_times;                             ///< pushed at / appended at, of messages acked the first time
  void clear();
};

class outbox {
public:
  static constexpr milliseconds read_retry{200};
  static constexpr std::size_t waiting_ids_max =
      16'384;  ///< ids of acks that cannot be judged yet; acks beyond get no receipt and are repeated by the client
  static constexpr std::size_t leaving_without_backlog = 512;
  static constexpr std::size_t recount_max = 256;  ///< live messages remembered while the store counts
  static constexpr unsigned slots_max = 64;        ///< sessions of one user on one mailbox; the next one is refused

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

  /// The answer to effects.read_newest, seqs rising.
  void newest(const std::vector<message_ptr>& messages, steady_time now, outbox_effects& out);
  void newest_failed(steady_time now);

  /// A session is there. @param resume the highest seq its client saw. @returns its slot, or nothing when all are taken.
  std::optional<unsigned> attach(sequence resume, steady_time now, outbox_effects& out);
  void detach(unsigned slot, steady_time now);
  std::size_t sessions() const { return static_cast<std::size_t>(std::popcount(attached_)); }

  /// Cumulative and by id; both may be given. Receipts come once the record that holds them is saved.
  void ack(unsigned slot, std::uint64_t request, sequence up_to, std::vector<std::string> ids, steady_time now, outbox_effects& out);
  /// Counted as an attempt; sent again after the retry delay. Unknown ids are ignored.
  /// @param slot who: from now on only an ack by id covers the message for this connection. Without it, for all that are attached.
  void nack(const std::vector<std::string>& ids, steady_time now, outbox_effects& out, unsigned slot = slots_max, const nack_terms& terms = {});
  /// The client still works on them: their ack deadline starts again. What this slot nacked, or what is not in flight, stays as it is.
  void in_progress(unsigned slot, const std::vector<std::string>& ids, steady_time now);
  /// Marks of the inbox have changed and are durable: the store is about to count again. @param marks_top no mark is above
  void recount(sequence marks_top);
  /// The store's count since. What was delivered meanwhile is added. @returns false where that cannot be exact yet: ask again.
  bool recounted(const stored_mailbox& x, outbox_effects& out);
  /// A look through the store found these past their time, whoever is there: what is still owed is given up (rule 13). What a session has in flight is left to its next
  /// push. @param candidates seqs rising
  void expire(const std::vector<message_ptr>& candidates, steady_time now, outbox_effects& out);
  /// Something that is saved with the record has changed.
  void write_record() { make_dirty(true); }

  /// Ack timeouts and retries that are due.
  void tick(steady_time now, outbox_effects& out);
  /// When tick() may have something to do next: not later than that, and earlier where what was due first has been acked meanwhile.
  std::optional<steady_time> next_due() const;

  /// At most one save is under way. wants_save() says whether to begin one; save_is_urgent() whether a push or a client waits for it.
  bool wants_save() const { return loaded_ && dirty_ && !saving_; }
  bool save_is_urgent() const { return urgent_; }
  /// The record, and in out.to_bury the dead letters that must be written with it or not at all.
  cursor_record begin_save(const address& user, outbox_effects& out);
  void saved(steady_time now, outbox_effects& out);
  void save_failed();

  /// Writes the horizon down as closed: nothing beyond it was pushed. For passivation and drain; the next attach opens it again.
  void close_horizon();
  bool horizon_is_closed() const { return !horizon_.open; }
  /// Nothing is under way: no session, no save, no read, nothing to write.
  bool is_idle() const { return loaded_ && attached_ == 0 && !dirty_ && !saving_ && !reading_; }

  std::uint64_t unread() const { return unread_; }
  std::uint64_t unseen() const { return unseen_; }
  sequence floor() const { return cursor_.floor(); }
  const cursor& acked() const { return cursor_; }

  /// For GET /v1/mailboxes: one unacked pushed message.
  struct in_flight_view {
    message_ptr what;
    std::uint32_t attempt;
    std::optional<steady_time> next_retry;
  };
  std::vector<in_flight_view> in_flight() const;
  std::size_t in_flight_count() const { return flight_.size(); }
  std::size_t queued_count() const { return queue_.size(); }
  bool is_behind() const { return behind_; }
  /// Stored and unsettled, as far as the store has told: in memory and beyond.
  std::uint64_t owed_count() const { return owed_.messages; }
  /// Their content_bytes(); 0 where there is no limit for them.
  std::uint64_t owed_bytes() const { return owed_.bytes; }
  /// From now on as many in flight at a time.
  void widen(std::size_t window) { options_.window = window; }

private:
  struct entry {
    message_ptr what;
    std::uint32_t attempt = 0;     ///< delivery rounds so far
    std::uint16_t failures = 0;    ///< those that count against max_attempts
    bool maybe_pushed = false;     ///< it may have been pushed before: flagged
    bool waits_for_retry = false;  ///< `due` is the retry; otherwise the ack deadline
    steady_time due{}, pushed_at{};
    std::uint64_t sent_to = 0;    ///< slots whose cumulative ack covers it
    std::uint64_t nacked_by = 0;  ///< slots that have to ack it by id
    std::uint64_t asked = 0;      ///< slots that are there and had the whole of the ack timeout
  };
  /// Given up, and not durably so yet. `saving`: the store was asked once and may have done it whatever it said; before that an ack may still come first.
  struct leaving {
    entry what;
    dead_reason reason;
    std::string detail;
    bool saving;
  };
  struct pending_receipt {
    outbox_effects::receipt what;
    std::uint64_t version;
  };
  /// Acked by one session, and other sessions have it too: they are told once that is durable.
  struct settled_elsewhere {
    std::uint64_t slots;
    std::string id;
    std::uint64_t version;
  };
  struct slot_state {
    sequence resume;
    sequence sent_upto;  ///< the highest that this connection was sent
  };
  struct heard {
    sequence seq;
    std::uint64_t bytes;  ///< content_bytes(), where there is a limit for them
  };
  struct pending_ack {
    unsigned slot;
    std::uint64_t request;
    std::vector<std::string> ids;
  };

  bool may_push() const { return attached_ != 0 && horizon_saved_open_; }
  bool has_room_for(sequence seq) const;
  void push_first(message_ptr what, steady_time now, outbox_effects& out);
  void fill(steady_time now, outbox_effects& out);
  void greet_newcomers(steady_time now, outbox_effects& out);
  void push_round(entry& x, steady_time now, outbox_effects& out);
  void push_to(entry& x, unsigned slot, bool flagged, outbox_effects& out);
  void want_more(outbox_effects& out);
  void mark_acked(entry* at, unsigned slot, outbox_effects& out);
  bool ack_by_id(const std::string& id, unsigned slot, outbox_effects& out);
  void tell_others(outbox_effects& out);
  bool settle(pending_ack& x, outbox_effects& out);
  void keep_waiting(pending_ack x);
  void settle_waiting_acks(outbox_effects& out);
  bool knows_all_pushed() const { return known_ >= flag_upto_; }
  void release_receipts(outbox_effects& out);
  void raise_floor();
  void make_dirty(bool urgent) {
    dirty_ = true;
    urgent_ = urgent_ || urgent;
  }
  void count_unread(const heard& x, outbox_effects& out);
  void set_due(entry& x, steady_time at);
  void find_first_due();
  void start_retry(entry& x, steady_time now);
  // outbox_giving_up.cpp
  bool is_expired(const message& x, steady_time now) const;
  bool is_poisoned(sequence seq) const;
  void give_up(entry what, dead_reason reason, std::string detail);
  entry* give_up_in_flight(entry* at, dead_reason reason, std::string detail);
  bool fails_too_often(entry& x) const;
  void ack_leaving(unsigned slot, sequence up_to, outbox_effects& out);
  bool ack_leaving(const std::string& id, outbox_effects& out);
  void bury(outbox_effects& out);
  void buried(outbox_effects& out);
  std::size_t leaving_max() const { return options_.backlog_max != 0 ? 2 * options_.backlog_max : leaving_without_backlog; }
  // outbox_limits.cpp
  heard heard_of(const message& x) const;
  void count_owed(const heard& x);
  bool settle_in_cursor(const message& x);
  void join_holes();
  bool is_over(stored_amount less = {}) const;
  bool gives_way_to(const message& x, const message& other) const;
  void trim();
  bool trim_one();
  bool must_reject(const message& x, sequence before) const;
  bool reject(const message_ptr& x, sequence before);
  void want_newest(outbox_effects& out);
  // outbox_order.cpp
  delivery_terms::ordering order_of(const message& x) const;
  bool is_its_turn(const message& x) const;
  void push_those_whose_turn_it_is(steady_time now, outbox_effects& out);
  bool gives_place_to(const message& x, const message& by) const;
  stored_amount place_for(const message& by) const;
  void supersede_older(const message& by, outbox_effects& out);
  void note_terms(const message& x, outbox_effects& out);
  void note_priority(const message& x) { any_priority_ = any_priority_ || x.terms->priority != 0; }

  outbox_options options_;
  std::function<std::uint64_t()> random_;

  cursor cursor_;
  push_horizon horizon_;
  sequence marks_top_, flag_upto_, pushed_upto_;
  sequence saving_floor_, saved_floor_;
  std::uint64_t version_ = 0, unread_ = 0, unseen_ = 0;
  bool horizon_saved_open_ = false;  ///< the store knows that we push
  bool loaded_ = false, dirty_ = false, saving_ = false, urgent_ = false, closing_ = false, saving_open_ = false;
  bool any_poisoned_ = false;                                            ///< beside what every message touches, as is all that is asked for each
  bool any_strict_ = false, any_latest_ = false, any_priority_ = false;  ///< or were: only then somebody looks for them

  steady_time first_due_ = steady_time::max();  ///< not later than the first deadline in flight_, so that it costs nothing to ask
  boost::container::small_vector<entry, 2>
      flight_;                                     ///< unacked, in the window, by seq; most users have one or none, and that is no further cache miss
  boost::container::devector<message_ptr> queue_;  ///< next ones, by seq
  sequence known_;                                 ///< all unacked messages up to here are in flight_ or queue_
  sequence highest_;                               ///< the highest seq heard of
  sequence counted_;                               ///< owed_ has counted up to here, and unread_ and unseen_ what is above marks_top_
  stored_amount owed_;
  sequence stored_upto_;                 ///< all up to here is in the store
  sequence rejected_upto_;               ///< the last live one, where it was rejected
  sequence newest_from_;                 ///< nothing between this and counted_ has to be read to be rejected
  sequence newest_asked_, newest_sure_;  ///< up to where it is being read, and had all been stored when that was asked
  bool reading_newest_ = false;
  std::vector<leaving> leaving_;
  std::vector<sequence> superseded_;  ///< since the last begin_save()
  std::vector<heard> before_load_;
  std::vector<sequence> since_recount_;  ///< counted since the store was asked to count
  sequence recount_from_;                ///< its answer has to cover this
  bool recounting_ = false, recount_lost_ = false;
  bool behind_ = false, reading_ = false;
  std::optional<steady_time> read_again_;  ///< a read failed or found nothing new

  std::vector<slot_state> slots_;  ///< grows to the most sessions there were at a time
  std::uint64_t attached_ = 0;     ///< slots in use
  std::uint64_t newcomers_ = 0;    ///< those that were not sent what is in flight
  std::vector<pending_receipt> receipts_;
  std::vector<pending_ack> waiting_acks_;  ///< with ids that may be of messages not read yet
  std::vector<settled_elsewhere> elsewhere_;
};

}  // namespace doorstep
