// SPDX-License-Identifier: Apache-2.0
// Every option, once: the struct the parts are built from. The table in options.cpp gives each its name, default, range and sentence,
// and from it come the parser, the environment names, conf/doorstep.toml and docs/configuration.md. Pure, any thread.
#pragma once

#include "runtime/error.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace doorstep {

using std::chrono::milliseconds;

struct http_config {
  std::string listen = "127.0.0.1:8000";
  std::vector<std::string> origins = {"same-host"};  ///< allowed Origin headers; "same-host" stands for the Host header's own, "*" for any
  std::size_t connections_max = 16384;               ///< within the 20,000 descriptors that many machines allow
  std::size_t header_bytes_max = 16 * 1024;
  milliseconds request_timeout{10'000};
  std::size_t connections_per_address_max = 0;  ///< 0 = no limit
  std::string tls_certificate, tls_key;         ///< PEM files; empty = plain TCP
};

struct internal_config {
  std::string listen = "127.0.0.1:9000";
  std::vector<std::string> api_keys;  ///< as runtime/api_key.hpp reads them
  std::string api_keys_file;          ///< one such key a line
  std::string tls_certificate, tls_key;
  std::string tls_client_ca;             ///< clients must show a certificate of one of these
  std::vector<std::string> tls_clients;  ///< "scopes name": whom a certificate's common name stands for
  std::size_t body_bytes_max = 4 * 1024 * 1024;
  std::size_t batch_events_max = 10000;
  milliseconds append_timeout{10'000};
};

struct ws_config {
  milliseconds connect_timeout{10'000};
  milliseconds ping_interval{25'000};
  milliseconds pong_timeout{10'000};
  std::size_t frame_bytes_max = 64 * 1024;
  std::size_t frames_per_second_max = 100;  ///< a client's, averaged over one second with a burst of twice as many
  std::size_t write_queue_bytes_max = 1024 * 1024;
  bool compression = false;
  std::size_t connections_per_user_max = 0;  ///< of all connections of a user together, as the next two; 0 = no limit
  std::size_t frames_per_second_per_user_max = 0;
  std::size_t bytes_per_second_per_user_max = 0;
};

struct auth_config {
  std::string hs256_secret;
  std::string hs256_secret_file;
  std::vector<std::string> keys;  ///< PEM, JWK or JWK set; load_config() adds the contents of key_files
  std::vector<std::string> key_files;
  std::string jwks_url;
  milliseconds jwks_refresh{10 * 60'000};
  milliseconds jwks_refresh_min{10'000};  ///< between two fetches, whatever tokens ask for
  milliseconds jwks_timeout{5'000};
  std::vector<std::string> algorithms = {"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"};
  std::vector<std::string> issuers, audiences;  ///< none = not looked at
  std::string user_claim = "sub";               ///< as the next three, a name or a JSON Pointer
  std::string roles_claim = "roles";
  std::string groups_claim = "groups";
  std::string topics_claim;  ///< empty = none
  milliseconds leeway{30'000};
  std::string cookie;  ///< its name; empty = no tokens from cookies
  milliseconds ticket_ttl{30'000};
  std::size_t tickets_max = 10'000;
  bool anonymous = false;
  std::vector<std::string> anonymous_roles;
  std::vector<std::string> deny;  ///< "user:x", "role:x", "group:x"
  std::string hook_url;           ///< empty = nobody is asked
  std::string hook_authorization;
  std::vector<std::string> hook_headers;
  milliseconds hook_timeout{2'000};
  milliseconds hook_cache_ttl{0};
  std::size_t hook_cache_max = 10'000;
  std::size_t hook_queue_max = 1'000;
  std::string hook_on_failure = "deny";

  /// Whether anybody at all could come in.
  bool knows_anybody() const {
    return anonymous || !hs256_secret.empty() || !keys.empty() || !key_files.empty() || !jwks_url.empty() || !hook_url.empty();
  }
};

struct delivery_config {
  std::size_t window = 32;
  milliseconds ack_timeout{30'000};
  milliseconds retry_base{1'000};
  milliseconds retry_max{60'000};
  milliseconds receipt_delay{3'000};  ///< receipts nobody asked for by id ride on the next push, at latest after this
  milliseconds ack_linger{2'000};     ///< how long acks without a request id wait for company before the cursor is written
  milliseconds passivate_after{60'000};
  std::size_t backlog_max = 256;   ///< messages a mailbox keeps in memory beyond the window before it reads them from the store instead
  std::string order = "window";    ///< or "strict": one in flight, or "latest": the newest of a key
  std::string ack_scope = "user";  ///< or "device": a cursor a device
  milliseconds device_ttl{std::chrono::hours{24 * 30}};
  std::size_t devices_max = 16;  ///< of one user
  std::size_t max_attempts = 0;  ///< 0 = never given up
  milliseconds ttl{0};           ///< 0 = none
  milliseconds expiry_interval{60'000};
  std::size_t mailbox_messages_max = 0;  ///< 0 = no limit
  std::size_t mailbox_bytes_max = 0;     ///< of attributes and data; 0 = no limit
  std::string overflow = "dead_letter_oldest";
  std::size_t poison_attempts = 3;
  std::size_t mailbox_restarts_max = 5;  ///< of one mailbox in mailbox_restart_window
  milliseconds mailbox_restart_window{60'000};
};

inline bool acks_by_device(const delivery_config& x) { return x.ack_scope == "device"; }

struct channels_config {
  std::string start = "latest";            ///< or "earliest", "last 20"
  std::vector<std::string> starts;         ///< "topic:news=earliest", "role:*=last 20": where it differs
  std::vector<std::string> topics;         ///< patterns of topic names that every user may subscribe to
  std::size_t replay_rate = 500;           ///< 0 = no limit
  std::size_t recent_messages_max = 1024;  ///< of each channel in memory
  std::size_t recent_bytes_max = 4 * 1024 * 1024;
  std::size_t session_topics_max = 64;
};

struct log_config {
  std::string engine = "embedded";  ///< or "kafka"
  std::size_t shards = 8;           ///< fixed at the first start
  std::size_t queue_entries_max = 65536;
  std::size_t batch_entries_max = 4096;  ///< entries of one transaction
  milliseconds linger{5};                ///< how long records of sources wait for company before a commit
  std::size_t record_bytes_max = 1024 * 1024;
  milliseconds dedup_window{24 * 3600 * 1000};
  // Kafka
  std::string brokers;
  std::string topic = "doorstep.mailbox";
  std::string group = "doorstep.mailbox";  ///< its offsets mirror the store's positions and say whose log it is
  std::size_t replication = 3;
  std::size_t generation = 0;  ///< part of every seq; the stored one counts where it is higher
  milliseconds outage_budget{7LL * 24 * 3600 * 1000};
  std::size_t fetch_min_bytes = 32768;
  milliseconds fetch_wait_max{5};
  std::vector<std::string> kafka_options;  ///< "name=value" handed to librdkafka as they are
};

struct store_config {
  std::string engine = "sqlite";
  std::string path = "data/doorstep.db";
  std::string uri, uri_file;  ///< MongoDB's; with passwords in it
  std::string database = "doorstep";
  std::size_t connections_max = 5;        ///< one writes, the others read
  milliseconds selection_timeout{5'000};  ///< how long an operation waits for a server to be found
  milliseconds connect_timeout{3'000};
  milliseconds socket_timeout{10'000};
  milliseconds commit_interval{20};
  milliseconds retention{std::chrono::hours{24 * 30}};  ///< 0 = for ever
  milliseconds retention_interval{10 * 60'000};
  std::size_t backlog_messages_max = 131'072;
  std::size_t backlog_bytes_max = 64 * 1024 * 1024;
  std::size_t cache_bytes = 64 * 1024 * 1024;
  std::size_t map_bytes = 1024 * 1024 * 1024;
};

struct dead_letters_config {
  milliseconds retention{std::chrono::hours{24 * 90}};  ///< 0 = for ever
  std::string mirror_topic;                             ///< empty = no mirror
  std::string mirror_brokers;                           ///< empty = the log's, or the first source's; filled in when the configuration is loaded
  std::vector<std::string> mirror_kafka_options;        ///< "name=value" handed to librdkafka as they are; filled in with the brokers
  std::size_t mirror_batch_max = 256;                   ///< dead letters read, produced and marked together
  std::size_t mirror_bytes_max = 4 * 1024 * 1024;
  milliseconds mirror_interval{1'000};
};

struct source_config {
  std::string name;  ///< defaults to the first topic; part of every record's origin, so do not rename
  std::string brokers;
  std::vector<std::string> topics;
  std::string group = "doorstep";
  std::string format = "cloudevents";  ///< or "json"
  std::string recipient_pointer;       ///< JSON Pointer into the data, where no touser says it
  bool recipient_key = true;           ///< else the record's key
  // plain JSON: where the event's attributes are; empty = none
  std::string id_pointer, type_pointer, time_pointer, subject_pointer, data_pointer;
  std::string type_default = "doorstep.record";
  std::size_t in_flight_max = 4096;  ///< records of a partition handed over and not yet durable
  std::size_t fetch_min_bytes = 32768;
  milliseconds fetch_wait_max{5};
  milliseconds commit_interval{1000};
  milliseconds session_timeout{10'000};
  std::string instance_id;                 ///< static membership: the same name takes its partitions back after a restart without a rebalance
  std::vector<std::string> kafka_options;  ///< "name=value" handed to librdkafka as they are
};

class route_table;

/// What holds for all of `[[routes]]`; without any of them nothing of it does, but fan_out_step.
struct routing_config {
  std::string match = "first";     ///< or "all"
  std::string unmatched = "drop";  ///< or "dead_letter", "fallback"
  std::vector<std::string> fallback;
  std::size_t recipients_max = 100'000;         ///< of one event
  std::size_t text_bytes_max = 4096;            ///< of a rendered text
  std::size_t fan_out_step = 1000;              ///< entries that are appended before others get their turn
  std::size_t fan_out_bytes = 4 * 1024 * 1024;  ///< and bytes, of one event: each entry has the whole of it
};

struct runtime_config {
  std::size_t lanes = 0;    ///< 0 = half the cores, at least one
  std::size_t workers = 1;  ///< threads of the scheduler for everything that is not on a lane
  milliseconds drain_timeout{10'000};
  bool huge_pages = true;                ///< where the system has them
  milliseconds reconnect_spread{5'000};  ///< clients are told to come back after a random part of this
};

struct log_output_config {
  std::string level = "info";
  std::string format = "text";  ///< or "json"
};

struct demo_config {
  bool enabled = false;
};

struct config {
  http_config http;
  internal_config internal;
  ws_config ws;
  auth_config auth;
  delivery_config delivery;
  channels_config channels;
  log_config log;
  store_config store;
  dead_letters_config dead_letters;
  runtime_config runtime;
  log_output_config logging;
  demo_config demo;
  routing_config routing;
  std::vector<source_config> sources;
  std::shared_ptr<const route_table> routes;  ///< null without `[[routes]]`
};

/// One `--set name=value` or a flag that stands for one, and where it came from for the error text.
struct override_value {
  std::string option;  ///< "http.listen"
  std::string value;
  std::string from;  ///< "--listen" or "DOORSTEP_HTTP__LISTEN"
};

/// Flags > environment > file > defaults. `file_text` is the TOML (empty = none), `file_name` only for errors.
/// @param environment NAME=VALUE pairs; those that start with DOORSTEP_ are options (DOORSTEP_HTTP__LISTEN = http.listen), others are ignored.
/// @returns ec::bad_config whose detail is "file:line:column: what" with the line and a caret under the place, ready to print.
result<config> load_config(std::string_view file_text, std::string_view file_name, const std::vector<std::string>& environment,
                           const std::vector<override_value>& flags);

/// Names of the options that differ, but those that a reload puts in force together with the rules.
std::vector<std::string> options_for_restart(const config& running, const config& wanted);

/// conf/doorstep.toml: every option, commented with its sentence, equal to the defaults.
std::string default_config_text();
/// docs/configuration.md.
std::string configuration_page();

/// "30s", "500ms", "5m", "24h", "7d" and sums such as "1h30m".
result<milliseconds> parse_duration(std::string_view text);
/// "64KiB", "1MiB", "2GiB", "4096" (bytes), also kB/MB/GB as powers of ten.
result<std::uint64_t> parse_size(std::string_view text);
std::string format_duration(milliseconds x);
std::string format_size(std::uint64_t bytes);

}  // namespace doorstep
