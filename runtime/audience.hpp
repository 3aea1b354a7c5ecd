// SPDX-License-Identifier: Apache-2.0
// One address with many readers: its recent messages once, and of every reader no more than a cursor. The pure core of a CHANNEL actor: every call takes what happened
// (and `now`) and fills in what is to be done. No thread, no clock, no I/O. The rules are in docs/decisions/0012-channels.md.
#pragma once

#include "runtime/backoff.hpp"
#include "runtime/cursor.hpp"
#include "runtime/message.hpp"
#include "runtime/outbox.hpp"
#include "runtime/stored.hpp"

#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// Where somebody begins who has never read a channel.
struct channel_start {
  enum class from : std::uint8_t { latest, earliest, last } what = from::latest;
  std::size_t count = 0;  ///< of `last`
};
/// "latest", "earliest", "last 20".
std::optional<channel_start> parse_start(std::string_view text);
/// What the first of `starts` ("topic:news=earliest", "role:*=last 20") that fits says of a channel, else `otherwise`. All of them can be parsed.
channel_start start_of(const address& channel, std::string_view otherwise, const std::vector<std::string>& starts);

struct audience_options {
  address of;
  sequence known;          ///< all above comes by deliver(); what is at or below the store has, or will have
  sequence may_be_pushed;  ///< where the log stood when an earlier life may still have pushed: at or below is flagged
  unsigned window = 32;    ///< places between a reader's oldest unacked message and the last one it was sent; at most audience::window_max
  milliseconds ack_timeout{30'000};
  backoff retry;
  std::uint32_t max_attempts = 0;  ///< of a reader's oldest message; 0 = never given up
  milliseconds ttl{0};
  wall_anchor clock{};
  channel_start start;
  std::vector<sequence> poisoned{};  ///< they brought earlier lives of this channel down: passed over, and a dead letter of the channel
  std::size_t recent_max = 1024, recent_bytes_max = 4 * 1024 * 1024;  ///< kept in memory; what is older is read from the store
  std::size_t page_max = 128;
  std::size_t replay_rate = 0;  ///< messages a second that a reader is sent from the store; 0 = no limit
};

using reader_id = std::uint32_t;

/// What the actor has to do after a call. Reused between calls: clear() first.
struct audience_effects {
  /// The same for all who get it, so that it is encoded once.
  struct frame {
    message_ptr what;
    std::uint32_t attempt;
    bool redelivered;
  };
  struct push {
    reader_id to;
    std::uint32_t frame;    ///< of `frames`
    std::uint32_t session;  ///< 0: every session of the reader
  };
  struct join {
    reader_id who;
    std::uint32_t session;  ///< 0: every session that waits
    sequence floor;
  };
  struct hole {
    reader_id who;
    sequence from, to;
  };
  /// To ack(), once what it settled is durable. `unknown`: ids that are no message of this channel which the reader still has unacked.
  struct answer {
    reader_id who;
    std::uint32_t session;
    std::uint64_t token;
    sequence up_to;
    std::vector<std::string> ids, unknown;
  };
  /// Another session of the reader acked these, and that is durable.
  struct told {
    reader_id who;
    std::uint32_t session;  ///< that acked; the others are told
    sequence up_to;         ///< all of this is acked
    std::vector<std::string> ids;
  };
  /// A dead letter of this reader alone.
  struct loss {
    reader_id who;
    sequence seq;
  };
  struct fetch {
    sequence after;
    std::size_t limit;
  };
  std::vector<frame> frames;
  std::vector<push> pushes;
  std::vector<join> joined;  ///< their cursor is durable: from here on they are owed what comes
  std::vector<hole> gaps;    ///< gone by retention before they were acked
  std::vector<answer> answers;
  std::vector<told> acked_elsewhere;
  std::vector<reader_id> load;  ///< ask the store for their cursors; answer with loaded()
  std::vector<reader_id> gone;  ///< forgotten: their number is somebody else's from now on
  std::vector<fetch> reads;     ///< ask the store; answer each with page() or page_failed()
  std::optional<fetch> newest;  ///< the last ones up to there; answer with newest() or newest_failed()
  std::size_t acked = 0, redelivered = 0, timed_out = 0, expired = 0;
  std::vector<dead_reason> buried;
  std::vector<loss> lost;
  void clear();
};

class audience {
public:
  static constexpr unsigned window_max = 32;
  static constexpr std::size_t reads_max = 4;  ///< under way at a time
  static constexpr std::size_t waiting_acks_max =
      16'384;  ///< of readers whose messages are being read; acks beyond get no answer and are repeated by the client
  static constexpr milliseconds read_retry{200};

  /// @param random uniform 64-bit numbers, for the jitter.
  audience(audience_options options, std::function<std::uint64_t()> random);
  audience(const audience&) = delete;
  audience& operator=(const audience&) = delete;

