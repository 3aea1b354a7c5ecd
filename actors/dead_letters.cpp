// SPDX-License-Identifier: Apache-2.0
#include "actors/dead_letters.hpp"

#include "actors/fan_out.hpp"
#include "actors/reports.hpp"
#include "runtime/kept_record.hpp"
#include "runtime/log.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>

namespace doorstep {

namespace {

using letters = std::vector<dead_letter>;
using found = std::function<void(result<letters>)>;

dead_letter_query query_of(const dead_letter_filter& x) {
  dead_letter_query q{x.after, x.limit};
  if (const auto to = address::user(x.user)) q.address = std::string(to->text());
  q.topic = x.topic;
  q.reason = x.reason;
  q.since = x.since;
  q.until = x.until;
  q.requeued_too = x.requeued_too;
  return q;
}

/// One after another, so that many ids are no crowd in the store's queue.
void find_by_id(const services& parts, std::shared_ptr<const std::vector<std::string>> ids, std::size_t at, letters so_far, found done) {
  if (at == ids->size()) return done(std::move(so_far));
  dead_letter_query q;
  q.id = (*ids)[at];
  parts.store.dead_letters(std::move(q), [=, &parts, so_far = std::move(so_far), done = std::move(done)](result<letters> one) mutable {
    if (!one) return done(one.error());
    if (one->empty()) return done(failure{ec::not_found, "there is no dead letter " + (*ids)[at], "id"});
    so_far.push_back(std::move(one->front()));
    find_by_id(parts, std::move(ids), at + 1, std::move(so_far), std::move(done));
  });
}

void find_letters(const services& parts, const dead_letter_filter& which, found done) {
  if (which.ids.empty()) return parts.store.dead_letters(query_of(which), std::move(done));
  find_by_id(parts, std::make_shared<const std::vector<std::string>>(which.ids), 0, {}, std::move(done));
}

void note(std::string_view what, const dead_letter_filter& which, std::size_t count) {
  auto line = log_line(log_level::info, "admin", what);
  line.with("count", count).with("ids", which.ids.size()).with("user", which.user).with("topic", which.topic);
  if (which.reason) line.with("reason", name(*which.reason));
}

std::string counted(std::string_view what, std::size_t count, std::string_view rest = {}) {
  return "{\"" + std::string(what) + "\":" + std::to_string(count) + std::string(rest) + "}";
}

bool is_message(const dead_letter& x) { return !x.to.empty() && !x.to.is_dead_letters() && x.what != nullptr; }

log_entry entry_of(const dead_letter& x) {
  log_entry e;
  e.to = x.to;
  e.id = x.id;
  e.what = x.what;
  e.appended = wall_now();
  e.requeue = x.requeue + 1;
  e.terms = x.terms;
  return e;
}

/// Who gets the record as it is read now.
result<pending_deliveries> read_again(const kept_record& record, const source_config& source, const route_table_ptr& rules) {
  pending_deliveries out;
  const auto view = record.view();
  if (!rules) {
    auto found = route_record(view, source);
    if (!found) return found.error();
    out.start({std::move(found->what), std::move(found->terms)}, std::move(found->to), {});
    return out;
  }
  auto what = read_record(view, source);
  if (!what) return what.error();
  auto found = route_evaluator().evaluate(*rules, {std::make_shared<const event>(std::move(*what)), view.topic, view.headers, &view, &source});
  if (!found) return found.error();
  out.start(std::move(*found), {});
  return out;
}

/// What a message, or a record that can be understood by now, is appended as. A record's entries have no requeue number: the same again is a duplicate.
/// @returns ec::unsupported, saying why there is nothing to append.
result<std::vector<log_entry>> entries_of(const dead_letter& x, const config& options, const route_table_ptr& rules) {
  if (is_message(x)) return std::vector<log_entry>{entry_of(x)};
  const auto record = kept_record::from(x);
  if (!record) return record.error();
  const auto source = std::find_if(options.sources.begin(), options.sources.end(), [&](const source_config& s) { return s.name == x.source; });
  if (source == options.sources.end()) return failure{ec::unsupported, "its source " + x.source + " is not configured any more", "id"};
  auto deliveries = read_again(*record, *source, rules);
  if (!deliveries) {
    const auto& why = deliveries.error();
    return failure{ec::unsupported, "it still cannot be understood: " + (why.field.empty() ? why.detail : why.field + ": " + why.detail), "id"};
  }
  if (deliveries->left() == 0) return failure{ec::unsupported, "nobody is to get it", "id"};
  std::vector<log_entry> out;
  deliveries->make_entries(deliveries->left(), SIZE_MAX, wall_now(), out);
  return out;
}

}  // namespace

void list_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done) {
  parts.store.dead_letters(query_of(which), [limit = which.limit, done = std::move(done)](result<letters> page) {
    page ? done(describe_dead_letters(*page, limit)) : done(page.error());
  });
}

