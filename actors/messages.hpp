// SPDX-License-Identifier: Apache-2.0
// What actors say to each other: one struct a message, commands on the way out, past participles on the way back. All of them stay in this process;
// what goes between nodes will have its own codec (docs/formats.md).
#pragma once

#include "net/connection.hpp"
#include "net/surfaces.hpp"
#include "runtime/config.hpp"
#include "runtime/message.hpp"
#include "runtime/outbox.hpp"
#include "runtime/stored.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"
#include "storage/record_sink.hpp"
#include "storage/record_source.hpp"

#include <caf/actor_control_block.hpp>
#include <caf/allowed_unsafe_message_type.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

class lane;
class outlet;

// --- source -> PARTITION -> ROUTER -> log -------------------------------------------------------------------------------------------------

/// Records of the partition, as the source handed them over.
struct take_records {
  std::vector<source_record> records;
};
/// PARTITION -> ROUTER: make entries of these and append them. `run` comes back with the answer.
struct route_records {
  std::uint64_t run = 0;
  std::shared_ptr<const origin_partition> from;
  std::int64_t floor = 0;
  std::vector<source_record> records;
};
/// ROUTER's answer, from the log's thread: the whole fan-out of the records from `first` on is durable, or nothing of it is.
struct routed {
  std::uint64_t run = 0;
  std::int64_t first = 0, last = 0;
  bool durable = false;
  std::string why;
};
/// The partition was taken away or the node drains: commit nothing more, end.
struct revoke {};
/// HTTP -> ROUTER.
struct publish_events {
  std::vector<event> events;
  std::function<void(result<std::vector<publish_outcome>>)> done;
  std::shared_ptr<const std::vector<header>> headers{};  ///< of the request, where rules look at them
};
/// ROUTER to itself: the next job takes a step.
struct go_on {};
/// A step of a job is durable, or why not; from the log's thread. `first`: which of the job's entries it began with.
struct step_appended {
  std::uint64_t job = 0;
  std::size_t first = 0;
  result<std::vector<appended>> what;
};
/// RELOADER -> ROUTER: from the next record on these rules hold; null: none.
struct use_routes {
  std::shared_ptr<const route_table> table;
};
struct routes_in_use {
  std::size_t count = 0;
};
/// Read the configuration again, and let its rules hold; or leave all as it is and say why.
struct reload {
  std::function<void(result<std::string>)> done;
};

// --- log -> SHARD -> MAILBOX -> SESSION ---------------------------------------------------------------------------------------------------

/// What the log holds next of the shard.
struct take_logged {
  log_batch batch;
};
/// New messages for the mailbox, seqs rising.
struct deliver {
  std::vector<message_ptr> messages;
};
/// One round for one session.
struct push_messages {
  std::vector<server::push> messages;
  std::optional<server::counts> counts;
};

// --- SESSION <-> SHARD <-> MAILBOX --------------------------------------------------------------------------------------------------------

/// A session wants what its user is owed. Goes through the SHARD, which owns the map of mailboxes. Where devices have cursors it reaches the mailbox of the device
/// and the user's own, which has the inbox.
struct attach {
  caf::strong_actor_ptr session;
  address user;
  sequence resume;
  bool counts = false;
  std::shared_ptr<outlet> out;  ///< for a MAILBOX on the same lane
  const lane* where = nullptr;
  std::string device{};  ///< where devices have cursors; empty: of the client that does not say which one it is
};
/// MAILBOX -> SESSION: from here on pushes come. `floor` is the acked floor.
struct attached {
  caf::strong_actor_ptr mailbox;
  address user;
  sequence floor;
  server::counts counts;
};
/// The user's own MAILBOX -> SESSION, where devices have cursors: here is the inbox.
struct inbox_attached {
  caf::strong_actor_ptr mailbox;
  server::counts counts;
};
/// To SESSION: the user has outbox::slots_max sessions already, or its mailbox fails again and again, or the node drains.
struct not_attached {
  failure why;
  std::optional<close_code> code{};  ///< where it is not what `why` says by itself
};
struct detach {};
struct ack_messages {
  request_id request = 0;
  sequence up_to;
  std::vector<std::string> ids;
};
struct nack_messages {
  request_id request = 0;
  std::vector<std::string> ids;
  std::string reason;
  std::optional<milliseconds> retry_in{};
};
/// The client still works on them.
struct extend_deadlines {
  std::vector<std::string> ids;
};
/// What the person did. `slot` is filled in by the MAILBOX.
struct change_inbox {
  inbox_change what;
};
/// It is in the store, or why not.
struct inbox_answered {
  std::vector<std::pair<request_id, std::optional<failure>>> answers;
};
/// MAILBOX of a device -> SHARD -> the user's own: these are acked, up to `upto` and above `after`, and those have passed away.
struct note_in_inbox {
  address user;
  sequence after, upto;
  std::vector<sequence> expired;
  std::vector<sequence> superseded{};  ///< a newer one took their place
};
/// The acks are in the store.
struct acks_saved {
  std::vector<server::receipt> receipts;
};

