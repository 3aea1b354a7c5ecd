// SPDX-License-Identifier: Apache-2.0
// An entry that was not confirmed may have landed all the same: whoever appends it again makes a replay or a duplicate of it, which the readers recognise.
#include "storage/kafka_log_writer.hpp"

#include "runtime/log.hpp"
#include "runtime/test_points.hpp"
#include "runtime/threads.hpp"
#include "storage/log_topic.hpp"

#include <chrono>
#include <string>
#include <utility>

namespace doorstep {

namespace {

constexpr milliseconds report_poll{200};
constexpr milliseconds stop_patience{5'000};

failure stopping() { return {ec::stopping, "the log is stopped", {}}; }

kafka_settings producer_settings(const log_config& options) {
  auto out = log_client_settings(options);
  out.emplace_back("message.max.bytes", std::to_string(log_record_limit(options)));
  add_kafka_options(out, options.kafka_options);
  return out;
}

/// A record of a source must not hold up its partition, however large it became: what is left of it goes to the dead letters.
encoded_record too_large(const log_entry& entry, std::size_t bytes) {
  constexpr std::size_t kept_bytes_max = 4096;
  event what = *entry.what;
  what.data.clear();
  what.data_is_base64 = false;
  if (to_json(what).size() > kept_bytes_max) what.extensions.clear();
  const auto& from = *entry.came_from.from;
  what.extensions.emplace_back("origin", from.source);
  what.extensions.emplace_back("origintopic", from.topic);
  what.extensions.emplace_back("originpartition", std::to_string(from.partition));
  what.extensions.emplace_back("originoffset", std::to_string(entry.came_from.offset));
  log_entry dead;
  dead.to = address::dead_letters();
  dead.id = entry.id;
  dead.what = std::make_shared<const event>(std::move(what));
  dead.came_from = entry.came_from;
  dead.appended = entry.appended;
  dead.reason = dead_reason::malformed;
  dead.detail = "as a record of the log it has " + std::to_string(bytes) + " bytes, over twice log.record_bytes_max; it was for " +
                std::string(entry.to.text());
  return encode_log_record({std::move(dead)});
}

}  // namespace

struct kafka_log_writer::pending {
  append_done done;
  std::vector<appended> verdicts;
  std::vector<slot> slots;
  std::size_t left = 0;
  std::optional<failure> why;
};

kafka_log_writer::kafka_log_writer(const log_config& options, metrics& counts, log_ends& ends)
    : options_(options), counts_(counts), ends_(ends), record_limit_(log_record_limit(options)) {}
kafka_log_writer::~kafka_log_writer() { stop(); }

result<void> kafka_log_writer::open() {
  auto made = kafka_producer::make("log", producer_settings(options_), *this);
  if (!made) return std::move(made).error();
  producer_ = std::move(*made);
  counts_.log_queue_max.set(static_cast<double>(options_.queue_entries_max));
  return {};
}

void kafka_log_writer::start(std::uint32_t generation) {
  generation_ = generation;
  reporting_ = std::thread([this] {
    name_this_thread("log-reports");
    report_on();
  });
}

bool kafka_log_writer::append(std::vector<log_entry> entries, admission who, append_done done) {
  const auto count = entries.size();
  std::optional<failure> refused;
  std::shared_ptr<kafka_producer> producer;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_)
      refused = stopping();
    else if (who == admission::bounded && queued_ > 0 && queued_ + count > options_.queue_entries_max)
      return false;
    else if (broken_)
      refused = failure{ec::unavailable, "the log's producer begins anew", {}};
    else
      queued_ += count;
    producer = producer_;
  }
  if (refused || count == 0) {
    refused ? done(*refused) : done(std::vector<appended>{});
    return true;
  }
  counts_.log_queue.add(static_cast<double>(count));
  auto of = std::make_unique<pending>();
  of->done = std::move(done);
  of->verdicts.resize(count);
  of->slots.assign(count, {of.get()});
  of->left = count;
  std::vector<std::pair<std::uint32_t, encoded_record>> records;
  records.reserve(count);
  for (const auto& entry : entries) {
    auto record = encode_log_record({entry});
    auto shard = static_cast<std::uint32_t>(shard_of(entry.to, static_cast<std::uint32_t>(options_.shards)));
    if (const auto bytes = record.bytes(); bytes > record_limit_) {
      if (!entry.came_from.from) {
        of->why =
            failure{ec::too_large, "as a record of the log the event has " + std::to_string(bytes) + " bytes, over twice log.record_bytes_max", {}};
        break;
      }
      record = too_large(entry, bytes);
      shard = static_cast<std::uint32_t>(shard_of(address::dead_letters(), static_cast<std::uint32_t>(options_.shards)));
    }
    records.emplace_back(shard, std::move(record));
  }
  auto* const left = of.release();  // its reports free it
  if (left->why) {
    settle(*left, count);
    return true;
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto why = producer->produce(options_.topic, static_cast<std::int32_t>(records[i].first), records[i].second, &left->slots[i]);
    if (!why) continue;
    // Nothing after it may go first.
    {
      const std::lock_guard lock(mutex_);
      left->why = std::move(why);
    }
    settle(*left, count - i);
    break;
  }
  return true;
}

