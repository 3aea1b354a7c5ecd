// SPDX-License-Identifier: Apache-2.0
// The loop: take what other threads asked for, hand over, set fetching right, mirror positions, poll. A consumer never sees what is above the high watermark, so
// what it brings is durable.
#include "storage/kafka_log_reader.hpp"

#include "runtime/burst.hpp"
#include "runtime/log.hpp"
#include "runtime/number_text.hpp"
#include "runtime/test_points.hpp"
#include "runtime/threads.hpp"
#include "storage/log_record.hpp"
#include "storage/log_topic.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t credit_max = 8192;  // what a SHARD grants
constexpr milliseconds idle_poll{200};
constexpr milliseconds retry_pause{250};
constexpr milliseconds broker_timeout{10'000};
constexpr milliseconds mirror_interval{5'000};
constexpr milliseconds last_commit_timeout{1'000};
constexpr std::string_view mark_prefix = "doorstep log=";

kafka_settings consumer_settings(const log_config& options) {
  auto out = log_client_settings(options);
  out.insert(out.end(), {{"group.id", options.group},
                         {"enable.auto.commit", "false"},
                         {"enable.auto.offset.store", "false"},
                         {"auto.offset.reset", "earliest"},  // where retention was faster than the store: told by the offsets that come
                         {"allow.auto.create.topics", "false"},
                         {"topic.metadata.refresh.interval.ms", "10000"},
                         {"fetch.min.bytes", std::to_string(options.fetch_min_bytes)},
                         {"fetch.wait.max.ms", std::to_string(options.fetch_wait_max.count())},
                         {"fetch.error.backoff.ms", "100"},
                         {"queued.max.messages.kbytes", "16384"},
                         {"message.max.bytes", std::to_string(log_record_limit(options))},
                         {"reconnect.backoff.max.ms", "2000"}});
  add_kafka_options(out, options.kafka_options);
  return out;
}

std::string part_of(std::uint32_t shard) { return "log shard " + std::to_string(shard); }

}  // namespace

std::string log_mark::text() const {
  return std::string(mark_prefix) + log_id + " generation=" + std::to_string(generation) + " shards=" + std::to_string(shards) + " store=" + store_id;
}

std::optional<log_mark> log_mark::parse(std::string_view text) {
  const auto next = [&](std::string_view name) -> std::optional<std::string_view> {
    if (!text.starts_with(name)) return std::nullopt;
    text.remove_prefix(name.size());
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    return word;
  };
  const auto log = next(mark_prefix), generation = next("generation="), shards = next("shards="), store = next("store=");
  if (!log || !generation || !shards || !store) return std::nullopt;
  const auto generation_number = number_in<std::uint32_t>(*generation), shard_count = number_in<std::uint32_t>(*shards);
  if (!generation_number || !shard_count) return std::nullopt;
  return log_mark{std::string(*log), *generation_number, *shard_count, std::string(*store)};
}

kafka_log_reader::kafka_log_reader(const log_config& options, metrics& counts, log_ends& ends)
    : options_(options), counts_(counts), ends_(ends), wishes_(options.shards) {
  for (const auto& what : partitions()) shards_.push_back({{what, source_intake(credit_max)}});
}

kafka_log_reader::~kafka_log_reader() { stop(); }

std::vector<topic_partition> kafka_log_reader::partitions() const {
  std::vector<topic_partition> out;
  for (std::size_t i = 0; i < options_.shards; ++i) out.push_back({options_.topic, static_cast<std::int32_t>(i)});
  return out;
}

// ---- the opening thread

result<void> kafka_log_reader::open() {
  auto made = kafka_client::make("log", consumer_settings(options_), *this);
  if (!made) return std::move(made).error();
  client_ = std::move(*made);
  return {};
}

result<std::optional<log_mark>> kafka_log_reader::mark() {
  const auto found = client_->committed(partitions(), broker_timeout);
  if (!found) return found.error();
  std::optional<log_mark> newest;
  for (const auto& x : *found)
    if (auto known = log_mark::parse(x.metadata); known && (!newest || known->generation > newest->generation)) newest = std::move(known);
  return newest;
}

result<void> kafka_log_reader::find_ends() {
  for (std::uint32_t i = 0; i < shards_.size(); ++i) {
    const auto range = client_->offsets_of(shards_[i].what, broker_timeout);
    if (!range) return range.error();
    ends_.raise(i, static_cast<std::uint64_t>(std::max<std::int64_t>(range->end, 0)));
  }
  return {};
}

result<void> kafka_log_reader::claim(const log_mark& mark, const std::vector<std::uint64_t>& stored) {
  mark_ = mark;
  for (std::size_t i = 0; i < shards_.size(); ++i) shards_[i].stored = shards_[i].mirrored = stored.at(i);
  return commit_marks(stored, broker_timeout);
}

result<void> kafka_log_reader::commit_marks(const std::vector<std::uint64_t>& offsets, milliseconds timeout) {
  std::vector<group_offset> all;
  for (std::size_t i = 0; i < shards_.size(); ++i) all.push_back({shards_[i].what, static_cast<std::int64_t>(offsets[i]), mark_.text()});
  client_->commit(all);
  auto outcome = client_->commit_outcome(timeout);
  if (!outcome) return failure{ec::unavailable, "the group " + options_.group + " (log.group) does not take offsets in time", "log.group"};
  return *outcome;
}

void kafka_log_reader::start() {
  thread_ = std::thread([this] {
    name_this_thread("log-reader");
    run();
  });
}

// ---- any thread

void kafka_log_reader::open_shard(std::uint32_t shard, std::uint64_t from, log_sink sink) {
  const std::lock_guard lock(mutex_);
  auto& x = wishes_[shard];
  x.sink = std::make_shared<const log_sink>(std::move(sink));
  x.from = from;
  x.granted = 0;
  client_->wake();
}

void kafka_log_reader::grant(std::uint32_t shard, std::size_t records) {
  const std::lock_guard lock(mutex_);
  if (!wishes_[shard].sink) return;
  wishes_[shard].granted += records;
  if (std::exchange(wants_grants_, false)) client_->wake();
}

void kafka_log_reader::close_shard(std::uint32_t shard) {
  const std::lock_guard lock(mutex_);
  wishes_[shard].sink = nullptr;
  wishes_[shard].granted = 0;
}

std::string kafka_log_reader::why_stopped(std::uint32_t shard) const {
  const std::lock_guard lock(mutex_);
  return wishes_[shard].why_stopped;
}

void kafka_log_reader::stored(std::uint32_t shard, std::uint64_t next_offset) {
  const std::lock_guard lock(mutex_);
  wishes_[shard].stored = std::max(wishes_[shard].stored, next_offset);
}

void kafka_log_reader::stop() {
  const std::lock_guard only_one(joining_);
  if (!stopping_.exchange(true)) {
    const std::lock_guard lock(mutex_);
    for (auto& x : wishes_) x.sink = nullptr;
    if (client_) client_->wake();
  }
  if (thread_.joinable()) thread_.join();
}

// ---- the reading thread

void kafka_log_reader::run() {
  std::vector<group_offset> from;
  for (auto& x : shards_) {
    from.push_back({x.what, 0, {}});
    x.paused = true;
  }
  client_->assign(from);
  for (const auto& x : shards_) client_->pause(x.what);
  while (!stopping_) {
    take_wishes();
    {
      const burst together;
      for (std::uint32_t i = 0; i < shards_.size(); ++i) hand_over(i);
    }
    steer();
    mirror();
    probe();
    take_polled(*client_, poll_time(), [this](polled x) { take(std::move(x)); });
  }
  take_wishes();
  std::vector<std::uint64_t> stored;
  for (const auto& x : shards_) stored.push_back(x.stored);
  // For lag tools only, so a broker that is away does not hold up the stop.
  if (brokers_.there() && (!commit_under_way_ || client_->commit_outcome(last_commit_timeout)))
    static_cast<void>(commit_marks(stored, last_commit_timeout));
  client_->close();
}

void kafka_log_reader::take_wishes() {
  const auto now = steady_clock::now();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto& wanted = wishes_[i];
    auto& x = shards_[i];
    if (x.sink != wanted.sink) {
      x.sink = wanted.sink;
      if (std::exchange(x.halted, false)) counts_.away.end(part_of(static_cast<std::uint32_t>(i)));
      wanted.why_stopped.clear();
      x.intake = source_intake(credit_max);
      x.read_from(static_cast<std::int64_t>(wanted.from));
    }
    if (const auto granted = std::exchange(wanted.granted, 0); granted > 0) x.intake.grant(granted, now);
    x.stored = std::max(x.stored, wanted.stored);
  }
}

void kafka_log_reader::hand_over(std::uint32_t shard) {
  auto& x = shards_[shard];
  if (!x.sink || x.halted || !x.intake.has_held() || !x.intake.has_credit()) return;
  auto records = x.intake.hand_over();
  log_batch batch{shard_id{shard}, {}, 0};
  batch.records.reserve(records.size());
  for (auto& record : records) {
    auto read_as = read(shard, record);
    if (!read_as) break;
    batch.records.push_back(std::move(*read_as));
    batch.next_offset = static_cast<std::uint64_t>(record.offset) + 1;
  }
  if (batch.records.empty()) return;
  ends_.raise(shard, batch.next_offset);
  {
    const std::lock_guard lock(mutex_);
    if (wishes_[shard].sink != x.sink) return;  // closed meanwhile
  }
  crash_point("handed-over");
  (*x.sink)(std::move(batch));
}

/// @returns none where the shard must stop.
std::optional<logged> kafka_log_reader::read(std::uint32_t shard, source_record& record) {
  const auto seq = sequence::at(mark_.generation, static_cast<std::uint64_t>(record.offset));
  auto found = decode_log_record(record);
  if (found && static_cast<std::uint32_t>(shard_of(found->entry.to, static_cast<std::uint32_t>(options_.shards))) != shard)
    found = failure{ec::malformed, "the address belongs to another shard", "ds-address"};
  if (!found && found.error().code == ec::unsupported) {
    halt(shard, record.offset, found.error().detail, "run that version, which reads on from here");
    return std::nullopt;
  }
  if (found) {
    auto& x = found->entry;
    return logged{std::make_shared<const message>(message{std::move(x.to), seq, std::move(x.id), std::move(x.what), x.appended, x.requeue,
                                                          x.came_from.from, x.came_from.offset, std::move(x.terms)}),
                  std::move(x.came_from), x.reason, std::move(x.detail)};
  }
  // Somebody else wrote into the topic: it is told where dead letters are, and holds up nobody.
  event what;
  what.id = options_.topic + "/" + std::to_string(shard) + "/" + std::to_string(record.offset) + "@" + std::to_string(mark_.generation);
  what.source = "kafka:" + options_.topic;
  what.type = "doorstep.dead-letter";
  what.extensions = {{"origintopic", options_.topic}, {"originpartition", std::to_string(shard)}, {"originoffset", std::to_string(record.offset)}};
  auto id = what.id;
  return logged{std::make_shared<const message>(
                    message{address::dead_letters(), seq, std::move(id), std::make_shared<const event>(std::move(what)), record.timestamp, 0}),
                {},
                dead_reason::malformed,
                "in the mailbox log: " + found.error().field + ": " + found.error().detail};
}

/// Nobody may guess: the shard reads no further, and everybody who asks is told.
void kafka_log_reader::halt(std::uint32_t shard, std::int64_t offset, const std::string& why, const std::string& action) {
  shards_[shard].halted = true;
  log_line(log_level::error, "log", "shard-stopped")
      .with("topic", options_.topic)
      .with("shard", shard)
      .with("offset", offset)
      .with("why", why)
      .with("action", action);
  counts_.away.begin(part_of(shard), "offset " + std::to_string(offset) + " of " + options_.topic + ": " + why,
                     "what is stored of its users is delivered, nothing new reaches them; " + action);
  const std::lock_guard lock(mutex_);
  wishes_[shard].why_stopped = why;
}

void kafka_log_reader::steer() {
  const auto now = steady_clock::now();
  for (auto& x : shards_) {
    if (!x.sink || x.halted) {
      if (!x.paused) client_->pause(x.what);
      x.paused = true;
      continue;
    }
    if (const auto done = x.steer(*client_, now, now >= retry_due_); !done) {
      retry_due_ = now + retry_pause;
      log_line(log_level::debug, "log", "seek-failed").with("shard", x.what.partition).with("why", done.error().detail);
    }
  }
}

/// Nobody reads these offsets but lag tools: the store's position counts.
void kafka_log_reader::mirror() {
  if (commit_under_way_) commit_under_way_ = !client_->commit_outcome(milliseconds{0}).has_value();
  const auto now = steady_clock::now();
  if (commit_under_way_ || now < mirror_due_) return;
  mirror_due_ = now + mirror_interval;
  std::vector<group_offset> changed;
  for (auto& x : shards_) {
    if (x.stored <= x.mirrored) continue;
    x.mirrored = x.stored;
    changed.push_back({x.what, static_cast<std::int64_t>(x.stored), mark_.text()});
  }
  if (changed.empty()) return;
  client_->commit(changed);
  commit_under_way_ = true;
}

milliseconds kafka_log_reader::poll_time() {
  if (stopping_) return milliseconds{0};
  bool wants_grants = false;
  auto out = idle_poll;
  for (const auto& x : shards_) {
    if (!x.sink || x.halted) continue;
    wants_grants = wants_grants || x.paused || x.intake.has_held();
    if (x.paused && x.intake.has_credit()) out = std::min(out, source_intake::trickle_wait);
    if (x.misplaced) out = std::min(out, milliseconds{20});
    if (x.intake.has_held() && x.intake.has_credit()) return milliseconds{0};
  }
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < shards_.size(); ++i)
    if (wishes_[i].sink != shards_[i].sink || (wants_grants && wishes_[i].granted > 0)) return milliseconds{0};
  wants_grants_ = wants_grants;
  return out;
}

