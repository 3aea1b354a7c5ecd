// SPDX-License-Identifier: Apache-2.0
// bench_backlog: a backlog for users who are away, and then they come, W9. Publishes over HTTP, says "stored", and reads from its input the pid of the server
// of now and when it was started (CLOCK_MONOTONIC in ns): whoever runs it kills and starts the server in between. Then one client connects as soon as it can,
// which is the time from start to first delivery; then all of them, until each message is acked. What connecting alone costs is measured after that. One thread.
#include "bench/client_pool.hpp"
#include "bench/endpoint.hpp"
#include "bench/http_publishers.hpp"
#include "bench/process_stat.hpp"
#include "bench/report.hpp"
#include "bench/statistics.hpp"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

struct backlog_options {
  bench::http_options http;
  bench::client_options clients;
  std::string listen = "127.0.0.1:8000", internal = "127.0.0.1:9000", json_file;
  int drain_seconds = 180;
  pid_t server = 0;
};

double cpu_of(const backlog_options& options) { return bench::sample_process(options.server).value_or(bench::process_sample{}).cpu; }

std::vector<std::uint32_t> store(const backlog_options& options, bench::report& out) {
  bench::histogram latency;
  bench::http_publishers publishers(options.http, latency);
  const auto begin = bench::now_ns();
  publishers.serve(3600 * second_ns);
  out.add("stored", "messages stored", static_cast<double>(publishers.counts().accepted), 0);
  out.add("stored_rate", "  of them a second", static_cast<double>(publishers.counts().accepted) * 1e9 / static_cast<double>(bench::now_ns() - begin),
          0);
  for (const auto& [what, count] : publishers.counts().complaints) out.spoil("publishing: " + what + " (" + std::to_string(count) + " times)");
  return publishers.sent();
}

/// One client tries until it is served. @returns when its first message came.
std::optional<std::int64_t> first_delivery(const backlog_options& options, bench::ledger& book, bench::histogram& latency) {
  auto one = options.clients;
  one.users = 1;
  for (const auto end = bench::now_ns() + 60 * second_ns; bench::now_ns() < end; ::usleep(1000)) {
    bench::client_pool client(one, book, latency);
    if (!client.connect_up_to(1)) continue;
    while (client.counts().messages == 0 && client.counts().closed == 0 && bench::now_ns() < end) client.serve(second_ns / 1000);
    if (client.counts().messages != 0) return bench::now_ns();
  }
  return std::nullopt;
}

void drain(const backlog_options& options, const std::vector<std::uint32_t>& sent, bench::ledger& book, bench::histogram& latency,
           bench::report& out) {
  std::uint64_t total = 0;
  for (const auto x : sent) total += x;
  const auto before = book.first;
  const double cpu = cpu_of(options), own = bench::sample_process(::getpid())->cpu;
  const auto begin = bench::now_ns();
  {
    bench::client_pool clients(options.clients, book, latency);
    if (!clients.connect_up_to(options.clients.users)) out.spoil("only " + std::to_string(clients.counts().live) + " clients connected");
    while (book.first < total && bench::now_ns() < begin + options.drain_seconds * second_ns) clients.serve(second_ns / 100);
    const auto end = bench::now_ns();
    clients.serve(3 * second_ns);  // delivery.ack_linger: the last acks are written
    const auto messages = static_cast<double>(book.first - before);
    const double elapsed = static_cast<double>(end - begin) / 1e9;
    out.add("cpu_us", "server CPU-us a message, connecting and acks included", (cpu_of(options) - cpu) * 1e6 / messages, 2);
    out.add("rate", "messages a second", messages / elapsed, 0);
    out.add("drain_s", "from the first connect to the last message, s", elapsed, 2);
    out.add("messages_frame", "messages a frame that holds any",
            messages / static_cast<double>(std::max<std::uint64_t>(1, clients.counts().message_frames)), 2);
    out.add("generator_cores", "generator, cores", (bench::sample_process(::getpid())->cpu - own) / (elapsed + 3), 3);
    if (clients.counts().closed != 0) out.spoil("connections were lost");
    for (const auto& [what, count] : clients.counts().complaints) out.note(what + " (" + std::to_string(count) + " times)");
  }
  out.add("lost", "lost", static_cast<double>(book.lost(sent)), 0);
  out.add("repeated", "repeated and flagged", static_cast<double>(book.repeated_flagged), 0);
  out.add("repeated_unflagged", "repeated without the flag", static_cast<double>(book.repeated_unflagged), 0);
  out.add("reordered", "reordered", static_cast<double>(book.reordered), 0);
  if (book.lost(sent) != 0) out.spoil("messages were lost, or did not come in time");
}

/// The same users once more, with nothing owed to them.
void connect_alone(const backlog_options& options, bench::ledger& book, bench::histogram& latency, bench::report& out) {
  ::sleep(2);
  const double cpu = cpu_of(options);
  bench::client_pool clients(options.clients, book, latency);
  if (!clients.connect_up_to(options.clients.users)) return out.note("not everybody could connect once more");
  clients.serve(second_ns);
  out.add("connect_us", "server CPU-us a connect with nothing owed", (cpu_of(options) - cpu) * 1e6 / static_cast<double>(options.clients.users), 1);
}

}  // namespace

int main(int argc, char** argv) {
  backlog_options options;
  CLI::App app("A backlog for users who are away, and then they come");
  app.add_option("--connect", options.listen, "host:port of the server's public port");
  app.add_option("--publish", options.internal, "host:port of its internal port");
  app.add_option("--secret", options.clients.secret, "the server's HS256 secret");
  app.add_option("--api-key", options.http.api_key, "a key of the server");
  app.add_option("--users", options.clients.users, "who is away");
  app.add_option("--backlog", options.http.events, "messages, to users by chance");
  app.add_option("--batch", options.http.batch, "events a request");
  app.add_option("--payload", options.http.payload_bytes, "bytes of data");
  app.add_option("--drain", options.drain_seconds, "seconds they may take");
  app.add_option("--json", options.json_file, "write the figures there too");
  options.http.events = 1'000'000;
  options.http.batch = 100;
  CLI11_PARSE(app, argc, argv);
  const auto listen = bench::endpoint_of(options.listen), internal = bench::endpoint_of(options.internal);
  options.clients.host = listen.host;
  options.clients.port = listen.port;
  options.http.host = internal.host;
  options.http.port = internal.port;
  options.http.users = options.clients.users;
  options.clients.run = options.http.run = static_cast<std::uint64_t>(bench::now_ns() / 1000);
  try {
    bench::report out;
    const auto sent = store(options, out);
    std::cout << "stored" << std::endl;
    std::int64_t started_ns = 0;
    if (!(std::cin >> options.server >> started_ns)) return 1;
    bench::ledger book(options.clients.users);
    bench::histogram latency;
    if (const auto first = first_delivery(options, book, latency))
      out.add("restart_ms", "from the start to the first delivery, ms", static_cast<double>(*first - started_ns) / 1e6, 0);
    else
      out.spoil("nothing was delivered within a minute");
    drain(options, sent, book, latency, out);
    connect_alone(options, book, latency, out);
    out.print(options.json_file);
    return out.is_void() ? 3 : 0;
  } catch (const std::exception& x) {
    std::fprintf(stderr, "backlog: %s\n", x.what());
    return 1;
  }
}