// --- SESSION <-> SHARD <-> CHANNEL --------------------------------------------------------------------------------------------------------

/// A session wants to read a channel. Goes through the SHARD, which owns the map of channels.
struct attach_reader {
  caf::strong_actor_ptr session;
  address channel;
  std::string user;
  sequence resume;
  std::shared_ptr<outlet> out;  ///< touched on its lane only
  lane* where = nullptr;
  bool counts = false;  ///< its outlet is told what is unread
};
/// CHANNEL -> SESSION: the reader's cursor is durable, from here on it is owed what comes.
struct reader_attached {
  caf::strong_actor_ptr channel;
  address of;
  sequence floor;
};
/// SHARD -> SESSION: not now.
struct reader_refused {
  address of;
  failure why;
};
struct detach_reader {};
/// CHANNEL -> SESSION: it failed; it is made anew for who attaches again.
struct channel_gone {
  address of;
};
/// `token` comes back with reader_acked, once what it settled is durable.
struct ack_reader {
  std::uint64_t token = 0;
  sequence up_to;
  std::vector<std::string> ids;
  bool urgent = false;
};
/// `unknown`: ids that are no unacked message of this channel.
struct reader_acked {
  address of;
  std::uint64_t token = 0;
  sequence up_to;
  std::vector<std::string> ids, unknown;
};
/// Messages that retention took before the reader had them.
struct reader_gap {
  address of;
  sequence from, to;
};
/// NODE -> SESSION: rules name channels that none named before.
struct join_channels {};
/// What the store says of cursors that a CHANNEL asked for.
struct cursors_read {
  std::vector<std::uint32_t> who;
  result<std::vector<cursor_record>> what;
};
struct recent_read {
  sequence after;
  result<stored_page> page;
};
/// CHANNEL -> WRITER; answered with readers_saved.
struct save_readers {
  std::vector<cursor_record> records;
  std::vector<dead_letter> dead;
  urgency when = urgency::soon;
  std::vector<inbox_record> inboxes{};
};
/// Messages of the channel for its counts.
struct counted_read {
  result<stored_history> page;
};
struct reader_inbox_read {
  std::string user;
  result<stored_history> what;
};
struct reader_places_read {
  std::string user;
  result<stored_places> what;
};
struct readers_saved {
  bool durable = false;
};

// --- socket -> SESSION --------------------------------------------------------------------------------------------------------------------

struct client_connected {
  client::connect request;
  identity who;
};
struct client_said {
  std::vector<client::command> commands;
};
struct client_refreshed {
  request_id request = 0;
  identity who;
};
struct client_gone {};
/// NODE -> SESSION: ask the client to come back elsewhere, after a random part of `spread`.
struct send_away {
  close_code code = close_code::going_away;
  std::string reason;
  milliseconds spread{};
};
/// House -> NODE -> every SESSION: end yours, if it is meant. Answered with disconnected.
struct disconnect_sessions {
  std::shared_ptr<const disconnect_request> whom;
};
struct disconnected {
  std::size_t count = 0;
};
/// The answer of the store to a history request.
struct history_read {
  request_id request = 0;
  history_query query;
  result<stored_history> what;
  std::uint64_t list = 0;  ///< of which it is a part; 0: it is the whole answer
};

// --- MAILBOX <-> store, through WRITER for writes -----------------------------------------------------------------------------------------

