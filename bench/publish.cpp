// SPDX-License-Identifier: Apache-2.0
// bench_publish: durable publishing over HTTP, W7. N publishers, each with one request under way; says events a second, the time from request to answer, and
// what the server used an event. With --events it publishes so many and ends, as other workloads want them stored. One thread.
#include "bench/endpoint.hpp"
#include "bench/http_publishers.hpp"
#include "bench/process_stat.hpp"
#include "bench/report.hpp"
#include "bench/statistics.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

struct publish_options {
  bench::http_options http;
  std::string connect = "127.0.0.1:9000", json_file;
  int seconds = 15, warm_seconds = 3;
  pid_t server = 0;
};

struct moment {
  std::int64_t at_ns = bench::now_ns();
  bench::process_sample server;
  std::uint64_t accepted = 0;
};

moment look(const publish_options& options, const bench::http_publishers& publishers) {
  moment x;
  x.server = bench::sample_process(options.server).value_or(bench::process_sample{});
  x.accepted = publishers.counts().accepted;
  return x;
}

void add(const moment& from, const moment& to, bench::report& out) {
  const auto events = static_cast<double>(to.accepted - from.accepted);
  const double elapsed = static_cast<double>(to.at_ns - from.at_ns) / 1e9;
  out.add("events", "events accepted", events, 0);
  out.add("rate", "events a second", events / elapsed, 0);
  out.add("cpu_us", "server CPU-us an event", (to.server.cpu - from.server.cpu) * 1e6 / events, 2);
  out.add("user_us", "  of it user", (to.server.user - from.server.user) * 1e6 / events, 2);
  out.add("system_us", "  of it system", (to.server.system - from.server.system) * 1e6 / events, 2);
  out.add("server_cores", "server, cores", (to.server.cpu - from.server.cpu) / elapsed, 3);
}

}  // namespace

int main(int argc, char** argv) {
  publish_options options;
  CLI::App app("Publishes over HTTP and waits for each answer");
  app.add_option("--connect", options.connect, "host:port of the server's internal port");
  app.add_option("--api-key", options.http.api_key, "a key of the server");
  app.add_option("--publishers", options.http.publishers, "connections, each with one request under way");
  app.add_option("--batch", options.http.batch, "events a request");
  app.add_option("--users", options.http.users, "for whom");
  app.add_option("--first-user", options.http.first_user, "the number of the first one");
  app.add_option("--payload", options.http.payload_bytes, "bytes of data");
  app.add_flag("--in-turn", options.http.in_turn, "the users in turn instead of by chance");
  app.add_option("--events", options.http.events, "so many, instead of so long");
  app.add_option("--seconds", options.seconds, "how long the window is");
  app.add_option("--warm", options.warm_seconds, "seconds before the window");
  app.add_option("--server-pid", options.server, "the process to measure");
  app.add_option("--json", options.json_file, "write the figures there too");
  CLI11_PARSE(app, argc, argv);
  const auto to = bench::endpoint_of(options.connect);
  options.http.host = to.host;
  options.http.port = to.port;
  options.http.run = static_cast<std::uint64_t>(bench::now_ns() / 1000);
  try {
    bench::report out;
    bench::histogram latency;
    bench::http_publishers publishers(options.http, latency);
    if (options.http.events == 0) publishers.serve(options.warm_seconds * second_ns);
    const auto begin = bench::now_ns();
    publishers.measure(begin, begin + 3600 * second_ns);
    const auto from = look(options, publishers);
    publishers.serve((options.http.events == 0 ? options.seconds : 3600) * second_ns);
    add(from, look(options, publishers), out);
    publishers.measure(0, 0);
    publishers.finish();
    out.add("p50_ms", "request to answer p50, ms", latency.at(0.50) / 1000, 2);
    out.add("p99_ms", "request to answer p99, ms", latency.at(0.99) / 1000, 2);
    out.add("max_ms", "request to answer, the longest, ms", latency.largest() / 1000, 2);
    for (const auto& [what, count] : publishers.counts().complaints) out.spoil(what + " (" + std::to_string(count) + " times)");
    out.print(options.json_file);
    return out.is_void() ? 3 : 0;
  } catch (const std::exception& x) {
    std::fprintf(stderr, "publish: %s\n", x.what());
    return 1;
  }
}