  /// A session of this user is there. @param session its number, not 0 and never used again. @param resume the highest seq its client saw.
  reader_id attach(std::string_view user, std::uint32_t session, sequence resume, steady_time now, audience_effects& out);
  void detach(reader_id who, audience_effects& out);
  void loaded(reader_id who, const cursor_record& record, steady_time now, audience_effects& out);
  /// The store did not answer: asked again later, by tick().
  void load_failed(reader_id who, steady_time now);
  void newest(const std::vector<message_ptr>& messages, steady_time now, audience_effects& out);
  void newest_failed(steady_time now);

  /// Live messages from the shard, seqs rising.
  void deliver(const std::vector<message_ptr>& messages, steady_time now, audience_effects& out);
  void page(sequence after, const stored_page& x, steady_time now, audience_effects& out);
  void page_failed(sequence after, steady_time now);

  /// Cumulative and by id. @param token comes back with the answer. @param urgent somebody waits for that
  void ack(reader_id who, std::uint32_t session, std::uint64_t token, sequence up_to, std::vector<std::string> ids, bool urgent, steady_time now,
           audience_effects& out);
  void nack(reader_id who, const std::vector<std::string>& ids, const nack_terms& terms, steady_time now, audience_effects& out);
  void in_progress(reader_id who, const std::vector<std::string>& ids, steady_time now);

  void tick(steady_time now, audience_effects& out);
  std::optional<steady_time> next_due() const;

  /// What has changed of readers, a bounded part of it; at most one is under way.
  struct batch {
    std::vector<cursor_record> cursors;
    std::vector<dead_letter> dead;
  };
  bool wants_save() const { return !dirty_.empty() && saving_.empty(); }
  bool save_is_urgent() const { return urgent_; }
  batch begin_save(steady_time now);
  void saved(steady_time now, audience_effects& out);
  void save_failed();

  bool is_saved() const { return dirty_.empty() && saving_.empty(); }
  /// Nobody reads, and all is saved.
  bool is_idle() const { return index_.empty() && is_saved(); }
  std::size_t readers() const { return index_.size(); }
  std::size_t recent_count() const { return recent_.size(); }
  std::size_t behind_count() const { return behind_; }
  std::string_view user_of(reader_id who) const { return readers_[who].user; }
  std::optional<reader_id> find(std::string_view user) const;
  /// Where a reader stands, for a look.
  struct standing {
    sequence floor;
    std::size_t in_flight = 0;  ///< pushed and not acked
    std::size_t unacked = 0;    ///< these, and what waits in memory
    bool more = false;          ///< further ones are in the store
  };
  standing standing_of(reader_id who) const;
  /// Nothing up to here was ever owed to it.
  sequence began(reader_id who) const { return readers_[who].began; }
  /// Every message above recent_after(), as far as is known.
  const std::deque<message_ptr>& recent() const { return recent_; }
  sequence recent_after() const { return recent_after_; }

private:
  using messages_ptr = std::shared_ptr<const std::vector<message_ptr>>;
  /// Of a reader whose next message is no longer in memory.
  struct catch_up {
    messages_ptr page;             ///< shared by those who stand at the same place; null: not read, or dropped
    cursor acked;                  ///< while there is no page: what is settled above the floor
    sequence sent_upto;            ///< likewise, in this life
    std::vector<sequence> nacked;  ///< likewise
    steady_time not_before{};      ///< nothing is pushed or read until then; zero: at any time
    steady_time replay_from{};     ///< the bucket of audience_options::replay_rate
    bool asked = false;
  };
  /// Masks are of the messages after the floor: bit 0 is the oldest one that is not settled.
  struct reader {
    std::string user;
    sequence floor, durable, saving_floor;  ///< settled up to here, as the store has it, and as it is about to
    sequence began;                         ///< where its first cursor stood
    sequence flag_upto;                     ///< at or below may have been pushed in an earlier life
    std::uint64_t at = 0;                   ///< bit 0's place: in recent_, counted since the beginning, or in the page
    std::unique_ptr<catch_up> behind;
    steady_time due = steady_time::max(), retry_at = steady_time::max();
    std::uint32_t settled = 0, nacked = 0, waits = 0;
    std::uint32_t version = 0, durable_version = 0;
    std::uint16_t sessions = 0;
    std::uint8_t sent = 0, asked = 0;  ///< places up to the last one pushed; those whose ack is due at `due`
    std::uint8_t failures = 0;         ///< of the message at bit 0
    bool used = false, loaded = false, joined = false;
    bool fresh = false;  ///< its first cursor is not durable yet
    bool dirty = false, saving = false, unsaved_push = false;
    bool unread_past = false;  ///< it was promised nothing of what is before its first cursor
  };
  struct user_hash {
    using is_transparent = void;
    const std::deque<reader>* of;
    std::size_t operator()(std::string_view x) const { return std::hash<std::string_view>{}(x); }
    std::size_t operator()(reader_id x) const { return (*this)((*of)[x].user); }
  };
  struct user_equal {
    using is_transparent = void;
    const std::deque<reader>* of;
    bool operator()(reader_id x, reader_id y) const { return x == y; }
    bool operator()(std::string_view x, reader_id y) const { return x == (*of)[y].user; }
    bool operator()(reader_id x, std::string_view y) const { return (*of)[x].user == y; }
  };
  struct waiting_ack {
    reader_id who;
    std::uint32_t session;
    std::uint64_t token;
    sequence up_to;
    std::vector<std::string> ids;
    bool urgent;
    std::optional<nack_terms> nack{};  ///< it is one
  };
  struct pending_told {
    audience_effects::told what;
    std::uint32_t version;
  };
  struct pending_answer {
    audience_effects::answer what;
    std::uint32_t version;  ///< of the reader's record that has to be durable
  };