struct mailbox_read {
  result<stored_mailbox> what;
};
struct page_read {
  result<stored_page> page;
};
struct newest_read {
  result<stored_history> page;
};
struct unread_counted {
  result<stored_mailbox> what;
};
struct places_read {
  result<stored_places> what;
};
/// MAILBOX or SHARD -> WRITER: make this durable; `saved` comes back with `number`.
struct save_cursor {
  cursor_record record;
  urgency when = urgency::soon;
  std::vector<dead_letter> dead{};              ///< settled by the record: both in one batch
  std::shared_ptr<const inbox_record> inbox{};  ///< where it has changed, of the same version
  bool inbox_only = false;                      ///< the record stays as it is in the store
};
struct save_shard {
  shard_position position;
  std::vector<message_ptr> messages;
  std::vector<dead_letter> dead;
  urgency when = urgency::soon;
};
struct cursor_saved {
  bool durable = false;
};
/// The whole command comes back, so that what was not written is written again.
struct shard_saved {
  save_shard what;
  bool durable = false;
  std::vector<message_ptr> duplicates{};  ///< those of the whole batch that the store did not take; other shards' among them
};
/// MAILBOX -> WRITER: answer with writes_settled once every write handed over before this has been answered by the store.
struct settle_writes {};
struct writes_settled {};
/// WRITER to itself: write what has come together / the store has answered.
struct flush_writes {};
struct write_finished {
  std::uint64_t batch = 0;
  bool durable = false;
  std::vector<message_ptr> duplicates{};
};

// --- passivation, drain, supervision ------------------------------------------------------------------------------------------------------

/// MAILBOX -> SHARD: I am idle and all is saved; `seen` messages and attaches have reached me.
struct offer_passivation {
  address box;
  std::uint64_t seen = 0;
};
/// SHARD -> MAILBOX: nothing is on its way to you, end.
struct passivate {};
/// NODE -> SHARD: end all mailboxes and save the position; `drained` goes to `node` once that is done.
struct begin_drain {
  caf::strong_actor_ptr node;
};
/// SHARD -> MAILBOX: save what is to be saved, then end. Also what the house asks of NODE.
struct drain {};
struct drained {
  shard_id shard{};
};
/// The store has taken a step of retention.
struct reap_finished {
  result<reaped> what;
};
/// REAPER -> SHARD -> MAILBOX: of these users something is past its time. A mailbox gets its own user's.
struct judge_expired {
  std::vector<overdue> users;
};
/// The store's answer to a mailbox that looks at what is past its time.
struct overdue_read {
  result<stored_page> page;
};
/// Dead letters that the mirror does not have.
struct letters_to_mirror {
  result<std::vector<dead_letter>> letters;
};
/// What the mirror's brokers said, in the order they were produced.
struct letters_produced {
  record_outcomes outcomes;
};
/// So many are marked as mirrored; 0: the store did not take the marks.
struct letters_marked {
  std::size_t count = 0;
};
/// The lane's timer, or the clock in tests.
struct alarm {};

// --- looks --------------------------------------------------------------------------------------------------------------------------------

struct look {};
/// One actor for GET /v1/actors.
struct actor_report {
  std::string kind, id;
  std::vector<std::pair<std::string, std::int64_t>> numbers;
  std::uint64_t restarts = 0, queue = 0;
  milliseconds age{};
  std::vector<actor_report> children;
};
struct look_at_mailbox {
  address box;
};
/// One mailbox for GET /v1/mailboxes/<user>: JSON text made by the MAILBOX; empty when none is loaded, then the store has all there is.
struct mailbox_report {
  std::string json;
};

/// How a user stands in the channels that are in memory.
struct look_at_reader {
  std::string user;
};
struct reader_report {
  address channel;
  sequence floor;
  std::size_t in_flight = 0, unacked = 0, sessions = 0;
  bool more = false;
};
struct reader_reports {
  std::vector<reader_report> of;
};

}  // namespace doorstep

