// SPDX-License-Identifier: Apache-2.0
// The option table itself, but for who may come in (options_identity.cpp). An option without a row does not exist; a row without a sentence does not compile
// into the pages. Pure, any thread.
#include "runtime/option_rows.hpp"

#include "runtime/address.hpp"
#include "runtime/audience.hpp"
#include "runtime/segment_pattern.hpp"

#include <algorithm>
#include <array>

namespace doorstep {

namespace {

using sv = std::string_view;
using namespace option_rows;

bool is_digits(sv text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_port(sv text) { return is_digits(text) && text.size() <= 5 && std::stoul(std::string(text)) <= 65535; }

std::string check_listen(sv text) {
  constexpr sv wrong = "is not host:port, such as \"127.0.0.1:8000\" or \"[::1]:8000\"";
  const auto colon = text.rfind(':');
  if (colon == sv::npos || !is_port(text.substr(colon + 1))) return std::string(wrong);
  auto host = text.substr(0, colon);
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  const sv bad = brackets ? "[] \t/" : "[]: \t/";
  return host.empty() || host.find_first_of(bad) != sv::npos ? std::string(wrong) : "";
}

std::string check_origin(sv text) {
  if (text == "*" || text == "same-host") return "";
  const auto host = text.starts_with("https://") ? text.substr(8) : text.starts_with("http://") ? text.substr(7) : sv{};
  if (!host.empty() && host.find_first_of("/?# \t@") == sv::npos) return "";
  return "is not an origin, such as \"https://app.example.com\", \"same-host\" or \"*\"";
}

std::string check_start(sv text) { return parse_start(text) ? "" : "is \"latest\", \"earliest\", or \"last\" and a number of at most 10000"; }

std::string check_start_of(sv text) {
  const auto at = text.rfind('=');
  if (at == sv::npos) return "is a channel, \"=\", and where its readers begin, such as \"topic:news=earliest\"";
  const auto who = address::parse(text.substr(0, at));
  if (!who || !who->is_channel()) return "names no channel: role:, group:, topic: with a name or *, or all";
  return check_start(text.substr(at + 1));
}

std::string check_topic_pattern(sv text) {
  auto made = segment_pattern::parse(text, '.');
  return made ? "" : made.error().what;
}

std::string check_topic(sv text) {
  constexpr sv allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const bool good = !text.empty() && text.size() <= 249 && text.find_first_not_of(allowed) == sv::npos;
  return good ? "" : "is not a Kafka name: 1 to 249 letters, digits, \".\", \"_\", \"-\"";
}

std::string check_name(sv text) { return text.empty() ? "" : check_topic(text); }

std::string check_database(sv text) {
  constexpr sv forbidden = "/\\. \"$*<>:|?";
  const bool good = !text.empty() && text.size() <= 63 && text.find_first_of(forbidden) == sv::npos;
  return good ? "" : "is not the name of a MongoDB database: 1 to 63 bytes without blanks and any of /\\.\"$*<>:|?";
}

std::string check_kafka_option(sv text) {
  // At-least-once rests on these, or an option of the source says them.
  constexpr std::array<sv, 16> ours{"enable.auto.commit",    "enable.auto.offset.store",
                                    "auto.offset.reset",     "bootstrap.servers",
                                    "metadata.broker.list",  "group.id",
                                    "group.instance.id",     "partition.assignment.strategy",
                                    "enable.idempotence",    "acks",
                                    "request.required.acks", "message.timeout.ms",
                                    "delivery.timeout.ms",   "queue.buffering.max.messages",
                                    "message.max.bytes",     "transactional.id"};
  const auto equals = text.find('=');
  if (equals == sv::npos || equals == 0) return "is not name=value";
  if (std::find(ours.begin(), ours.end(), text.substr(0, equals)) != ours.end())
    return "names " + std::string(text.substr(0, equals)) + ", which Doorstep sets itself";
  return "";
}

constexpr std::array<sv, 2> log_engines{"embedded", "kafka"};
constexpr std::array<sv, 2> store_engines{"sqlite", "mongodb"};
constexpr std::array<sv, 3> orders{"window", "strict", "latest"};
constexpr std::array<sv, 2> ack_scopes{"user", "device"};
constexpr std::array<sv, 2> overflows{"dead_letter_oldest", "reject_newest"};
constexpr std::array<sv, 2> record_formats{"cloudevents", "json"}, line_formats{"text", "json"};
constexpr std::array<sv, 2> route_matches{"first", "all"};
constexpr std::array<sv, 3> unmatched{"drop", "dead_letter", "fallback"};
constexpr std::array<sv, 5> log_levels{"debug", "info", "warn", "error", "off"};

constexpr option options[] = {
    text("http.listen", in<&c::http, &http_config::listen>, "Where clients connect, as host:port.", check_listen),
    texts("http.origins", in<&c::http, &http_config::origins>,
          "Web pages that may connect, by their Origin header; \"same-host\" is the host the page itself came from, \"*\" any. Clients without an "
          "Origin header are not browsers and always may.",
          check_origin),
    count("http.connections_max", in<&c::http, &http_config::connections_max>, 1, 1'000'000,
          "Connections open at a time; more are refused with 503."),
    size("http.header_bytes_max", in<&c::http, &http_config::header_bytes_max>, kib, mib, "Size of a request's head, the token in it included."),
    duration("http.request_timeout", in<&c::http, &http_config::request_timeout>, 10, 5 * minute, "How long a client may take to send a request."),

    text("internal.listen", in<&c::internal, &internal_config::listen>,
         "Where producers and operators connect: publishing, metrics, health, inspection. Keep it away from the internet.", check_listen),
    size("internal.body_bytes_max", in<&c::internal, &internal_config::body_bytes_max>, kib, gib,
         "Size of a request's body; more is answered with 413."),
    count("internal.batch_events_max", in<&c::internal, &internal_config::batch_events_max>, 1, 1'000'000,
          "Events in one batch; more is answered with 413."),
    duration("internal.append_timeout", in<&c::internal, &internal_config::append_timeout>, 10, 5 * minute,
             "How long a publisher waits for the log before it gets 503."),

    duration("ws.connect_timeout", in<&c::ws, &ws_config::connect_timeout>, 10, 5 * minute, "How long a new connection may take to say who it is."),
    duration("ws.ping_interval", in<&c::ws, &ws_config::ping_interval>, 10, hour, "A client that says nothing for this long is pinged."),
    duration("ws.pong_timeout", in<&c::ws, &ws_config::pong_timeout>, 10, 5 * minute,
             "How long a pinged client may take to answer before its connection is closed."),
    size("ws.frame_bytes_max", in<&c::ws, &ws_config::frame_bytes_max>, kib, 16 * mib, "Size of a frame from a client."),
    count("ws.frames_per_second_max", in<&c::ws, &ws_config::frames_per_second_max>, 1, 100'000,
          "Frames a second from one client, on average; bursts may be twice as many."),
    size("ws.write_queue_bytes_max", in<&c::ws, &ws_config::write_queue_bytes_max>, 4 * kib, gib,
         "What may wait for a client that reads slowly; beyond it the connection is closed and the messages stay in the mailbox."),
    boolean("ws.compression", in<&c::ws, &ws_config::compression>,
            "Compress frames (permessage-deflate): less traffic for more memory and CPU a connection."),

    count("delivery.window", in<&c::delivery, &delivery_config::window>, 1, 10'000,
          "Messages a user may have unacked; the next are pushed as acks arrive."),
    duration("delivery.ack_timeout", in<&c::delivery, &delivery_config::ack_timeout>, 10, day,
             "How long a client may take to ack before the message is pushed again."),
    duration("delivery.retry_base", in<&c::delivery, &delivery_config::retry_base>, 1, hour,
             "The n-th retry waits a random time of up to this times 2^n."),
    duration("delivery.retry_max", in<&c::delivery, &delivery_config::retry_max>, 1, day, "No retry waits longer than this."),
    duration("delivery.receipt_delay", in<&c::delivery, &delivery_config::receipt_delay>, 0, minute,
             "A receipt nobody asked for by id rides on the next push, at the latest after this."),
    duration("delivery.ack_linger", in<&c::delivery, &delivery_config::ack_linger>, 0, minute,
             "Acks without an id wait this long for others of the same user before they are written; what a crash takes of them is delivered again, "
             "flagged."),
    duration("delivery.passivate_after", in<&c::delivery, &delivery_config::passivate_after>, 10, day,
             "A mailbox without a session leaves memory after this long without news."),
    count("delivery.backlog_max", in<&c::delivery, &delivery_config::backlog_max>, 1, 100'000,
          "Messages a mailbox holds in memory beyond the window; further ones are read from the store when their turn comes."),
    choice(
        "delivery.order", in<&c::delivery, &delivery_config::order>, orders, {},
        "\"window\": a message that waits for its retry does not hold up those behind it. \"strict\": one in flight, and none is pushed before "
        "the one below it is acked or given up. \"latest\": a newer message takes the place of an unacked one with the same deliverykey, or type and "
        "subject where it has none; that is not at-least-once. A message may say otherwise for itself."),
    choice("delivery.ack_scope", in<&c::delivery, &delivery_config::ack_scope>, ack_scopes, {},
           "Whose an ack is: \"user\": the first one serves all devices of the user, the others are told. \"device\": each device, by the id it "
           "connects "
           "with, has to ack every message that comes from its first connection on; the first device of a user also what came before. It may be "
           "changed at any start."),
    duration("delivery.device_ttl", in<&c::delivery, &delivery_config::device_ttl>, hour, 3650 * day,
             "A device that has not been connected for so long is forgotten, with what it was still owed; the last one of a user leaves that to the "
             "next. At least twice delivery.passivate_after."),
    count("delivery.devices_max", in<&c::delivery, &delivery_config::devices_max>, 1, 1000,
          "Devices of one user; a further one is closed with 3505 until one is forgotten."),
    count("delivery.max_attempts", in<&c::delivery, &delivery_config::max_attempts>, 0, 65'535,
          "After how many nacks and ack timeouts a message goes to the dead letters; lost connections do not count. 0 = never: the browser answers "
          "pings for a page it has put to sleep, and such a page's messages must wait for it. Of channels it is at most 255."),
    duration(
        "delivery.ttl", in<&c::delivery, &delivery_config::ttl>, 0, 3650 * day,
        "How long after its append a message may still be pushed, unless its expirytime says otherwise; then it goes to the dead letters. 0 = for "
        "ever."),
    duration("delivery.expiry_interval", in<&c::delivery, &delivery_config::expiry_interval>, 100, day,
             "How often messages past their expirytime or ttl are looked for, also of users who are not there."),
    count("delivery.mailbox_messages_max", in<&c::delivery, &delivery_config::mailbox_messages_max>, 0, 1'000'000'000,
          "Unacked messages of one user; 0 = no limit. It is kept while the mailbox is in memory: what came meanwhile is judged when the user "
          "connects."),
    size("delivery.mailbox_bytes_max", in<&c::delivery, &delivery_config::mailbox_bytes_max>, 0, 1024 * gib,
         "The same in bytes of their events' attributes and data; 0 = no limit."),
    choice(
        "delivery.overflow", in<&c::delivery, &delivery_config::overflow>, overflows, {},
        "What goes to the dead letters then: \"dead_letter_oldest\" the oldest, pushed or not; \"reject_newest\" what comes, and what is owed stays. "
        "Of lower priority before of higher, as far as memory goes."),
    count("delivery.poison_attempts", in<&c::delivery, &delivery_config::poison_attempts>, 1, 100,
          "A message that makes its mailbox fail this often while it is alone in hand goes to the dead letters."),
    count("delivery.mailbox_restarts_max", in<&c::delivery, &delivery_config::mailbox_restarts_max>, 0, 1000,
          "How often one mailbox is started again within the window below before its shard is."),
    duration("delivery.mailbox_restart_window", in<&c::delivery, &delivery_config::mailbox_restart_window>, second, day,
             "The time in which those restarts are counted."),

    text("channels.start", in<&c::channels, &channels_config::start>,
         "Where somebody begins who has never read a channel: \"latest\" (only what comes from then on), \"earliest\", or \"last 20\".", check_start),
    texts("channels.starts", in<&c::channels, &channels_config::starts>,
          "The same for single channels or kinds of them, such as \"topic:news=earliest\" or \"role:*=last 20\"; the first that fits counts.",
          check_start_of),
    texts("channels.topics", in<&c::channels, &channels_config::topics>,
          "Names of topic: channels that every user may subscribe to; \"*\" stands for one part between dots, \"**\" at the end for all the rest.",
          check_topic_pattern),
    count("channels.replay_rate", in<&c::channels, &channels_config::replay_rate>, 0, 1'000'000,
          "Messages a second that a reader who is behind is sent from the store; 0 = no limit."),
    count("channels.recent_messages_max", in<&c::channels, &channels_config::recent_messages_max>, 64, 1'000'000,
          "Messages that a channel holds in memory for all its readers; who is further behind is read for from the store."),
    size("channels.recent_bytes_max", in<&c::channels, &channels_config::recent_bytes_max>, 64 * kib, gib, "The same in memory."),
    count("channels.session_topics_max", in<&c::channels, &channels_config::session_topics_max>, 1, 1000,
          "Topics that one session may subscribe to."),

    choice("log.engine", in<&c::log, &log_config::engine>, log_engines, {},
           "What keeps the mailbox log: \"embedded\" is a file beside the store, \"kafka\" a topic of its own."),
    count("log.shards", in<&c::log, &log_config::shards>, 1, 1024, "Into how many shards users are divided. Fixed at the first start."),
    count("log.queue_entries_max", in<&c::log, &log_config::queue_entries_max>, 1, 10'000'000,
          "Entries that may wait for the log; beyond it publishers get 429 and sources wait."),
    count("log.batch_entries_max", in<&c::log, &log_config::batch_entries_max>, 1, 100'000, "Entries made durable by one fsync, at most."),
    duration("log.linger", in<&c::log, &log_config::linger>, 0, 1000,
             "How long records of sources wait for company before a commit. Published events never do."),
    size("log.record_bytes_max", in<&c::log, &log_config::record_bytes_max>, kib, 64 * mib, "Size of one message in the log."),
    duration("log.dedup_window", in<&c::log, &log_config::dedup_window>, second, 30 * day,
             "The same event (source and id) again within this time is delivered once."),
    text("log.brokers", in<&c::log, &log_config::brokers>, "Kafka: the brokers of the log, as host:port, separated by commas."),
    text("log.topic", in<&c::log, &log_config::topic>,
         "Kafka: the topic of the log, one partition a shard. It is made when it is missing; nobody else may write to it.", check_topic),
    text("log.group", in<&c::log, &log_config::group>,
         "Kafka: the consumer group whose offsets show how far the store is, and say whose log the topic is. Nobody may join it.", check_topic),
    count("log.replication", in<&c::log, &log_config::replication>, 1, 32,
          "Kafka: copies of the log. With 1 a lost disk loses messages that were accepted; two must have a record before it counts as written."),
    count("log.generation", in<&c::log, &log_config::generation>, 0, 8191,
          "Kafka: raise it by one to begin anew with a topic that was deleted or truncated; seqs go on above all former ones."),
    duration(
        "log.outage_budget", in<&c::log, &log_config::outage_budget>, minute, 3650 * day,
        "Kafka: how long the store may be away before the topic's retention takes what it has not stored; the topic must keep at least that much."),
    size("log.fetch_min_bytes", in<&c::log, &log_config::fetch_min_bytes>, 1, 64 * mib,
         "Kafka: a broker answers the log's reader when it has this much, or after fetch_wait_max."),
    duration("log.fetch_wait_max", in<&c::log, &log_config::fetch_wait_max>, 0, 5 * minute,
             "Kafka: how long a broker may wait for fetch_min_bytes; less is lower latency for more CPU."),
    secret(texts("log.kafka_options", in<&c::log, &log_config::kafka_options>, "Kafka: further options of librdkafka, each as \"name=value\".",
                 check_kafka_option)),

    choice("store.engine", in<&c::store, &store_config::engine>, store_engines, {},
           "What keeps messages, cursors and dead letters: \"sqlite\" is one file, also the embedded log's; \"mongodb\" is a server."),
    text("store.path", in<&c::store, &store_config::path>, "The database file; its folder is made when it is missing.", check_present),
    secret(text("store.uri", in<&c::store, &store_config::uri>,
                "MongoDB's connection string; user, password and TLS are said in it: "
                "mongodb://user:p%40ss@host/?authSource=admin&tls=true&tlsCAFile=/etc/ca.pem. "
                "The timeouts below count, not those in it.")),
    text("store.uri_file", in<&c::store, &store_config::uri_file>, "A file with that string instead."),
    text("store.database", in<&c::store, &store_config::database>, "The database in MongoDB; one for each log.", check_database),
    count("store.connections_max", in<&c::store, &store_config::connections_max>, 2, 1000,
          "Connections to MongoDB, each with a thread: one writes, the others read."),
    duration("store.selection_timeout", in<&c::store, &store_config::selection_timeout>, 100, 10 * minute,
             "How long an operation waits until a MongoDB server that can take it is found; then it fails and is asked again."),
    duration("store.connect_timeout", in<&c::store, &store_config::connect_timeout>, 100, 10 * minute,
             "How long connecting to a MongoDB server may take."),
    duration("store.socket_timeout", in<&c::store, &store_config::socket_timeout>, 100, 10 * minute,
             "How long a MongoDB server may take to answer; a write that takes longer fails and is written again."),
    duration("store.commit_interval", in<&c::store, &store_config::commit_interval>, 1, 10 * second,
             "Changes of cursors are gathered for this long and written by one fsync."),
    duration("store.retention", in<&c::store, &store_config::retention>, 0, 3650 * day,
             "How long messages stay in a user's history after their append. What a mailbox is still owed stays longer, channels' messages do not; "
             "nothing goes before log.dedup_window is over. 0 = for ever."),
    duration("store.retention_interval", in<&c::store, &store_config::retention_interval>, 100, day,
             "How long after a look for messages past their retention the next one begins."),
    count(
        "store.backlog_messages_max", in<&c::store, &store_config::backlog_messages_max>, 1, 100'000'000,
        "Messages that are kept in memory for a store beside the log while it is away or slow, and delivered meanwhile. Beyond it publishers get 503 "
        "and sources are paused."),
    size("store.backlog_bytes_max", in<&c::store, &store_config::backlog_bytes_max>, mib, 64 * gib,
         "The memory those messages may take; what was on its way to a shard when it was reached comes on top."),
    size("store.cache_bytes", in<&c::store, &store_config::cache_bytes>, mib, 64 * gib, "Memory for the database's pages."),
    size("store.map_bytes", in<&c::store, &store_config::map_bytes>, 0, 2 * gib,
         "How much of the database file is read through a memory map, without a copy: the kernel's page cache, which it may take back. A page of it "
         "that the disk "
         "cannot read ends the process with code 74. 0 = none: then such a page fails only what needs it."),

    choice(
        "routing.match", in<&c::routing, &routing_config::match>, route_matches, {},
        "Whether an event goes by the first of [[routes]] that matches it, or by all that do. One address gets one message of an event, by the first "
        "rule that names it."),
    choice("routing.unmatched", in<&c::routing, &routing_config::unmatched>, unmatched, {},
           "What becomes of an event that no rule matches, where there are [[routes]]: it is dropped and counted, put among the dead letters, or "
           "sent to "
           "those of routing.fallback."),
    texts("routing.fallback", in<&c::routing, &routing_config::fallback>,
          "Who gets those events then, written as in a rule's \"to\"; \"touser\" are those whom the event names itself.", check_present),
    count("routing.recipients_max", in<&c::routing, &routing_config::recipients_max>, 1, 1'000'000,
          "Recipients of one event by rules; one with more is refused, or goes to the dead letters as malformed."),
    size("routing.text_bytes_max", in<&c::routing, &routing_config::text_bytes_max>, 64, 64 * kib,
         "Size of a title, body, link or icon that a rule renders; longer ones are cut."),
    count("routing.fan_out_step", in<&c::routing, &routing_config::fan_out_step>, 1, 1'000'000,
          "Messages made of one batch before other batches and publishers get their turn."),
    size("routing.fan_out_bytes", in<&c::routing, &routing_config::fan_out_bytes>, kib, gib,
         "Size of the messages made of one event before others get their turn; each of its messages has the whole event, as it is rendered."),
    duration("dead_letters.retention", in<&c::dead_letters, &dead_letters_config::retention>, 0, 3650 * day,
             "How long dead letters stay after they were given up, requeued ones too; looked for every store.retention_interval. One that a mirror "
             "is to have stays until "
             "it has it. 0 = for ever."),
    text("dead_letters.mirror_topic", in<&c::dead_letters, &dead_letters_config::mirror_topic>,
         "A Kafka topic that every dead letter is produced to as well, whole, with the id as its key and the reason in headers; what was kept before "
         "it was "
         "set goes there too. The topic must be there, or the brokers make it. Empty = none.",
         check_name),
    text("dead_letters.mirror_brokers", in<&c::dead_letters, &dead_letters_config::mirror_brokers>,
         "The brokers of that topic, as host:port, separated by commas. Empty = those of a log in Kafka, else of the first source, with their "
         "options."),
    secret(texts("dead_letters.mirror_kafka_options", in<&c::dead_letters, &dead_letters_config::mirror_kafka_options>,
                 "Further options of librdkafka for it, each as \"name=value\".", check_kafka_option)),
    count("dead_letters.mirror_batch_max", in<&c::dead_letters, &dead_letters_config::mirror_batch_max>, 1, 10'000,
          "Dead letters that are in memory at a time on their way to the mirror; the others wait in the store."),
    size("dead_letters.mirror_bytes_max", in<&c::dead_letters, &dead_letters_config::mirror_bytes_max>, 64 * kib, gib,
         "The memory those may take; one dead letter may be larger."),
    duration("dead_letters.mirror_interval", in<&c::dead_letters, &dead_letters_config::mirror_interval>, 10, hour,
             "How often dead letters that are not mirrored yet are looked for."),

    count("runtime.lanes", in<&c::runtime, &runtime_config::lanes>, 0, 256,
          "Threads that carry shards, mailboxes and sessions; 0 = half the cores, at least one."),
    count("runtime.workers", in<&c::runtime, &runtime_config::workers>, 1, 256, "Threads for everything that is not on a lane."),
    boolean("runtime.huge_pages", in<&c::runtime, &runtime_config::huge_pages>,
            "Keep the program's memory on huge pages (transparent ones, as madvise asks for): less CPU a message, some MiB more memory."),
    duration("runtime.drain_timeout", in<&c::runtime, &runtime_config::drain_timeout>, 100, hour, "How long a stop may take to flush and commit."),
    duration("runtime.reconnect_spread", in<&c::runtime, &runtime_config::reconnect_spread>, 0, hour,
             "At a stop clients are told to come back after a random part of this."),

    choice("logging.level", in<&c::logging, &log_output_config::level>, log_levels, {}, "The least level that is written to stderr."),
    choice("logging.format", in<&c::logging, &log_output_config::format>, line_formats, {}, "Lines for people, or one JSON object a line."),

    boolean("demo.enabled", in<&c::demo, &demo_config::enabled>, "Serve the demo page at /. Not for production."),

    text("sources.name", of_row<&source_config::name>,
         "What this source is called in metrics and in every record's origin; the first topic when empty. Never rename one: its replays would not be "
         "recognised.",
         check_name),
    text("sources.brokers", of_row<&source_config::brokers>, "Kafka's brokers, as host:port, separated by commas. Must be given."),
    texts("sources.topics", of_row<&source_config::topics>, "The topics to read. At least one must be given.", check_topic),
    text("sources.group", of_row<&source_config::group>, "The consumer group whose offsets say what is done.", check_present),
    choice("sources.format", of_row<&source_config::format>, record_formats, {},
           "What the records are: CloudEvents (binary or structured mode), or plain JSON, read with the pointers below."),
    text("sources.recipient_pointer", of_row<&source_config::recipient_pointer>,
         "JSON Pointer to the user (or a list of users) in the data, for records without touser.", check_pointer),
    boolean("sources.recipient_key", of_row<&source_config::recipient_key>, "Where nothing else names the user, the record's key does."),
    text("sources.id_pointer", of_row<&source_config::id_pointer>, "Plain JSON: where the event's id is; without one it is topic/partition/offset.",
         check_pointer),
    text("sources.type_pointer", of_row<&source_config::type_pointer>, "Plain JSON: where the event's type is.", check_pointer),
    text("sources.time_pointer", of_row<&source_config::time_pointer>, "Plain JSON: where the event's time is.", check_pointer),
    text("sources.subject_pointer", of_row<&source_config::subject_pointer>, "Plain JSON: where the event's subject is.", check_pointer),
    text("sources.data_pointer", of_row<&source_config::data_pointer>, "Plain JSON: which part is the event's data; without one it is the whole.",
         check_pointer),
    text("sources.type_default", of_row<&source_config::type_default>, "Plain JSON: the type of an event that says none.", check_present),
    count("sources.in_flight_max", of_row<&source_config::in_flight_max>, 1, 1'000'000,
          "Records of a partition that may be under way to the log; then the partition is paused."),
    size("sources.fetch_min_bytes", of_row<&source_config::fetch_min_bytes>, 1, 64 * mib,
         "A broker answers when it has this much, or after fetch_wait_max."),
    duration("sources.fetch_wait_max", of_row<&source_config::fetch_wait_max>, 0, 5 * minute,
             "How long a broker may wait for fetch_min_bytes; less is lower latency for more CPU."),
    duration("sources.commit_interval", of_row<&source_config::commit_interval>, 10, hour, "How often offsets are committed."),
    duration("sources.session_timeout", of_row<&source_config::session_timeout>, second, hour,
             "After this long without a sign of life the broker gives the partitions to another member."),
    text("sources.instance_id", of_row<&source_config::instance_id>,
         "Static membership: a member that comes back under this name within session_timeout gets its partitions without a rebalance.", check_name),
    secret(texts("sources.kafka_options", of_row<&source_config::kafka_options>, "Further options of librdkafka, each as \"name=value\".",
                 check_kafka_option)),
};

struct section_row {
  sv name, sentence;
};

constexpr section_row sections[] = {
    {"http", "The public port: clients."},
    {"internal", "The internal port: producers and operators."},
    {"ws", "WebSocket connections."},
    {"auth", "Who the clients are."},
    {"delivery", "Pushing, acks and retries."},
    {"channels", "Addresses with many readers: roles, groups, topics, everybody."},
    {"log", "The mailbox log, which every message goes through."},
    {"store", "What is owed, delivered and given up."},
    {"routing", "What holds for all routes: rules in [[routes]] blocks, which say who gets which events (docs/routes.md)."},
    {"dead_letters", "Records and messages that were given up."},
    {"runtime", "Threads and stopping."},
    {"logging", "Lines about what happens."},
    {"demo", "The demo page."},
    {"sources", "Kafka topics that events are read from; one block a source."},
};

}  // namespace

std::span<const option> all_options() {
  static const auto all = [] {
    std::vector<option> both(std::begin(options), std::end(options));
    const auto more = identity_options();
    both.insert(both.end(), more.begin(), more.end());
    return both;
  }();
  return all;
}

const option* find_option(sv name) {
  const auto all = all_options();
  const auto found = std::find_if(all.begin(), all.end(), [name](const option& x) { return x.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::vector<sv> option_sections() {
  std::vector<sv> out;
  for (const auto& x : sections) out.push_back(x.name);
  return out;
}

sv section_sentence(sv section) {
  for (const auto& x : sections) {
    if (x.name == section) return x.sentence;
  }
  return "";
}

}  // namespace doorstep