  // audience.cpp
  void begin(reader_id who, sequence floor, audience_effects& out);
  void start_last(steady_time now, audience_effects& out);
  void join(reader_id who, steady_time now, audience_effects& out);
  void fill(reader_id who, steady_time now, audience_effects& out);
  void send_next(reader_id who, steady_time now, audience_effects& out);
  bool advance(reader& r, steady_time now);
  void push(reader_id who, const message_ptr& what, std::uint32_t attempt, bool flagged, std::uint32_t session, audience_effects& out);
  void push_in_flight(reader_id who, std::uint32_t session, audience_effects& out);
  bool is_flagged(const reader& r, const message& x) const;
  bool is_expired(const message& x, steady_time now) const;
  bool is_poisoned(sequence seq) const;
  void bury_poison(reader_id who, const message_ptr& what, steady_time now, audience_effects& out);
  void time_out(reader_id who, steady_time now, audience_effects& out);
  void send_again(reader_id who, steady_time now, audience_effects& out);
  bool fail_head(reader_id who, dead_reason reason, std::string detail, steady_time now, audience_effects& out);
  void restart_deadline(reader& r, steady_time now);
  void note_due(steady_time at) { first_due_ = std::min(first_due_, at); }
  void forget_if_done(reader_id who, audience_effects& out);
  // audience_recent.cpp
  const message_ptr* at(const reader& r, std::size_t i) const;
  sequence last_known() const { return recent_.empty() ? recent_after_ : recent_.back()->seq; }
  void place(reader_id who, steady_time now, audience_effects& out);
  void restore_marks(reader& r, const cursor& acked, sequence sent_upto, const std::vector<sequence>& nacked);
  void want_page(reader_id who, steady_time now, audience_effects& out);
  void read_next(audience_effects& out);
  bool prepend(const std::vector<message_ptr>& older, sequence after);
  void evict();
  void fall_behind(reader& r);
  catch_up& make_behind(reader& r);
  void drop_behind(reader& r);
  // audience_acks.cpp
  void settle(reader& r, unsigned bit, std::vector<std::string>* told, audience_effects& out);
  void take_waiting_acks(reader_id who, steady_time now, audience_effects& out);
  void make_dirty(reader_id who, bool urgent);
  cursor_record record_of(const reader& r) const;
  sequence pushed_upto(const reader& r) const;

  audience_options options_;
  std::function<std::uint64_t()> random_;
  std::deque<message_ptr> recent_;  ///< every message above recent_after_, as far as is known
  sequence recent_after_;
  std::uint64_t first_ = std::uint64_t{1} << 40;  ///< the place of recent_'s first; room for older ones below
  std::size_t recent_bytes_ = 0, behind_ = 0;
  std::deque<reader> readers_;
  std::vector<reader_id> free_;
  boost::unordered_flat_set<reader_id, user_hash, user_equal> index_;
  steady_time first_due_ = steady_time::max();  ///< not later than the first that is due
  std::map<sequence, std::vector<reader_id>> wanted_pages_;
  std::deque<sequence> pages_to_read_;
  std::size_t reads_ = 0;
  std::vector<reader_id> load_again_, wait_for_newest_;
  bool reading_newest_ = false;
  std::vector<reader_id> dirty_, saving_;
  std::vector<std::pair<reader_id, dead_letter>> dead_;
  std::vector<std::pair<reader_id, dead_letter>> dead_saving_;
  std::vector<sequence> buried_;  ///< of options_.poisoned
  std::vector<pending_answer> pending_;
  std::vector<pending_told> told_;
  std::vector<waiting_ack> waiting_;
  bool urgent_ = false;
};

}  // namespace doorstep