/// `count` entries of it are through, one way or the other.
void kafka_log_writer::settle(pending& of, std::size_t count) {
  const auto entries = of.slots.size();
  {
    const std::lock_guard lock(mutex_);
    of.left -= count;
    if (of.left > 0) return;
    queued_ -= entries;
  }
  const std::unique_ptr<pending> mine(&of);
  counts_.log_queue.add(-static_cast<double>(entries));
  if (mine->why) {
    counts_.append_failures.add(static_cast<double>(entries));
    mine->done(*mine->why);
  } else {
    counts_.appended.add(static_cast<double>(entries));
    crash_point("append-committed");
    mine->done(std::move(mine->verdicts));
  }
  const std::lock_guard lock(mutex_);
  settled_.notify_all();
}

void kafka_log_writer::delivered(void* tag, std::int32_t partition, const result<std::int64_t>& offset) {
  auto& one = *static_cast<slot*>(tag);
  auto& of = *one.of;
  const auto i = static_cast<std::size_t>(&one - of.slots.data());
  if (offset) {
    const auto at = static_cast<std::uint64_t>(*offset);
    ends_.raise(static_cast<std::uint32_t>(partition), at + 1);
    of.verdicts[i] = {verdict::appended, sequence::at(generation_, at)};
  } else {
    const std::lock_guard lock(mutex_);
    if (!of.why) of.why = offset.error();
  }
  settle(of, 1);
}

void kafka_log_writer::report_on() {
  for (;;) {
    producer_->poll(report_poll);  // only this thread changes producer_
    if (const auto why = producer_->fatal_error()) renew(*why);
    const std::lock_guard lock(mutex_);
    if (done_) return;
  }
}

/// librdkafka has given this producer up. All that it holds is reported as failed before a new one takes its place, so that nothing overtakes.
void kafka_log_writer::renew(const std::string& why) {
  log_line(log_level::error, "log", "producer-renewed").with("topic", options_.topic).with("why", why);
  {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  const auto empty = [this] {
    const std::lock_guard lock(mutex_);
    return queued_ == 0;
  };
  while (!empty()) {
    producer_->purge();
    producer_->poll(milliseconds{50});
  }
  auto next = kafka_producer::make("log", producer_settings(options_), *this);
  const std::lock_guard lock(mutex_);
  if (next) producer_ = std::move(*next);  // else again: the same settings were good before
  broken_ = !next;
}

std::size_t kafka_log_writer::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

void kafka_log_writer::stop() {
  const std::lock_guard only_one(joining_);
  if (!reporting_.joinable()) {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    return;
  }
  std::shared_ptr<kafka_producer> producer;
  {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    settled_.wait_for(lock, stop_patience, [this] { return queued_ == 0; });
    producer = producer_;
    if (queued_ > 0) {
      lock.unlock();
      log_line(log_level::warn, "log", "appends-given-up").with("topic", options_.topic).with("effect", "their callers are told that they failed");
      producer->purge();
      lock.lock();
      settled_.wait_for(lock, stop_patience, [this] { return queued_ == 0; });
    }
    done_ = true;
  }
  producer->wake();
  reporting_.join();
}

}  // namespace doorstep