#define DOORSTEP_LOCAL_MESSAGE(name) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(doorstep::name)
DOORSTEP_LOCAL_MESSAGE(take_records)
DOORSTEP_LOCAL_MESSAGE(route_records)
DOORSTEP_LOCAL_MESSAGE(routed)
DOORSTEP_LOCAL_MESSAGE(revoke)
DOORSTEP_LOCAL_MESSAGE(publish_events)
DOORSTEP_LOCAL_MESSAGE(go_on)
DOORSTEP_LOCAL_MESSAGE(step_appended)
DOORSTEP_LOCAL_MESSAGE(use_routes)
DOORSTEP_LOCAL_MESSAGE(routes_in_use)
DOORSTEP_LOCAL_MESSAGE(reload)
DOORSTEP_LOCAL_MESSAGE(take_logged)
DOORSTEP_LOCAL_MESSAGE(deliver)
DOORSTEP_LOCAL_MESSAGE(push_messages)
DOORSTEP_LOCAL_MESSAGE(attach)
DOORSTEP_LOCAL_MESSAGE(attached)
DOORSTEP_LOCAL_MESSAGE(inbox_attached)
DOORSTEP_LOCAL_MESSAGE(not_attached)
DOORSTEP_LOCAL_MESSAGE(detach)
DOORSTEP_LOCAL_MESSAGE(ack_messages)
DOORSTEP_LOCAL_MESSAGE(nack_messages)
DOORSTEP_LOCAL_MESSAGE(extend_deadlines)
DOORSTEP_LOCAL_MESSAGE(change_inbox)
DOORSTEP_LOCAL_MESSAGE(inbox_answered)
DOORSTEP_LOCAL_MESSAGE(note_in_inbox)
DOORSTEP_LOCAL_MESSAGE(acks_saved)
DOORSTEP_LOCAL_MESSAGE(attach_reader)
DOORSTEP_LOCAL_MESSAGE(reader_attached)
DOORSTEP_LOCAL_MESSAGE(reader_refused)
DOORSTEP_LOCAL_MESSAGE(detach_reader)
DOORSTEP_LOCAL_MESSAGE(channel_gone)
DOORSTEP_LOCAL_MESSAGE(ack_reader)
DOORSTEP_LOCAL_MESSAGE(reader_acked)
DOORSTEP_LOCAL_MESSAGE(reader_gap)
DOORSTEP_LOCAL_MESSAGE(join_channels)
DOORSTEP_LOCAL_MESSAGE(cursors_read)
DOORSTEP_LOCAL_MESSAGE(recent_read)
DOORSTEP_LOCAL_MESSAGE(save_readers)
DOORSTEP_LOCAL_MESSAGE(readers_saved)
DOORSTEP_LOCAL_MESSAGE(counted_read)
DOORSTEP_LOCAL_MESSAGE(reader_inbox_read)
DOORSTEP_LOCAL_MESSAGE(reader_places_read)
DOORSTEP_LOCAL_MESSAGE(client_connected)
DOORSTEP_LOCAL_MESSAGE(client_said)
DOORSTEP_LOCAL_MESSAGE(client_refreshed)
DOORSTEP_LOCAL_MESSAGE(client_gone)
DOORSTEP_LOCAL_MESSAGE(send_away)
DOORSTEP_LOCAL_MESSAGE(disconnect_sessions)
DOORSTEP_LOCAL_MESSAGE(disconnected)
DOORSTEP_LOCAL_MESSAGE(history_read)
DOORSTEP_LOCAL_MESSAGE(mailbox_read)
DOORSTEP_LOCAL_MESSAGE(page_read)
DOORSTEP_LOCAL_MESSAGE(newest_read)
DOORSTEP_LOCAL_MESSAGE(unread_counted)
DOORSTEP_LOCAL_MESSAGE(places_read)
DOORSTEP_LOCAL_MESSAGE(reap_finished)
DOORSTEP_LOCAL_MESSAGE(judge_expired)
DOORSTEP_LOCAL_MESSAGE(overdue_read)
DOORSTEP_LOCAL_MESSAGE(letters_to_mirror)
DOORSTEP_LOCAL_MESSAGE(letters_produced)
DOORSTEP_LOCAL_MESSAGE(letters_marked)
DOORSTEP_LOCAL_MESSAGE(save_cursor)
DOORSTEP_LOCAL_MESSAGE(save_shard)
DOORSTEP_LOCAL_MESSAGE(cursor_saved)
DOORSTEP_LOCAL_MESSAGE(shard_saved)
DOORSTEP_LOCAL_MESSAGE(settle_writes)
DOORSTEP_LOCAL_MESSAGE(writes_settled)
DOORSTEP_LOCAL_MESSAGE(flush_writes)
DOORSTEP_LOCAL_MESSAGE(write_finished)
DOORSTEP_LOCAL_MESSAGE(offer_passivation)
DOORSTEP_LOCAL_MESSAGE(passivate)
DOORSTEP_LOCAL_MESSAGE(drain)
DOORSTEP_LOCAL_MESSAGE(begin_drain)
DOORSTEP_LOCAL_MESSAGE(drained)
DOORSTEP_LOCAL_MESSAGE(alarm)
DOORSTEP_LOCAL_MESSAGE(look)
DOORSTEP_LOCAL_MESSAGE(actor_report)
DOORSTEP_LOCAL_MESSAGE(look_at_mailbox)
DOORSTEP_LOCAL_MESSAGE(mailbox_report)
DOORSTEP_LOCAL_MESSAGE(look_at_reader)
DOORSTEP_LOCAL_MESSAGE(reader_reports)
#undef DOORSTEP_LOCAL_MESSAGE
