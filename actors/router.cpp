// SPDX-License-Identifier: Apache-2.0
#include "actors/router.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/recipients.hpp"

#include <caf/send.hpp>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <algorithm>
#include <utility>

namespace doorstep {

namespace {

/// How much of a record that is over log.record_bytes_max, or that cannot be understood, is kept with its dead letter.
constexpr std::size_t kept_bytes_max = 64 * 1024;

std::string as_json_string(std::string_view bytes) { return boost::json::serialize(boost::json::string(bytes.data(), bytes.size())); }

/// The record as far as it goes, addressed to the dead letters. Its position is its id, so a replay writes it once.
log_entry dead_entry(const route_records& batch, const source_record& record, const failure& why, unix_ms now) {
  auto what = std::make_shared<event>();
  // With the generation: a topic that is made anew starts at offset 0 again, and its records are other ones.
  what->id = batch.from->topic + "/" + std::to_string(batch.from->partition) + "/" + std::to_string(record.offset) + "@" +
             std::to_string(batch.from->generation);
  what->source = "kafka:" + batch.from->topic;
  what->type = "doorstep.dead-letter";
  // In the record itself, so that whoever reads it knows where it came from, whatever the log keeps of origins.
  what->extensions = {{"origin", batch.from->source},
                      {"origintopic", batch.from->topic},
                      {"originpartition", std::to_string(batch.from->partition)},
                      {"originoffset", std::to_string(record.offset)}};
  if (record.value) {
    // Bytes that are not UTF-8 would not be JSON: those are kept as base64 by the event.
    what->data = as_json_string(record.value->substr(0, kept_bytes_max));
    what->extensions.emplace_back("valuebytes", std::to_string(record.value->size()));
  }
  if (record.key) what->extensions.emplace_back("recordkey", record.key->substr(0, address::id_bytes_max));
  log_entry x;
  x.to = address::dead_letters();
  x.id = what->id;
  x.what = std::move(what);
  x.came_from = {batch.from, record.offset, batch.floor};
  x.appended = now;
  x.reason = dead_reason::malformed;
  x.detail = why.field.empty() ? why.detail : why.field + ": " + why.detail;
  return x;
}

void add_entries(const std::shared_ptr<const event>& what, const std::vector<address>& to, const std::shared_ptr<const delivery_terms>& terms,
                 const origin& from, unix_ms now, std::vector<log_entry>& entries) {
  for (const auto& who : to) {
    log_entry x;
    x.to = who;
    x.id = message_id(what->source, what->id, who);
    x.what = what;
    x.came_from = from;
    x.appended = now;
    x.terms = terms;
    entries.push_back(std::move(x));
  }
}

const source_config* source_named(const config& options, const std::string& name) {
  const auto found = std::find_if(options.sources.begin(), options.sources.end(), [&](const source_config& x) { return x.name == name; });
  return found == options.sources.end() ? nullptr : &*found;
}

std::vector<log_entry> entries_of(const route_records& batch, const services& parts) {
  const auto& source = *source_named(parts.options, batch.from->source);
  const auto now = wall_now();
  std::vector<log_entry> entries;
  entries.reserve(batch.records.size());
  std::size_t routed_count = 0, malformed = 0, nobody = 0;
  for (const auto& record : batch.records) {
    auto found = [&]() -> result<routed_event> {
      if (record.value && record.value->size() > parts.options.log.record_bytes_max)
        return failure{ec::too_large, "the record has " + std::to_string(record.value->size()) + " bytes, over log.record_bytes_max", {}};
      return route_record({batch.from->topic, batch.from->partition, record.offset, record.key, record.headers, record.value, record.timestamp,
                           batch.from->generation},
                          source);
    }();
    if (!found) {
      ++malformed;
      entries.push_back(dead_entry(batch, record, found.error(), now));
    } else if (found->to.empty()) {
      ++nobody;
    } else {
      ++routed_count;
      add_entries(found->what, found->to, found->terms, {batch.from, record.offset, batch.floor}, now, entries);
    }
  }
  parts.counts.records_routed.add(static_cast<double>(routed_count));
  parts.counts.records_malformed.add(static_cast<double>(malformed));
  parts.counts.records_no_recipient.add(static_cast<double>(nobody));
  return entries;
}

void route(router_self* self, const services& parts, const route_records& batch) {
  self->state.records += batch.records.size();
  auto answer = [to = caf::actor_cast<partition_actor>(self->current_sender()), run = batch.run, first = batch.records.front().offset,
                 last = batch.records.back().offset](const result<std::vector<appended>>& what) {
    caf::anon_send(to, routed{run, first, last, what.has_value(), what ? std::string{} : to_string(what.error())});
  };
  auto entries = entries_of(batch, parts);
  // Also an empty append goes through the log, so that answers keep the order of the batches.
  parts.log.append(std::move(entries), admission::credited, std::move(answer));
}

/// In a batch the field says which event.
failure of_batch(failure why, std::size_t index, std::size_t events) {
  if (events > 1) why.field = "[" + std::to_string(index) + "]." + why.field;
  return why;
}

void publish(router_self* self, const services& parts, const publish_events& x) {
  if (parts.backlog->is_full()) {
    x.done(failure{ec::unavailable, "the store is behind by as much as it may be (store.backlog_messages_max, store.backlog_bytes_max)", {}});
    return;
  }
  std::vector<log_entry> entries;
  std::vector<publish_outcome> outcomes;
  std::vector<std::size_t> recipients;
  const auto now = wall_now();
  for (std::size_t i = 0; i < x.events.size(); ++i) {
    auto to = recipients_of(x.events[i]);
    if (!to) {
      x.done(of_batch(to.error(), i, x.events.size()));
      return;
    }
    auto terms = delivery_terms_of(x.events[i]);
    if (!terms) {
      x.done(of_batch(terms.error(), i, x.events.size()));
      return;
    }
    auto what = std::make_shared<const event>(x.events[i]);
    add_entries(what, *to, *terms, {}, now, entries);
    outcomes.push_back({what->id, 0, 0});
    recipients.push_back(to->size());
  }
  self->state.published += x.events.size();
  parts.counts.published_in.add(static_cast<double>(x.events.size()));
  auto done = [tell = x.done, outcomes = std::move(outcomes), recipients = std::move(recipients)](result<std::vector<appended>> what) mutable {
    if (!what) {
      tell(what.error());
      return;
    }
    std::size_t next = 0;
    for (std::size_t i = 0; i < outcomes.size(); ++i)
      for (std::size_t n = 0; n < recipients[i]; ++n) ++((*what)[next++].what == verdict::appended ? outcomes[i].accepted : outcomes[i].duplicates);
    tell(std::move(outcomes));
  };
  if (!parts.log.append(std::move(entries), admission::bounded, std::move(done)))
    // With a log that works the publisher is too fast; with one that does not, nobody can be.
    x.done(failure{parts.counts.away.has("log") ? ec::unavailable : ec::queue_full, "the mailbox log's queue is full (log.queue_entries_max)", {}});
}

}  // namespace

router_actor::behavior_type router(router_self* self, const services* parts) {
  return {
      [=](const route_records& x) { route(self, *parts, x); },
      [=](const publish_events& x) { publish(self, *parts, x); },
      [=](look) -> actor_report {
        auto& state = self->state;
        actor_report x{"router", "0", {}, 0, self->mailbox().size(), state.age.now(), {}};
        x.numbers = {{"records", state.records},
                     {"published", state.published},
                     {"log_queue", parts->log.queued()},
                     {"log_queue_max", parts->log.queue_max()}};
        return x;
      },
  };
}

}  // namespace doorstep
