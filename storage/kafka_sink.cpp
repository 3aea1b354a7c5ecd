// SPDX-License-Identifier: Apache-2.0
// No record has a time limit, so librdkafka tries for as long as it takes; and no idempotence, since a repeat does no harm and a producer that is not idempotent
// is never given up by librdkafka. What is under way is bounded by who produces.
#include "storage/kafka_sink.hpp"

#include "runtime/threads.hpp"
#include "storage/kafka_producer.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

using std::chrono::steady_clock;

constexpr milliseconds report_poll{200};
/// Something that waits for longer than this says that the brokers are away, whether librdkafka has noticed or not.
constexpr milliseconds patience{5'000};
constexpr std::int32_t any_partition = -1;

kafka_settings sink_settings(const kafka_sink_options& x) {
  kafka_settings out{{"bootstrap.servers", x.brokers},
                     {"client.id", "doorstep-mirror"},
                     {"enable.idempotence", "false"},
                     {"acks", "all"},
                     {"message.max.bytes", "134217728"}};
  add_kafka_options(out, x.kafka_options);
  return out;
}

class kafka_sink final : public record_sink, private producer_events {
public:
  kafka_sink(kafka_sink_options options, metrics& counts) : options_(std::move(options)), counts_(counts) {}
  ~kafka_sink() override { stop(); }

  result<void> open() {
    auto made = kafka_producer::make(options_.part, sink_settings(options_), *this);
    if (!made) return std::move(made).error();
    producer_ = std::move(*made);
    reporting_ = std::thread([this] {
      name_this_thread("mirror");
      report_on();
    });
    return {};
  }

  void produce(std::vector<encoded_record> records, std::function<void(record_outcomes)> done) override;
  void stop() override;

private:
  struct batch;
  struct slot {
    batch* of;
  };
  struct batch {
    std::vector<slot> slots;
    record_outcomes outcomes;
    std::size_t left = 0;
    std::function<void(record_outcomes)> done;
  };

  void delivered(void* tag, std::int32_t partition, const result<std::int64_t>& offset) override;
  void producer_trouble(bool down, const std::string& why) override;
  void settle(batch& of, std::size_t which, std::optional<failure> why);
  void report_on();
  void judge();

  const kafka_sink_options options_;
  metrics& counts_;
  std::unique_ptr<kafka_producer> producer_;
  std::thread reporting_;
  std::mutex joining_;

  mutable std::mutex mutex_;
  bool stopped_ = false, down_ = false;
  std::string last_trouble_ = "no answer in time";
  std::size_t under_way_ = 0;
  steady_time waits_since_{};  ///< of what is under way, since something was delivered last
};

void kafka_sink::produce(std::vector<encoded_record> records, std::function<void(record_outcomes)> done) {
  const auto count = records.size();
  {
    const std::unique_lock lock(mutex_);
    if (!stopped_) {
      if (under_way_ == 0) waits_since_ = steady_clock::now();
      under_way_ += count;
    } else {
      records.clear();
    }
  }
  if (records.empty()) return done(record_outcomes(count, failure{ec::stopping, options_.part + " is stopped", {}}));
  auto made = std::make_unique<batch>();
  made->slots.assign(count, {made.get()});
  made->outcomes.resize(count);
  made->left = count;
  made->done = std::move(done);
  auto* const all = made.release();  // its last report frees it
  for (std::size_t i = 0; i < count; ++i) {
    auto why = producer_->produce(options_.topic, any_partition, records[i], &all->slots[i]);
    if (why) settle(*all, i, std::move(why));  // with the last one the batch is gone, and so is the loop
  }
}

void kafka_sink::delivered(void* tag, std::int32_t, const result<std::int64_t>& offset) {
  auto& one = *static_cast<slot*>(tag);
  auto& of = *one.of;
  settle(of, static_cast<std::size_t>(&one - of.slots.data()), offset ? std::nullopt : std::optional(offset.error()));
}

void kafka_sink::settle(batch& of, std::size_t which, std::optional<failure> why) {
  const bool landed = !why;
  // A record that is too large says nothing of the brokers.
  const bool refused = why && why->code != ec::too_large && why->code != ec::stopping;
  const std::string text = refused ? why->detail : std::string();
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    --under_way_;
    if (landed) {
      waits_since_ = steady_clock::now();
      down_ = false;
    }
    of.outcomes[which] = std::move(why);
    last = --of.left == 0;
  }
  if (landed) counts_.away.end(options_.part);
  if (refused) counts_.away.begin(options_.part, options_.brokers + ": " + text, options_.effect, outages::effect_on::nobody);
  if (!last) return;
  const std::unique_ptr<batch> mine(&of);
  mine->done(std::move(mine->outcomes));
}

void kafka_sink::producer_trouble(bool down, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (down)
    down_ = true;
  else
    last_trouble_ = why;  // says more than the sentence that all brokers are down
}

/// Only what waits can tell: brokers that nobody needs may come and go.
void kafka_sink::judge() {
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    if (under_way_ == 0 || stopped_ || (!down_ && steady_clock::now() < waits_since_ + patience)) return;
    why = last_trouble_;
  }
  counts_.away.begin(options_.part, options_.brokers + ": " + why, options_.effect, outages::effect_on::nobody);
}

void kafka_sink::report_on() {
  for (;;) {
    producer_->poll(report_poll);
    judge();
    const std::lock_guard lock(mutex_);
    if (!stopped_) continue;
    if (under_way_ == 0) return;
    producer_->purge();  // again: somebody may have been about to produce
  }
}

void kafka_sink::stop() {
  const std::lock_guard only_one(joining_);
  if (!reporting_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  producer_->wake();
  reporting_.join();
}

}  // namespace

result<std::unique_ptr<record_sink>> make_kafka_sink(kafka_sink_options options, metrics& counts) {
  auto made = std::make_unique<kafka_sink>(std::move(options), counts);
  if (auto opened = made->open(); !opened) return opened.error();
  return std::unique_ptr<record_sink>(std::move(made));
}

}  // namespace doorstep
