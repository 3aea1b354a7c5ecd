// SPDX-License-Identifier: Apache-2.0
#include "actors/fan_out.hpp"

#include "runtime/delivery_terms_json.hpp"
#include "runtime/digest.hpp"
#include "runtime/kept_record.hpp"
#include "runtime/recipients.hpp"
#include "runtime/utf8.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace doorstep {

namespace {

/// How much of a record that is over log.record_bytes_max, or that cannot be understood, is kept with its dead letter.
constexpr std::size_t kept_bytes_max = 64 * 1024;

std::string as_json_string(std::string_view bytes) { return boost::json::serialize(boost::json::string(bytes.data(), bytes.size())); }

record_view view_of(const route_records& batch, const source_record& x) {
  return {batch.from->topic, batch.from->partition, x.offset, x.key, x.headers, x.value, x.timestamp, batch.from->generation};
}

/// The record as far as it goes, addressed to the dead letters. Its position is its id, so a replay writes it once.
log_entry dead_entry(const route_records& batch, const source_record& record, dead_reason reason, std::string detail, unix_ms now) {
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
    // Bytes that are not UTF-8 would not be JSON.
    const auto kept = record.value->substr(0, kept_bytes_max);
    what->data_is_base64 = !is_utf8(kept);
    what->data = as_json_string(what->data_is_base64 ? base64(kept) : kept);
    what->extensions.emplace_back("valuebytes", std::to_string(record.value->size()));
  }
  if (auto kept = kept_record_text(view_of(batch, record)); !kept.empty()) what->extensions.emplace_back("recordkept", std::move(kept));
  if (record.key && is_utf8(*record.key)) what->extensions.emplace_back("recordkey", record.key->substr(0, address::id_bytes_max));
  log_entry x;
  x.to = address::dead_letters();
  x.id = what->id;
  x.what = std::move(what);
  x.came_from = {batch.from, record.offset, batch.floor};
  x.appended = now;
  x.reason = reason;
  x.detail = std::move(detail);
  return x;
}

std::string text_of(const failure& why) { return why.field.empty() ? why.detail : why.field + ": " + why.detail; }

constexpr std::string_view no_route = "no route matches";

const source_config* source_named(const config& options, const std::string& name) {
  const auto found = std::find_if(options.sources.begin(), options.sources.end(), [&](const source_config& x) { return x.name == name; });
  return found == options.sources.end() ? nullptr : &*found;
}

}  // namespace

void rule_book::use(route_table_ptr next, metrics& counts) {
  std::vector<metrics::route_counters> next_numbers;
  std::unordered_set<std::string_view> names;
  if (next) {
    for (const auto& rule : next->rules) {
      next_numbers.push_back(counts.of_route(rule.label));
      names.insert(rule.label);
    }
  }
  // Names come and go with reloads; those of the rules in force are all there ever are.
  if (table)
    for (const auto& rule : table->rules)
      if (names.insert(rule.label).second) counts.forget_route(rule.label);
  numbers = std::move(next_numbers);
  table = std::move(next);
}

void rule_book::count(const route_outcome& x) const {
  for (const auto rule : x.matched) numbers[rule].matches.add();
  // One after the other, as the rules made them.
  for (auto at = x.to.begin(); at != x.to.end();) {
    const auto rule = x.variants[at->variant].rule;
    const auto end = std::find_if(at, x.to.end(), [&](const route_delivery& y) { return x.variants[y.variant].rule != rule; });
    if (rule != route_variant::no_rule) numbers[rule].messages.add(static_cast<double>(end - at));
    at = end;
  }
}

void pending_deliveries::start(route_outcome&& what, origin from) {
  to_ = std::move(what.to);
  variants_ = std::move(what.variants);
  from_ = std::move(from);
  at_ = 0;
}

void pending_deliveries::start(route_variant&& what, std::vector<address>&& to, origin from) {
  to_.clear();
  for (auto& x : to) to_.push_back({std::move(x), 0});
  variants_.clear();
  variants_.push_back(std::move(what));
  from_ = std::move(from);
  at_ = 0;
}

void pending_deliveries::make_entries(std::size_t most, std::size_t bytes_most, unix_ms now, std::vector<log_entry>& out) {
  if (left() > 1) most = std::min(most, std::max<std::size_t>(1, bytes_most / (256 + variants_[to_[at_].variant].what->data.size())));
  for (const auto end = at_ + std::min(most, left()); at_ < end; ++at_) {
    auto& one = to_[at_];
    const auto& variant = variants_[one.variant];
    log_entry x;
    x.id = message_id(variant.what->source, variant.what->id, one.to);
    x.to = std::move(one.to);
    x.what = variant.what;
    x.came_from = from_;
    x.appended = now;
    x.terms = variant.terms;
    if (x.to.is_dead_letters()) {
      x.reason = dead_reason::no_route;
      x.detail = no_route;
    }
    out.push_back(std::move(x));
  }
}

batch_fan_out::batch_fan_out(route_records&& batch, const services& parts)
    : batch_(std::move(batch)), parts_(&parts), source_(source_named(parts.options, batch_.from->source)) {}

