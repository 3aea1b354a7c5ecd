// SPDX-License-Identifier: Apache-2.0
// The metrics by name: one table a kind, from which the registry is filled and docs and alert rules take their names. Any thread.
#include "runtime/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>

namespace doorstep {

void counter::add(double n) const {
  if (impl != nullptr) impl->Increment(n);
}
double counter::value() const { return impl == nullptr ? 0 : impl->Value(); }

void gauge::set(double x) const {
  if (impl != nullptr) impl->Set(x);
}
void gauge::add(double n) const {
  if (impl != nullptr) impl->Increment(n);
}
double gauge::value() const { return impl == nullptr ? 0 : impl->Value(); }

void histogram::observe(std::chrono::nanoseconds x) const {
  if (impl != nullptr) impl->Observe(std::chrono::duration<double>(x).count());
}

namespace {

template <class T>
struct row {
  T metrics::*member;
  const char* name;
  const char* help;
};

using m = metrics;

constexpr row<counter> counters[] = {
    {&m::records_in, "doorstep_records_in_total", "Records read from the source topics."},
    {&m::records_routed, "doorstep_records_routed_total", "Records that became messages for at least one address."},
    {&m::records_no_recipient, "doorstep_records_no_recipient_total", "Records that name no recipient."},
    {&m::records_malformed, "doorstep_records_malformed_total", "Records that could not be understood and went to the dead letters."},
    {&m::unmatched, "doorstep_events_unmatched_total", "Records and published events that no route matches."},
    {&m::published_in, "doorstep_published_total", "Events taken over HTTP."},
    {&m::appended, "doorstep_messages_appended_total", "Messages that got a place in the mailbox log."},
    {&m::duplicates, "doorstep_messages_duplicate_total", "Messages dropped because the same event was there within the dedup window."},
    {&m::replays, "doorstep_messages_replayed_total", "Messages dropped because a restarted router had appended them before."},
    {&m::append_failures, "doorstep_append_failures_total", "Batches that the mailbox log could not make durable."},
    {&m::log_commits, "doorstep_log_commits_total", "Transactions of the mailbox log, each one fsync."},
    {&m::store_commits, "doorstep_store_commits_total", "Transactions of the store, each one fsync."},
    {&m::pushed, "doorstep_messages_pushed_total", "Pushes of messages to sessions."},
    {&m::redelivered, "doorstep_messages_redelivered_total", "Pushes that carried the flag redelivered."},
    {&m::acked, "doorstep_messages_acked_total", "Messages acked for the first time."},
    {&m::ack_repeats, "doorstep_ack_repeats_total", "Acks of messages that were acked before."},
    {&m::nacked, "doorstep_messages_nacked_total", "Messages that a client could not handle."},
    {&m::dead, "doorstep_messages_dead_total", "Messages and records put among the dead letters."},
    {&m::attempts_exhausted, "doorstep_messages_attempts_exhausted_total", "Dead letters: no ack in time, delivery.max_attempts times."},
    {&m::given_up_nacked, "doorstep_messages_given_up_nacked_total", "Dead letters: nacked as the last of delivery.max_attempts."},
    {&m::expired, "doorstep_messages_expired_total", "Dead letters: past their expirytime or delivery.ttl."},
    {&m::overflowed, "doorstep_messages_overflowed_total",
     "Dead letters: of a mailbox over delivery.mailbox_messages_max or delivery.mailbox_bytes_max."},
    {&m::poisoned, "doorstep_messages_poisoned_total", "Dead letters: they made their mailbox fail delivery.poison_attempts times."},
    {&m::superseded, "doorstep_messages_superseded_total", "Messages of order latest that a newer one of their key took the place of, unacked."},
    {&m::dead_requeued, "doorstep_dead_letters_requeued_total", "Dead letters taken back into their mailbox."},
    {&m::dead_purged, "doorstep_dead_letters_purged_total", "Dead letters deleted."},
    {&m::dead_mirrored, "doorstep_dead_letters_mirrored_total", "Dead letters that the mirror topic has, repeats included."},
    {&m::retained_out, "doorstep_messages_retention_removed_total", "Messages older than store.retention that no mailbox was owed, removed."},
    {&m::dead_retained_out, "doorstep_dead_letters_retention_removed_total", "Dead letters older than dead_letters.retention, removed."},
    {&m::log_retained_out, "doorstep_log_records_removed_total", "Records of the embedded log that the store beside it has, removed."},
    {&m::ack_timeouts, "doorstep_ack_timeouts_total", "Delivery rounds that ended without an ack."},
    {&m::frames_in, "doorstep_frames_in_total", "WebSocket frames read from clients."},
    {&m::frames_out, "doorstep_frames_out_total", "WebSocket frames written to clients."},
    {&m::bytes_out, "doorstep_bytes_out_total", "Payload bytes of the frames written to clients."},
    {&m::frames_refused, "doorstep_frames_refused_total", "Frames that were too large, too many or not the protocol."},
    {&m::sessions_opened, "doorstep_sessions_opened_total", "Sessions that showed a valid token."},
    {&m::sessions_closed, "doorstep_sessions_closed_total", "Sessions that ended."},
    {&m::sessions_refused, "doorstep_sessions_refused_total", "Connections refused before a session: limit, origin, deadline."},
    {&m::tokens_refused, "doorstep_tokens_refused_total", "Tokens that were not valid."},
    {&m::channel_pushed, "doorstep_channel_pushes_total", "Pushes of channel messages: one a message and session that was there."},
    {&m::channel_acked, "doorstep_channel_acks_total", "Messages of channels acked by a reader for the first time."},
    {&m::channel_redelivered, "doorstep_channel_redelivered_total", "Pushes of channel messages that may have been pushed to the reader before."},
    {&m::channel_gaps, "doorstep_channel_gaps_total", "Readers that were told of messages gone by retention."},
    {&m::channel_expired, "doorstep_channel_expired_total", "Messages of channels that a reader was not sent because they were past their time."},
    {&m::channel_dead, "doorstep_channel_dead_total", "Messages of channels that a reader failed too often: a dead letter of that user."},
    {&m::channel_reads, "doorstep_channel_reads_total", "Pages of channel messages read from the store for readers that are behind."},
    {&m::devices_registered, "doorstep_devices_registered_total", "Devices that got a cursor of their own."},
    {&m::devices_forgotten, "doorstep_devices_forgotten_total", "Devices not connected for delivery.device_ttl, forgotten."},
    {&m::devices_refused, "doorstep_devices_refused_total", "Connections of a device that would be one more than delivery.devices_max."},
    {&m::sessions_denied, "doorstep_sessions_denied_total",
     "Sessions refused or ended although their token is valid: deny list, connect hook, limits, an operator."},
    {&m::commands_forbidden, "doorstep_commands_forbidden_total",
     "Commands that named an address which is not the session's own; nothing was changed by them."},
    {&m::tickets_made, "doorstep_tickets_made_total", "One-time tickets handed out."},
    {&m::tickets_refused, "doorstep_tickets_refused_total", "Tickets that were used, too old, or never made."},
    {&m::jwks_fetches, "doorstep_jwks_fetches_total", "Fetches of auth.jwks_url."},
    {&m::jwks_failures, "doorstep_jwks_failures_total", "Fetches that brought no usable key; the keys before stay."},
    {&m::hook_asked, "doorstep_connect_hook_requests_total", "Questions to auth.hook_url."},
    {&m::hook_failures, "doorstep_connect_hook_failures_total", "Connections for which it gave no answer in time, or none that can be understood."},
    {&m::mailboxes_loaded, "doorstep_mailboxes_loaded_total", "Mailboxes brought into memory."},
    {&m::mailboxes_passivated, "doorstep_mailboxes_passivated_total", "Mailboxes put away because they were idle."},
    {&m::actor_restarts, "doorstep_actor_restarts_total", "Actors that died and were started again."},
    {&m::http_requests, "doorstep_http_requests_total", "HTTP requests on both ports."},
    {&m::http_refused, "doorstep_http_refused_total", "HTTP requests answered with 4xx or 5xx."},
};

constexpr row<gauge> gauges[] = {
    {&m::channels, "doorstep_channels", "Channels in memory."},
    {&m::channel_readers, "doorstep_channel_readers", "Readers of channels that are there, one a user and channel."},
    {&m::mailboxes, "doorstep_mailboxes", "Mailboxes in memory."},
    {&m::sessions, "doorstep_sessions", "Sessions that stand."},
    {&m::in_flight, "doorstep_messages_in_flight", "Messages pushed and not yet acked."},
    {&m::log_queue, "doorstep_log_queue_entries", "Entries that wait for the mailbox log."},
    {&m::log_queue_max, "doorstep_log_queue_entries_limit", "How many entries may wait for the mailbox log."},
    {&m::store_queue, "doorstep_store_queue_entries", "Changes that wait for the store."},
    {&m::connections, "doorstep_connections", "Open connections on the public port."},
    {&m::connections_max, "doorstep_connections_limit", "How many connections the public port takes."},
    {&m::dead_letters, "doorstep_dead_letters", "Dead letters kept."},
    {&m::store_backlog, "doorstep_store_backlog_messages", "Messages and dead letters in memory that the store does not have yet."},
    {&m::store_backlog_max, "doorstep_store_backlog_messages_limit", "How many of them there may be before intake pauses."},
    {&m::store_backlog_bytes, "doorstep_store_backlog_bytes", "The memory of those messages."},
    {&m::store_backlog_bytes_max, "doorstep_store_backlog_bytes_limit", "How much memory they may take before intake pauses."},
    {&m::ready, "doorstep_ready", "1 while the server takes work, else 0."},
    {&m::started_after_crash, "doorstep_started_after_crash", "1 where the process before this one did not stop cleanly, else 0."},
};

constexpr row<histogram> histograms[] = {
    {&m::publish_to_push, "doorstep_publish_to_push_seconds", "From the append to the first push."},
    {&m::push_to_ack, "doorstep_push_to_ack_seconds", "From a push to its ack."},
    {&m::commit_time, "doorstep_commit_seconds", "How long one transaction of the log took."},
};

const prometheus::Histogram::BucketBoundaries buckets{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                      0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};

}  // namespace

struct metrics::impl {
  prometheus::Registry registry;
  std::mutex mutex;
  std::map<std::string, prometheus::Family<prometheus::Gauge>*> labelled;
  prometheus::Family<prometheus::Counter>*route_matches = nullptr, *route_messages = nullptr;

