// SPDX-License-Identifier: Apache-2.0
// The loop of one source: take what other threads asked for, hand over, set fetching right, commit, poll. Kafka topic -> here -> PARTITION actors.
// Our own position of each partition (`next`) is the only one that counts: after every pause and rewind librdkafka is told it again by a seek.
#include "storage/kafka_source.hpp"

#include "runtime/burst.hpp"
#include "runtime/log.hpp"
#include "runtime/threads.hpp"
#include "storage/kafka_loop.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

using std::chrono::steady_clock;

constexpr milliseconds idle_poll{200};
constexpr milliseconds retry_pause{250};
constexpr milliseconds broker_timeout{2000};
constexpr milliseconds last_commit_timeout{2000};
constexpr milliseconds gauge_interval{1000};
constexpr milliseconds gap_interval{10'000};

}  // namespace

// ---- any thread

void kafka_source::start(source_listener& listener) {
  listener_ = &listener;
  if (auto done = client_->subscribe(config_.topics); !done) {
    log_line(log_level::error, "source", "subscribe-failed").with("source", config_.name).with("why", done.error().detail);
  }
  thread_ = std::thread([this] {
    name_this_thread("kafka-" + name());
    run();
  });
}

void kafka_source::grant(const topic_partition& what, std::size_t records) {
  const std::lock_guard lock(mutex_);
  requests_[what].granted += records;
  if (std::exchange(wants_grants_, false)) client_->wake();
}

void kafka_source::commit(const topic_partition& what, std::int64_t next_offset) {
  const std::lock_guard lock(mutex_);
  auto& noted = requests_[what].committed;
  noted = std::max(noted, next_offset);
}

void kafka_source::rewind(const topic_partition& what, std::int64_t offset) {
  const std::lock_guard lock(mutex_);
  auto& back = requests_[what].rewind;
  back = back ? std::min(*back, offset) : offset;
  client_->wake();
}

std::vector<record_source::lag> kafka_source::lags() const {
  const std::lock_guard lock(mutex_);
  return lags_;
}

void kafka_source::stop() {
  if (!stopping_.exchange(true)) {
    const std::lock_guard lock(mutex_);
    if (client_) client_->wake();
  }
  if (thread_.joinable()) thread_.join();
}

// ---- the source's thread

void kafka_source::run() {
  while (!stopping_) {
    if (const auto why = client_->fatal_error()) {
      renew(*why);
      continue;
    }
    take_requests();
    hand_over();
    for (auto& [what, x] : partitions_) {
      set_fetching(x);
      explain_gap(x);
    }
    commit_if_due();
    probe();
    publish_lags();
    take_polled(*client_, poll_time(), [this](polled x) { take(std::move(x)); });
  }
  client_->close();  // calls losing(), which commits
}

/// librdkafka has given this client up: somebody else joined with our group.instance.id, or the broker came back and took our own late commit for a stranger's.
/// A new client joins in its place, not more often than once a session timeout, so that two processes with one name do not fight for every record.
void kafka_source::renew(const std::string& why) {
  const auto now = steady_clock::now();
  set_reachable(false, why);
  if (now < renew_due_) {
    std::this_thread::sleep_for(std::min(idle_poll, std::chrono::ceil<milliseconds>(renew_due_ - now)));
    return;
  }
  renew_due_ = now + config_.session_timeout;
  log_line(log_level::warn, "source", "client-renewed").with("source", config_.name).with("why", why);
  client_->close();
  std::vector<topic_partition> left;
  for (const auto& [what, x] : partitions_) left.push_back(what);
  losing(left, true);
  commit_under_way_ = false;
  auto next = kafka_client::make(config_, *this);
  if (!next) return;  // again after renew_due_; the same options were good before
  {
    const std::lock_guard lock(mutex_);
    client_ = std::move(*next);
  }
  if (const auto done = client_->subscribe(config_.topics); !done) set_reachable(false, done.error().detail);
}

void kafka_source::take_requests() {
  std::map<topic_partition, request> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(requests_);
  }
  const auto now = steady_clock::now();
  for (const auto& [what, wish] : taken) {
    const auto found = partitions_.find(what);
    if (found == partitions_.end()) continue;  // revoked meanwhile
    auto& x = found->second;
    if (wish.rewind) x.read_from(*wish.rewind);
    if (wish.granted > 0) x.intake.grant(wish.granted, now);
    // What was not read cannot be durable: such a commit is a late one, about an earlier assignment or a former topic of this name.
    if (wish.committed <= x.next) x.noted = std::max(x.noted, wish.committed);
  }
}

void kafka_source::hand_over() {
  const burst together;
  for (auto& [what, x] : partitions_) {
    if (!x.generation_kept || !x.intake.has_held() || !x.intake.has_credit()) continue;
    listener_->records({what, x.intake.hand_over()});
  }
}

void kafka_source::set_fetching(held_partition& x) {
  const auto now = steady_clock::now();
  const auto done = x.steer(*client_, now, now >= retry_due_);
  if (done) return;
  retry_due_ = now + retry_pause;
  log_line(log_level::debug, "source", "seek-failed")
      .with("topic", x.what.topic)
      .with("partition", x.what.partition)
      .with("why", done.error().detail);
}