void kafka_log_reader::take(polled x) {
  if (x.what == polled::kind::fault || x.what == polled::kind::missing_topic) {
    if (x.text != last_fault_) log_line(log_level::warn, "log", "kafka-fault").with("topic", options_.topic).with("why", x.text);
    last_fault_ = x.text;
    return;
  }
  auto& at = shards_.at(static_cast<std::size_t>(x.partition));
  if (!at.sink || at.halted || at.misplaced) return;
  set_reachable(true, {});
  if (x.record.offset < at.next) {
    halt(static_cast<std::uint32_t>(x.partition), x.record.offset,
         "the topic ends below " + std::to_string(at.next) + ", which was read of it: it was truncated or made anew",
         "start again and do what the start says");
    return;
  }
  if (x.record.offset > at.next)
    log_line(log_level::error, "log", "records-lost-to-retention")
        .with("topic", options_.topic)
        .with("shard", x.partition)
        .with("from", at.next)
        .with("to", x.record.offset);
  at.next = x.record.offset + 1;
  at.intake.take(std::move(x.record));
}

void kafka_log_reader::trouble(bool down, const std::string& why) {
  if (down)
    set_reachable(false, brokers_.why(why));
  else
    brokers_.broke(why);
}

void kafka_log_reader::ended(const std::string& why) { set_reachable(false, why); }

void kafka_log_reader::set_reachable(bool yes, const std::string& why) {
  if (yes != brokers_.there() && brokers_.set(yes, steady_clock::now())) tell_reachable(why);
}

void kafka_log_reader::probe() {
  if (!brokers_.should_ask(steady_clock::now())) return;
  const bool there = client_->answers(milliseconds{500});
  const auto why = brokers_.why();
  if (brokers_.asked(there, steady_clock::now())) tell_reachable(why);
}

void kafka_log_reader::tell_reachable(const std::string& why) {
  if (brokers_.there())
    counts_.away.end("log");
  else
    counts_.away.begin("log", options_.brokers + ": " + why,
                       "what is stored is delivered and acked; what is published waits in the queue, and is refused once that is full");
}

}  // namespace doorstep
