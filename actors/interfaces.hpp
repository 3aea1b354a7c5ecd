// SPDX-License-Identifier: Apache-2.0
// Read this first: who there is and what each understands, in the data's order. Messages: actors/messages.hpp.
// SHARD, MAILBOX, CHANNEL, SESSION and WRITER run on the lanes of the sockets, PARTITION and ROUTER on a lane of their own (actors/lane.hpp), REAPER, MIRROR and
// RELOADER on CAF's scheduler.
#pragma once

#include "actors/messages.hpp"

#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace doorstep {

/// One partition of a source topic: credit, low watermark, commit. Reads again from the watermark when an append failed.
using partition_actor = caf::typed_actor<caf::reacts_to<take_records>,  // from the source's thread
                                         caf::reacts_to<routed>,        // from the log's thread, by way of ROUTER
                                         caf::reacts_to<revoke>,        // the group took it away, or drain
                                         caf::reacts_to<alarm>,         // read again after a failed append
                                         caf::replies_to<look>::with<actor_report>>;

/// Records and published events become log entries, appended in the order they came.
using router_actor = caf::typed_actor<caf::reacts_to<route_records>, caf::reacts_to<publish_events>, caf::reacts_to<go_on>,
                                      caf::reacts_to<step_appended>,  // from the log's thread
                                      caf::replies_to<use_routes>::with<routes_in_use>, caf::replies_to<look>::with<actor_report>>;

/// Reads the configuration again when told to, and hands its rules to ROUTER. One at a time.
using reloader_actor = caf::typed_actor<caf::reacts_to<reload>>;

/// Gathers writes of its lane into one store batch a turn.
using writer_actor =
    caf::typed_actor<caf::reacts_to<save_cursor>,    // from MAILBOX; answered with cursor_saved
                     caf::reacts_to<save_shard>,     // from SHARD; answered with shard_saved
                     caf::reacts_to<save_readers>,   // from CHANNEL; answered with readers_saved
                     caf::reacts_to<settle_writes>,  // from a MAILBOX or CHANNEL that replaces one that died; answered with writes_settled
                     caf::reacts_to<flush_writes>,
                     caf::reacts_to<write_finished>,  // from the store's thread
                     caf::replies_to<look>::with<actor_report>>;

/// One shard of the mailbox log: owns and supervises the mailboxes of its users.
using shard_actor = caf::typed_actor<caf::reacts_to<take_logged>,    // from the log's thread
                                     caf::reacts_to<attach>,         // from SESSION, handed on to MAILBOX
                                     caf::reacts_to<attach_reader>,  // from SESSION, handed on to CHANNEL
                                     caf::reacts_to<judge_expired>,  // from REAPER, handed on to MAILBOX
                                     caf::reacts_to<note_in_inbox>,  // from a device's MAILBOX, handed on to its user's
                                     caf::reacts_to<shard_saved>, caf::reacts_to<offer_passivation>, caf::reacts_to<begin_drain>,
                                     caf::reacts_to<alarm>, caf::replies_to<look_at_mailbox>::with<mailbox_report>,
                                     caf::replies_to<look_at_reader>::with<reader_reports>, caf::replies_to<look>::with<actor_report>>;

/// Everything owed to one user, and the user's inbox. Where devices have cursors there is one for each device, and the user's own one has the inbox alone.
using mailbox_actor =
    caf::typed_actor<caf::reacts_to<deliver>,
                     caf::reacts_to<attach>,  // answered to the session with attached or not_attached
                     caf::reacts_to<detach>, caf::reacts_to<ack_messages>, caf::reacts_to<nack_messages>, caf::reacts_to<extend_deadlines>,
                     caf::reacts_to<change_inbox>, caf::reacts_to<note_in_inbox>, caf::reacts_to<writes_settled>,
                     caf::reacts_to<mailbox_read>,  // from the store's thread
                     caf::reacts_to<judge_expired>, caf::reacts_to<overdue_read>, caf::reacts_to<page_read>, caf::reacts_to<newest_read>,
                     caf::reacts_to<unread_counted>, caf::reacts_to<places_read>, caf::reacts_to<cursor_saved>, caf::reacts_to<alarm>,
                     caf::reacts_to<passivate>, caf::reacts_to<drain>, caf::replies_to<look_at_mailbox>::with<mailbox_report>,
                     caf::replies_to<look>::with<actor_report>>;

/// One address with many readers.
using channel_actor =
    caf::typed_actor<caf::reacts_to<deliver>,
                     caf::reacts_to<attach_reader>,  // answered to the session with reader_attached
                     caf::reacts_to<detach_reader>, caf::reacts_to<ack_reader>, caf::reacts_to<nack_messages>, caf::reacts_to<extend_deadlines>,
                     caf::reacts_to<change_inbox>, caf::reacts_to<writes_settled>,
                     caf::reacts_to<cursors_read>,  // from the store's thread, as are the next five
                     caf::reacts_to<counted_read>, caf::reacts_to<recent_read>, caf::reacts_to<newest_read>, caf::reacts_to<reader_inbox_read>,
                     caf::reacts_to<reader_places_read>, caf::reacts_to<readers_saved>, caf::reacts_to<alarm>, caf::reacts_to<passivate>,
                     caf::reacts_to<drain>, caf::replies_to<look_at_reader>::with<reader_reports>, caf::replies_to<look>::with<actor_report>>;

/// Retention and expiry: has the store remove what is old and owed to nobody, and tell who is owed something past its time, step by step.
/// One for all shards.
using reaper_actor = caf::typed_actor<caf::reacts_to<alarm>, caf::reacts_to<reap_finished>,  // from the store's thread
                                      caf::replies_to<look>::with<actor_report>>;

/// Brings dead letters to the mirror topic, some at a time. One a process, where there is such a topic.
using mirror_actor = caf::typed_actor<caf::reacts_to<alarm>, caf::reacts_to<letters_to_mirror>,  // from the store's thread, as is letters_marked
                                      caf::reacts_to<letters_produced>,                          // from the sink's thread
                                      caf::reacts_to<letters_marked>, caf::replies_to<look>::with<actor_report>>;

/// One live connection of one user's device.
using session_actor = caf::typed_actor<caf::reacts_to<client_connected>,  // from the socket, on the same loop
                                       caf::reacts_to<client_said>, caf::reacts_to<client_refreshed>, caf::reacts_to<client_gone>,
                                       caf::reacts_to<attached>,  // from MAILBOX, as is inbox_attached
                                       caf::reacts_to<inbox_attached>, caf::reacts_to<not_attached>, caf::reacts_to<push_messages>,
                                       caf::reacts_to<acks_saved>, caf::reacts_to<inbox_answered>,
                                       caf::reacts_to<reader_attached>,  // from CHANNEL, as are the next three
                                       caf::reacts_to<reader_acked>, caf::reacts_to<reader_gap>, caf::reacts_to<channel_gone>,
                                       caf::reacts_to<reader_refused>,  // from SHARD
                                       caf::reacts_to<join_channels>,   // from NODE
                                       caf::reacts_to<history_read>,    // from the store's thread
                                       caf::reacts_to<send_away>, caf::replies_to<disconnect_sessions>::with<disconnected>, caf::reacts_to<alarm>>;

}  // namespace doorstep