/// The log starts again below our position: librdkafka went back to the earliest record because the broker no longer has what we asked for.
void kafka_source::begin_generation(held_partition& x, std::int64_t first) {
  log_line(log_level::error, "source", "topic-made-anew")
      .with("source", config_.name)
      .with("topic", x.what.topic)
      .with("partition", x.what.partition)
      .with("position", x.next)
      .with("first", first);
  listener_->revoked(x.what);
  {
    const std::lock_guard lock(mutex_);
    requests_.erase(x.what);  // they were about the former topic
  }
  const auto former = x.generation;
  const bool paused = x.paused;
  x = make_partition({x.what, -1, {}});
  x.generation = mint_generation(former);
  x.noted = x.next = first;
  x.paused = paused;
  listener_->assigned(x.what, x.generation, -1);
}

/// Offsets that did not come were compacted away or belonged to transactions, or retention removed what nobody had read: that must be told.
void kafka_source::explain_gap(held_partition& x) {
  const auto now = steady_clock::now();
  if (x.gap_from < 0 || now < gap_due_) return;
  gap_due_ = now + gap_interval;
  const auto range = client_->offsets_of(x.what, broker_timeout);
  if (!range) return;
  if (range->low > x.gap_from) {
    log_line(log_level::error, "source", "records-lost-to-retention")
        .with("source", config_.name)
        .with("topic", x.what.topic)
        .with("partition", x.what.partition)
        .with("from", x.gap_from)
        .with("to", std::min(range->low, x.next));
  }
  x.gap_from = -1;
}

void kafka_source::commit_if_due() {
  const auto now = steady_clock::now();
  if (commit_under_way_ && !finish_commit(milliseconds{0})) return;
  const bool generation_waits = std::any_of(partitions_.begin(), partitions_.end(), [](const auto& x) { return !x.second.generation_kept; });
  if (now < commit_due_ && !(generation_waits && now >= retry_due_)) return;
  commit_due_ = now + config_.commit_interval;
  send_commit();
}

void kafka_source::send_commit() {
  std::vector<group_offset> offsets;
  for (auto& [what, x] : partitions_) {
    if (x.noted <= x.sent) continue;
    x.sent = x.noted;
    offsets.push_back({what, x.noted, metadata_of(x.generation)});
  }
  if (offsets.empty()) return;
  client_->commit(offsets);
  commit_under_way_ = true;
}

/// @returns false while the outcome is not there.
bool kafka_source::finish_commit(milliseconds timeout) {
  const auto outcome = client_->commit_outcome(timeout);
  if (!outcome) return false;
  commit_under_way_ = false;
  if (*outcome) {
    for (auto& [what, x] : partitions_) {
      x.committed = x.sent;
      x.generation_kept = x.generation_kept || x.sent >= 0;
    }
  } else {
    for (auto& [what, x] : partitions_) x.sent = x.committed;  // the next one covers it
    retry_due_ = steady_clock::now() + retry_pause;
  }
  if (commits_fail_ == outcome->has_error()) return true;
  commits_fail_ = outcome->has_error();
  if (commits_fail_) {
    log_line(log_level::warn, "source", "commit-failed").with("source", config_.name).with("why", outcome->error().detail);
  } else {
    log_line(log_level::info, "source", "commits-again").with("source", config_.name);
  }
  return true;
}

void kafka_source::commit_before_losing() {
  if (commit_under_way_ && !finish_commit(last_commit_timeout)) return;
  send_commit();
  if (commit_under_way_) finish_commit(last_commit_timeout);
}

// ---- group membership

held_partition kafka_source::make_partition(const group_offset& from) const {
  held_partition out{{from.what, source_intake(config_.in_flight_max)}};
  const auto generation = generation_of(from.metadata);
  out.generation_kept = from.offset >= 0 && generation.has_value();
  out.generation = generation ? *generation : mint_generation(0);
  out.next = from.offset;
  if (out.generation_kept) {
    out.noted = out.sent = out.committed = from.offset;
  } else {
    out.noted = std::max<std::int64_t>(from.offset, 0);
  }
  const auto labelled = [&](const char* name, const char* help) {
    return metrics_.partition_gauge(name, help, config_.name, from.what.topic, from.what.partition);
  };
  out.lag = labelled("doorstep_source_lag_records", "Records of a source partition that are not committed yet.");
  out.credit = labelled("doorstep_source_credit_records", "Records of a source partition that may be handed over now.");
  return out;
}

void kafka_source::gained(std::vector<topic_partition> partitions) {
  std::vector<group_offset> from;
  while (!stopping_ && !partitions.empty()) {
    auto answer = client_->committed(partitions, broker_timeout);
    if (answer) {
      from = std::move(*answer);
      break;
    }
    set_reachable(false, answer.error().detail);
    std::this_thread::sleep_for(retry_pause);  // only where the broker refused at once; nothing is assigned yet, so nothing waits for this thread
  }
  client_->assign(from);
  missing_.clear();
  if (!from.empty()) set_reachable(true, {});
  log_line(log_level::info, "source", "partitions-assigned").with("source", config_.name).with("count", static_cast<std::uint64_t>(from.size()));
  for (const auto& x : from) {
    auto& made = partitions_.insert_or_assign(x.what, make_partition(x)).first->second;
    listener_->assigned(made.what, made.generation, x.offset);
  }
}

