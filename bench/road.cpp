// SPDX-License-Identifier: Apache-2.0
// bench_road [rate] [mailboxes] [seconds]: CPU a message and wake-ups a message on the hot path log -> SHARD -> MAILBOX -> SESSION, with a log in
// memory and a sink that counts in the place of sockets. One batch of messages a millisecond, as Kafka's fetches come. Every eighth push is acked
// cumulatively, so that windows move; cursor writes go to a store that answers at once.
#include "actors/lane.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "actors/writer.hpp"
#include "runtime/huge_pages.hpp"
#include "runtime/log.hpp"

#include <caf/actor_registry.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>

#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

namespace {

using namespace doorstep;

/// Hands over what the bench makes; never on disk.
class bench_log final : public message_log {
public:
  std::uint32_t shard_count() const override { return 1; }
  std::uint32_t generation() const override { return 0; }
  bool append(std::vector<log_entry>, admission, append_done) override { return false; }
  void open_shard(shard_id, std::uint64_t, log_sink sink) override {
    sink_ = std::move(sink);
    open_ = true;
  }
  void grant(shard_id, std::size_t) override {}
  void close_shard(shard_id) override {}
  std::uint64_t end_offset(shard_id) const override { return 0; }
  std::size_t queued() const override { return 0; }
  std::size_t queue_max() const override { return 0; }
  void stop() override {}
  bool is_open() const { return open_; }
  void hand_over(log_batch batch) { sink_(std::move(batch)); }

private:
  log_sink sink_;
  std::atomic<bool> open_ = false;
};

/// Holds nothing; answers on the caller's thread.
class bench_store final : public message_store {
public:
  bool shares_log() const override { return true; }
  store_identity identity() const override { return {}; }
  std::vector<shard_position> positions() const override { return {}; }
  void write(store_batch, urgency, store_done<void> done) override { done({}); }
  void load(address user, std::size_t, store_done<stored_mailbox> done) override {
    done(stored_mailbox{{std::move(user), {}, {}, {}, 0, {}, {}}, {}, 0, {}});
  }
  void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) override { done(std::vector<cursor_record>(keys.size())); }
  void devices(address, store_done<std::vector<cursor_record>> done) override { done(std::vector<cursor_record>{}); }
  void read(address, sequence, std::size_t, store_done<stored_page> done) override { done(stored_page{}); }
  void locate(address, std::vector<sequence>, store_done<stored_places> done) override { done(stored_places{}); }
  void history(address, history_query, store_done<stored_history> done) override { done(stored_history{}); }
  void reap(reap_step, store_done<reaped> done) override { done(reaped{}); }
  void dead_letters(dead_letter_query, store_done<std::vector<dead_letter>> done) override { done(std::vector<dead_letter>{}); }
  void stop_reading() override {}
  void stop() override {}
};

/// A socket that counts, and acks cumulatively, once for eight messages, so that the window keeps moving.
class counting_sink final : public connection {
public:
  explicit counting_sink(std::atomic<std::uint64_t>& count) : count_(count) {}
  void send(const std::vector<server::event>&) override {}
  void push(const std::vector<server::push>& messages) override {
    count_.fetch_add(messages.size(), std::memory_order_relaxed);
    if ((unacked_ += messages.size()) < 8) return;
    unacked_ = 0;
    const auto& last = *messages.back().what;
    handler->commands({client::ack{0, {{last.to, last.seq}}, {}}});
  }
  void close(close_code, std::string, milliseconds) override {}
  std::string remote() const override { return "sink"; }
  std::shared_ptr<connection_handler> handler;

private:
  std::atomic<std::uint64_t>& count_;
  std::size_t unacked_ = 0;
};

struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", std::size_t{1});
  }
};

double cpu_seconds(int who) {
  rusage x{};
  getrusage(who, &x);
  return static_cast<double>(x.ru_utime.tv_sec + x.ru_stime.tv_sec) + 1e-6 * static_cast<double>(x.ru_utime.tv_usec + x.ru_stime.tv_usec);
}

}  // namespace

int main(int argc, char** argv) {
  const double rate = argc > 1 ? std::atof(argv[1]) : 20'000;
  const std::size_t boxes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 10'000;
  const int seconds = argc > 3 ? std::atoi(argv[3]) : 5;
  set_log_output("warn", "text");
  prefer_huge_pages();

  config options;
  metrics counts;
  bench_log log;
  bench_store store;
  const services parts{options, counts, log, store};
  system_config settings;
  caf::actor_system system(settings);
  loop where("lane-0");
  lane road(system, where);
  auto make_writer = &writer;
  auto make_shard = &shard;
  auto keeper = spawn_on(system, &road, make_writer, &parts);
  const std::vector<shard_actor> shards{spawn_on(system, &road, make_shard, &parts, shard_birth{shard_id{0}, 0, keeper})};
  caf::anon_send(shards[0], doorstep::alarm{});
  while (!log.is_open()) std::this_thread::yield();

  std::atomic<std::uint64_t> delivered = 0;
  std::vector<std::shared_ptr<counting_sink>> sinks;
  std::vector<address> users;
  for (std::size_t i = 0; i < boxes; ++i) {
    users.push_back(address::user("b" + std::to_string(i)).value());
    sinks.push_back(std::make_shared<counting_sink>(delivered));
    sinks.back()->handler = open_session(system, &road, &parts, sinks.back(), &shards).handler;
    sinks.back()->handler->connected({}, identity{std::string(users.back().id()), {}});
  }
  std::this_thread::sleep_for(std::chrono::seconds{1});

  const auto what = std::make_shared<event>();
  what->data = '"' + std::string(198, 'x') + '"';
  std::mt19937 random(1);
  std::uint64_t sent = 0;
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds(RUSAGE_SELF), own = cpu_seconds(RUSAGE_THREAD);
  const auto wakes = road.wakes();
  for (int ms = 1; ms <= seconds * 1000; ++ms) {
    log_batch batch;
    for (; static_cast<double>(sent) < ms * rate / 1000; ++sent) {
      auto m = std::make_shared<message>();
      m->to = users[random() % users.size()];
      m->seq = sequence::at(0, sent);
      m->id = "AAAAAAAAAAAAAAAAAAAAAA";
      m->what = what;
      m->appended = wall_now();
      batch.records.push_back({std::move(m), {}, {}, {}});
    }
    batch.next_offset = sent;
    log.hand_over(std::move(batch));
    std::this_thread::sleep_until(begin + milliseconds{ms});
  }
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (delivered < sent && std::chrono::steady_clock::now() < patience) std::this_thread::sleep_for(milliseconds{1});
  const auto messages = static_cast<double>(sent);
  const double made = cpu_seconds(RUSAGE_THREAD) - own;
  std::printf("%.0f/s, %zu mailboxes: %llu of %llu delivered, %.2f us CPU a message (%.2f more make the messages), %.3f wake-ups a message\n", rate,
              boxes, static_cast<unsigned long long>(delivered.load()), static_cast<unsigned long long>(sent),
              (cpu_seconds(RUSAGE_SELF) - cpu - made) * 1e6 / messages, made * 1e6 / messages, static_cast<double>(road.wakes() - wakes) / messages);
  const bool all = delivered == sent;
  std::fflush(stdout);
  std::_Exit(all ? 0 : 1);
}