void show_dead_letter(const services& parts, std::string id, inspection::answer done) {
  dead_letter_filter one;
  one.ids = {std::move(id)};
  find_letters(parts, one, [done = std::move(done)](result<letters> x) { x ? done(describe_dead_letter(x->front())) : done(x.error()); });
}

void requeue_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done) {
  which.requeued_too = false;
  find_letters(parts, which, [&parts, which, done = std::move(done)](result<letters> x) {
    if (!x) return done(x.error());
    std::vector<log_entry> entries;
    store_batch batch;
    std::size_t already = 0, records = 0;
    const auto rules = parts.routes->table();
    for (const auto& d : *x) {
      if (d.requeued) {
        ++already;
        continue;
      }
      auto made = entries_of(d, parts.options, rules);
      if (!made && which.ids.size() == 1) return done(made.error());
      if (!made) {
        ++records;
        continue;
      }
      entries.insert(entries.end(), std::make_move_iterator(made->begin()), std::make_move_iterator(made->end()));
      batch.dead_changes.push_back({d.id, d.requeue, dead_letter_change::to::requeued});
    }
    const auto rest = ",\"already_requeued\":" + std::to_string(already) + ",\"not_requeueable\":" + std::to_string(records) +
                      (which.ids.empty() && x->size() == which.limit ? ",\"more\":true" : ",\"more\":false");
    if (entries.empty()) return done(counted("requeued", 0, rest));
    auto carry_on = [&parts, which, rest, batch = std::move(batch), done](result<std::vector<appended>> placed) mutable {
      if (!placed) return done(placed.error());
      // A duplicate was appended by a former try: what is left to do is the row.
      const auto count = batch.dead_changes.size();
      parts.store.write(std::move(batch), urgency::now, [&parts, which, rest, count, done](result<void> written) {
        if (!written) return done(written.error());
        parts.counts.dead_requeued.add(static_cast<double>(count));
        note("dead-letters-requeued", which, count);
        done(counted("requeued", count, rest));
      });
    };
    if (!parts.log.append(std::move(entries), admission::bounded, std::move(carry_on)))
      done(failure{ec::queue_full, "the log's queue is full; nothing was requeued", {}});
  });
}

void purge_dead_letters(const services& parts, dead_letter_filter which, inspection::answer done) {
  which.requeued_too = false;
  find_letters(parts, which, [&parts, which, done = std::move(done)](result<letters> x) {
    if (!x) return done(x.error());
    store_batch batch;
    for (const auto& d : *x)
      if (!d.requeued) batch.dead_changes.push_back({d.id, d.requeue, dead_letter_change::to::purged});
    const auto count = batch.dead_changes.size();
    const std::string rest = which.ids.empty() && x->size() == which.limit ? ",\"more\":true" : ",\"more\":false";
    if (count == 0) return done(counted("purged", 0, rest));
    parts.store.write(std::move(batch), urgency::now, [&parts, which, rest, count, done](result<void> written) {
      if (!written) return done(written.error());
      parts.counts.dead_purged.add(static_cast<double>(count));
      note("dead-letters-purged", which, count);
      done(counted("purged", count, rest));
    });
  });
}

}  // namespace doorstep
