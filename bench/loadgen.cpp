// SPDX-License-Identifier: Apache-2.0
// The load generator: connects N clients, publishes to them through Kafka in an open loop, and says what the server under test used a
// message. Two threads: this one serves all the sockets, the publisher's keeps the millisecond. Workloads: W1, W1b (--burst), W3, and
// the visits of bench/offline.py.
#include "bench/load.hpp"
#include "bench/process_stat.hpp"
#include "bench/report.hpp"
#include "bench/statistics.hpp"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <thread>

namespace {

using bench::client_pool;
using bench::look;
using bench::moment;
using bench::publisher;
using bench::report;

constexpr std::int64_t second_ns = 1'000'000'000;

struct load_options : bench::load {
  std::string workload = "W1";
  bool syscalls = false, no_acks = false;
};

void add_complaints(const client_pool& clients, report& out) {
  for (const auto& [what, count] : clients.counts().complaints) out.note(what + " (" + std::to_string(count) + " times)");
  if (clients.counts().closed != 0) out.spoil("connections were lost");
}

/// Connects everybody, in two parts so that memory a connection is a slope. @returns whether all are there.
bool connect_all(const load_options& options, client_pool& clients, report& out) {
  const std::size_t few = std::max<std::size_t>(1, options.clients.users / 10);
  bool there = clients.connect_up_to(few);
  clients.serve(second_ns / 2);
  const moment before = look(options.watched, clients.counts());
  there = there && clients.connect_up_to(options.clients.users);
  clients.serve(second_ns);
  const moment after = look(options.watched, clients.counts());
  if (there && options.clients.users > few) add_memory(before, few, after, options.clients.users, out);
  if (!there) out.spoil("only " + std::to_string(clients.counts().live) + " clients connected");
  return there;
}

/// What the server uses a second with nobody there: its consumer's fetches, mostly. Seconds of CPU a second.
double measure_alone(const load_options& options, client_pool& clients) {
  clients.serve(3 * second_ns);  // the consumer group has formed
  const moment from = look(options.watched, clients.counts());
  clients.serve(10 * second_ns);
  const moment to = look(options.watched, clients.counts());
  return (to.server.cpu - from.server.cpu) / (static_cast<double>(to.at_ns - from.at_ns) / 1e9);
}

/// W3: everybody connected, nothing happens.
void run_idle(const load_options& options, client_pool& clients, double alone, report& out) {
  clients.serve(options.warm_seconds * second_ns);
  const moment from = look(options.watched, clients.counts());
  clients.serve(options.seconds * second_ns);
  const moment to = look(options.watched, clients.counts());
  const double used = (to.server.cpu - from.server.cpu) / (static_cast<double>(to.at_ns - from.at_ns) / 1e9);
  out.add("idle_us_s_connection", "server CPU us/s a connection, net of alone", (used - alone) * 1e6 / static_cast<double>(options.clients.users), 3);
  out.add("alone_ms_s", "server CPU ms/s with nobody connected", alone * 1e3, 2);
  out.add("idle_ms_s", "server CPU ms/s with everybody connected", used * 1e3, 2);
  out.add("pings", "pings answered", static_cast<double>(clients.counts().pings), 0);
  judge_machine(from, to, out);
}

/// Everybody comes, acks what is there, and goes.
void run_visit(const load_options& options, client_pool& clients, report& out) {
  if (!clients.connect_up_to(options.clients.users)) out.spoil("only " + std::to_string(clients.counts().live) + " clients connected");
  clients.serve(options.seconds * second_ns);
  out.add("messages", "messages delivered", static_cast<double>(clients.counts().messages), 0);
}

bool wait_for(client_pool& clients, int seconds, const std::function<bool()>& done) {
  for (const std::int64_t end = bench::now_ns() + seconds * second_ns; !done() && bench::now_ns() < end;) clients.serve(second_ns / 100);
  return done();
}

void add_window(const moment& from, const moment& to, report& out) {
  const auto messages = static_cast<double>(to.messages - from.messages);
  out.add("messages", "messages delivered in the window", messages, 0);
  out.add("rate", "messages a second", messages / (static_cast<double>(to.at_ns - from.at_ns) / 1e9), 0);
  out.add("cpu_us", "server CPU-us a message", (to.server.cpu - from.server.cpu) * 1e6 / messages, 2);
  out.add("user_us", "  of it user", (to.server.user - from.server.user) * 1e6 / messages, 2);
  out.add("system_us", "  of it system", (to.server.system - from.server.system) * 1e6 / messages, 2);
  const auto with_messages = static_cast<double>(to.message_frames - from.message_frames);
  out.add("messages_frame", "messages a frame that holds any", messages / std::max(1.0, with_messages), 2);
  out.add("other_frames_message", "frames without one (receipts, pings) a message",
          (static_cast<double>(to.frames - from.frames) - with_messages) / messages, 2);
}

/// Counts system calls beside a load that goes on; not part of the window.
void add_syscalls(const load_options& options, client_pool& clients, report& out) {
  std::atomic<bool> done{false};
  std::optional<std::uint64_t> calls;
  std::string tool;
  const std::uint64_t before = clients.counts().messages;
  std::thread counter([&] {
    calls = bench::count_syscalls(options.watched.server, 2, tool);
    done = true;
  });
  const std::int64_t begin = bench::now_ns();
  while (!done) clients.serve(second_ns / 50);
  counter.join();
  // The tool attaches and ends within the time that was measured here: the rate of that time stands for its two seconds.
  const double rate = static_cast<double>(clients.counts().messages - before) / (static_cast<double>(bench::now_ns() - begin) / 1e9);
  if (calls) {
    out.add("syscalls_message", "syscalls a message (" + tool + ")", static_cast<double>(*calls) / 2 / rate, 2);
  } else {
    out.note("no syscalls counted: " + tool);
  }
}

void add_delivery(const client_pool& clients, const publisher& records, const bench::ledger& book, report& out) {
  const std::uint64_t lost = book.lost(records.sent());
  out.add("published", "published", static_cast<double>(records.published()), 0);
  out.add("lost", "lost", static_cast<double>(lost), 0);
  out.add("repeated", "repeated and flagged", static_cast<double>(book.repeated_flagged), 0);
  out.add("repeated_unflagged", "repeated without the flag", static_cast<double>(book.repeated_unflagged), 0);
  out.add("reordered", "reordered", static_cast<double>(book.reordered), 0);
  out.add("foreign", "messages of another run", static_cast<double>(clients.counts().foreign), 0);
  out.add("acks", "acks sent", static_cast<double>(clients.counts().acks), 0);
  out.add("receipts", "receipts", static_cast<double>(clients.counts().receipts), 0);
  out.add("latest_tick_ms", "the publisher's latest tick, ms late", static_cast<double>(records.latest_tick_ns()) / 1e6, 1);
  if (lost != 0) out.spoil("messages were lost, or did not come in time");
  if (records.failed() != 0) out.spoil("the broker did not take " + std::to_string(records.failed()) + " records");
}

/// W1 and W1b: Kafka -> users online.
void run_unicast(const load_options& options, client_pool& clients, bench::ledger& book, const bench::histogram& latency, report& out) {
  publisher records(options.records);
  records.prime();
  const auto primed = [&] { return records.primed() && book.first >= records.published(); };
  if (!wait_for(clients, 60, primed))
    out.spoil("priming: " + std::to_string(book.first) + " of " + std::to_string(records.published()) + " came in a minute");
  records.start();
  clients.serve(options.warm_seconds * second_ns);
  const std::int64_t begin = bench::now_ns();
  clients.measure(begin, begin + options.seconds * second_ns);
  const moment from = look(options.watched, clients.counts());
  clients.serve(options.seconds * second_ns);
  const moment to = look(options.watched, clients.counts());
  add_window(from, to, out);
  if (options.syscalls) add_syscalls(options, clients, out);
  std::thread stopper([&] { records.stop(); });
  clients.serve(second_ns / 5);
  stopper.join();
  wait_for(clients, options.drain_seconds, [&] { return book.first >= records.published() - records.failed(); });
  clients.serve(second_ns / 5);

  out.add("p50_ms", "latency p50, ms", latency.at(0.50) / 1000, 2);
  out.add("p99_ms", "latency p99, ms", latency.at(0.99) / 1000, 2);
  out.add("p999_ms", "latency p99.9, ms", latency.at(0.999) / 1000, 2);
  out.add("max_ms", "latency, the longest, ms", latency.largest() / 1000, 2);
  add_delivery(clients, records, book, out);
  judge_machine(from, to, out);
}

void add_options(CLI::App& app, load_options& x) {
  app.add_option("workload", x.workload, "W1 (unicast), W1b (the same in bursts of 10), W3 (idle), visit (come, ack what is there, go)")
      ->check(CLI::IsMember({"W1", "W1b", "W3", "visit"}));
  x.add_options(app);
  app.add_option("--first-user", x.clients.first_user, "the number of the first one, of a visit");
  app.add_option("--burst", x.records.burst, "messages to one user in a row");
  app.add_flag("--syscalls", x.syscalls, "count the server's system calls for two seconds after the window");
  app.add_flag("--token-in-frame", x.clients.token_in_frame, "send the token in the connect object, not in the upgrade request");
  app.add_flag("--no-acks", x.no_acks, "never ack");
}

}  // namespace

int main(int argc, char** argv) {
  load_options options;
  options.records.rate = 20000;
  CLI::App app("The load generator of the bench");
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  if (options.workload == "W1b" && options.records.burst == 1) options.records.burst = 10;
  options.settle();
  options.clients.acks = !options.no_acks;
  try {
    report out;
    bench::ledger book(options.clients.users);
    bench::histogram latency;
    client_pool clients(options.clients, book, latency);
    const double alone = options.workload == "W3" ? measure_alone(options, clients) : 0;
    if (options.workload == "visit") {
      run_visit(options, clients, out);
    } else if (connect_all(options, clients, out)) {
      if (options.workload == "W3") {
        run_idle(options, clients, alone, out);
      } else {
        run_unicast(options, clients, book, latency, out);
      }
    }
    add_complaints(clients, out);
    out.print(options.json_file);
    return out.is_void() ? 3 : 0;
  } catch (const std::exception& x) {
    std::fprintf(stderr, "loadgen: %s\n", x.what());
    return 1;
  }
}