void batch_fan_out::take(const source_record& record, rule_book& rules, unix_ms now, std::vector<log_entry>& out) {
  const auto give_up = [&](const failure& why) {
    ++malformed_;
    out.push_back(dead_entry(batch_, record, dead_reason::malformed, text_of(why), now));
  };
  origin from{batch_.from, record.offset, batch_.floor};
  if (record.value && record.value->size() > parts_->options.log.record_bytes_max)
    return give_up({ec::too_large, "the record has " + std::to_string(record.value->size()) + " bytes, over log.record_bytes_max", {}});
  const auto view = view_of(batch_, record);
  if (!rules.table) {
    auto found = route_record(view, *source_);
    if (!found) return give_up(found.error());
    ++(found->to.empty() ? nobody_ : routed_);
    pending_.start({std::move(found->what), std::move(found->terms)}, std::move(found->to), std::move(from));
    return;
  }
  auto what = read_record(view, *source_);
  if (!what) return give_up(what.error());
  auto found = rules.evaluator.evaluate(*rules.table, {std::make_shared<const event>(std::move(*what)), view.topic, view.headers, &view, source_});
  if (!found) return give_up(found.error());
  rules.count(*found);
  if (found->unmatched()) {
    ++unmatched_;
    if (rules.table->unmatched == route_table::leftover::dead_letter)
      out.push_back(dead_entry(batch_, record, dead_reason::no_route, std::string(no_route), now));
  }
  ++(found->to.empty() ? nobody_ : routed_);
  pending_.start(std::move(*found), std::move(from));
}

bool batch_fan_out::step(rule_book& rules, std::size_t most, std::vector<log_entry>& out) {
  const auto now = wall_now();
  while (true) {
    pending_.make_entries(most - std::min(most, out.size()), parts_->options.routing.fan_out_bytes, now, out);
    if (pending_.left() > 0 || next_ == batch_.records.size() || out.size() >= most) break;
    take(batch_.records[next_++], rules, now, out);
  }
  parts_->counts.records_routed.add(static_cast<double>(std::exchange(routed_, 0)));
  parts_->counts.records_malformed.add(static_cast<double>(std::exchange(malformed_, 0)));
  parts_->counts.records_no_recipient.add(static_cast<double>(std::exchange(nobody_, 0)));
  parts_->counts.unmatched.add(static_cast<double>(std::exchange(unmatched_, 0)));
  return pending_.left() > 0 || next_ < batch_.records.size();
}

result<request_fan_out> request_fan_out::open(const publish_events& x, rule_book& rules, const services& parts) {
  request_fan_out out;
  out.step_bytes_ = parts.options.routing.fan_out_bytes;
  std::vector<header_view> headers;
  if (x.headers)
    for (const auto& one : *x.headers) headers.push_back({one.name, one.value});
  std::size_t unmatched = 0;
  for (std::size_t i = 0; i < x.events.size(); ++i) {
    const auto refuse = [&](failure why) {
      if (x.events.size() > 1) why.field = "[" + std::to_string(i) + "]" + (why.field.empty() ? "" : ".") + why.field;
      return why;
    };
    auto& item = out.items_.emplace_back();
    item.id = x.events[i].id;
    if (!rules.table) {
      auto to = recipients_of(x.events[i]);
      if (!to) return refuse(to.error());
      item.count = to->size();
      auto terms = delivery_terms_of(x.events[i]);
      if (!terms) return refuse(terms.error());
      item.pending.start({std::make_shared<const event>(x.events[i]), std::move(*terms)}, std::move(*to), {});
    } else {
      const auto what = std::make_shared<const event>(x.events[i]);
      auto found = rules.evaluator.evaluate(*rules.table, {what, {}, headers});
      if (!found) return refuse(found.error());
      rules.count(*found);
      item.unmatched = found->unmatched();
      if (item.unmatched) ++unmatched;
      if (item.unmatched && rules.table->unmatched == route_table::leftover::dead_letter) {
        item.dead = true;
        found->variants = {{what, nullptr}};
        found->to = {{address::dead_letters(), 0}};
      }
      item.count = found->to.size();
      item.pending.start(std::move(*found), {});
    }
    out.entries_ += item.count;
    if (out.entries_ > parts.log.queue_max())
      return refuse(
          {ec::too_large, "the events name more recipients together than log.queue_entries_max (" + std::to_string(parts.log.queue_max()) + ")", {}});
  }
  parts.counts.unmatched.add(static_cast<double>(unmatched));
  return out;
}

bool request_fan_out::step(rule_book&, std::size_t most, std::vector<log_entry>& out) {
  const auto now = wall_now();
  for (; next_ < items_.size(); ++next_) {
    auto& pending = items_[next_].pending;
    pending.make_entries(most - std::min(most, out.size()), step_bytes_, now, out);
    if (pending.left() > 0) return true;
  }
  return false;
}

std::vector<publish_outcome> request_fan_out::outcomes(const std::vector<appended>& verdicts) const {
  std::vector<publish_outcome> out;
  out.reserve(items_.size());
  std::size_t next = 0;
  for (const auto& x : items_) {
    publish_outcome one{x.id, 0, 0, x.unmatched};
    for (std::size_t n = 0; n < x.count; ++n) {
      const bool is_new = verdicts[next++].what == verdict::appended;
      if (!x.dead) ++(is_new ? one.accepted : one.duplicates);
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace doorstep