  gauge labelled_gauge(const std::string& name, const std::string& help, const prometheus::Labels& labels) {
    const std::lock_guard lock(mutex);
    auto& family = labelled[name];
    if (family == nullptr) family = &prometheus::BuildGauge().Name(name).Help(help).Register(registry);
    gauge out;
    out.impl = &family->Add(labels);  // the same labels give the same gauge
    return out;
  }
};

metrics::metrics()
    : away([this](const std::string& part, bool is_away) {
        impl_->labelled_gauge("doorstep_outage", "1 while a part does not work, else 0.", {{"part", part}}).set(is_away ? 1 : 0);
      }),
      impl_(std::make_unique<impl>()) {
  auto& registry = impl_->registry;
  for (const auto& x : counters) (this->*x.member).impl = &prometheus::BuildCounter().Name(x.name).Help(x.help).Register(registry).Add({});
  for (const auto& x : gauges) (this->*x.member).impl = &prometheus::BuildGauge().Name(x.name).Help(x.help).Register(registry).Add({});
  for (const auto& x : histograms) {
    (this->*x.member).impl = &prometheus::BuildHistogram().Name(x.name).Help(x.help).Register(registry).Add({}, buckets);
  }
}

metrics::~metrics() = default;

gauge metrics::partition_gauge(const std::string& name, const std::string& help, const std::string& source, const std::string& topic, int partition) {
  return impl_->labelled_gauge(name, help, {{"source", source}, {"topic", topic}, {"partition", std::to_string(partition)}});
}

metrics::route_counters metrics::of_route(const std::string& rule) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->route_matches == nullptr) {
    const auto family = [&](const char* name, const char* help) {
      return &prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
    };
    impl_->route_matches = family("doorstep_route_matches_total", "Records and published events that a route matches, by its name.");
    impl_->route_messages = family("doorstep_route_messages_total", "Messages that a route addressed, by its name: one a user or channel.");
  }
  route_counters out;
  out.matches.impl = &impl_->route_matches->Add({{"route", rule}});
  out.messages.impl = &impl_->route_messages->Add({{"route", rule}});
  return out;
}

void metrics::forget_route(const std::string& rule) {
  const auto known = of_route(rule);
  const std::lock_guard lock(impl_->mutex);
  impl_->route_matches->Remove(static_cast<prometheus::Counter*>(known.matches.impl));
  impl_->route_messages->Remove(static_cast<prometheus::Counter*>(known.messages.impl));
}

gauge metrics::shard_gauge(const std::string& name, const std::string& help, unsigned shard) {
  return impl_->labelled_gauge(name, help, {{"shard", std::to_string(shard)}});
}

std::string metrics::text() const { return prometheus::TextSerializer().Serialize(impl_->registry.Collect()); }

}  // namespace doorstep