void kafka_source::losing(std::vector<topic_partition> partitions, bool taken) {
  take_requests();
  if (!taken) commit_before_losing();
  log_line(log_level::info, "source", "partitions-revoked")
      .with("source", config_.name)
      .with("count", static_cast<std::uint64_t>(partitions.size()))
      .with("lost", taken);
  last_found_ = nullptr;
  for (const auto& what : partitions) {
    const auto found = partitions_.find(what);
    if (found == partitions_.end()) continue;
    found->second.lag.set(0);
    found->second.credit.set(0);
    partitions_.erase(found);
    listener_->revoked(what);
  }
  lags_due_ = {};
}

// ---- polling

/// How long the thread may sleep. It is woken for grants only where they change something.
milliseconds kafka_source::poll_time() {
  if (stopping_) return milliseconds{0};
  bool wants_grants = false;
  auto out = idle_poll;
  for (const auto& [what, x] : partitions_) {
    wants_grants = wants_grants || x.paused || x.intake.has_held();
    if (x.paused && x.intake.has_credit()) out = std::min(out, source_intake::trickle_wait);
    if (x.misplaced || !x.generation_kept) out = std::min(out, milliseconds{20});
    if (x.noted > x.sent) out = std::min(out, config_.commit_interval);
  }
  const std::lock_guard lock(mutex_);
  if (wants_grants && !requests_.empty()) return milliseconds{0};
  wants_grants_ = wants_grants;
  return out;
}

void kafka_source::take(polled x) {
  switch (x.what) {
    case polled::kind::record: {
      auto* const to = find(x.topic, x.partition);
      if (to == nullptr || to->misplaced) return;
      set_reachable(true, {});
      if (x.record.offset < to->next) begin_generation(*to, x.record.offset);
      if (to->next >= 0 && x.record.offset > to->next && to->gap_from < 0) to->gap_from = to->next;
      to->next = x.record.offset + 1;
      to->intake.take(std::move(x.record));
      return;
    }
    case polled::kind::missing_topic:
      if (missing_.emplace(x.topic).second) {
        log_line(log_level::warn, "source", "topic-missing").with("source", config_.name).with("topic", x.topic).with("why", x.text);
      }
      return;
    case polled::kind::fault:
      if (x.text != last_fault_) log_line(log_level::warn, "source", "kafka-fault").with("source", config_.name).with("why", x.text);
      last_fault_ = x.text;
      return;
    case polled::kind::nothing: return;
  }
}

held_partition* kafka_source::find(std::string_view topic, std::int32_t partition) {
  if (last_found_ != nullptr && last_found_->what.partition == partition && last_found_->what.topic == topic) return last_found_;
  const auto found = partitions_.find({std::string(topic), partition});
  last_found_ = found == partitions_.end() ? nullptr : &found->second;
  return last_found_;
}

// ---- what is told outside

void kafka_source::trouble(bool down, const std::string& why) {
  if (!down) {
    brokers_.broke(why);
    log_line(log_level::debug, "source", "kafka-trouble").with("source", config_.name).with("why", why);
    return;
  }
  set_reachable(false, brokers_.why(why));
}

void kafka_source::ended(const std::string& why) { set_reachable(false, why); }  // run() sees it and makes a new client

void kafka_source::set_reachable(bool yes, const std::string& why) {
  if (yes != brokers_.there() && brokers_.set(yes, steady_clock::now())) listener_->reachable(yes, why);
}

void kafka_source::probe() {
  if (!brokers_.should_ask(steady_clock::now())) return;
  const bool there = client_->answers(milliseconds{500});
  const auto why = brokers_.why();
  if (brokers_.asked(there, steady_clock::now())) listener_->reachable(there, there ? std::string() : why);
}

void kafka_source::publish_lags() {
  const auto now = steady_clock::now();
  if (now < lags_due_) return;
  lags_due_ = now + gauge_interval;
  std::vector<lag> out;
  for (auto& [what, x] : partitions_) {
    const auto end = client_->known_end(what);
    out.push_back({what, x.committed, end});
    x.credit.set(static_cast<double>(x.intake.credit()));
    if (end >= 0) x.lag.set(static_cast<double>(std::max<std::int64_t>(end - std::max<std::int64_t>(x.committed, 0), 0)));
  }
  const std::lock_guard lock(mutex_);
  lags_ = std::move(out);
}

result<std::unique_ptr<record_source>> make_kafka_source(const source_config& config, metrics& counters) {
  auto out = std::make_unique<kafka_source>(config, counters);
  if (auto opened = out->open(); !opened) return std::move(opened).error();
  return std::unique_ptr<record_source>(std::move(out));
}

}  // namespace doorstep
