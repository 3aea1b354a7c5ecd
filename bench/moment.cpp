// SPDX-License-Identifier: Apache-2.0
#include "bench/moment.hpp"

#include <unistd.h>

namespace bench {

namespace {

constexpr double generator_busy_max = 0.60, others_busy_max = 0.15;

}  // namespace

moment look(const watched_processes& who, const client_counts& clients) {
  moment x;
  x.server = sample_process(who.server).value_or(process_sample{});
  x.broker = sample_process(who.broker).value_or(process_sample{});
  x.self = sample_process(::getpid()).value_or(process_sample{});
  x.machine = sample_machine();
  x.messages = clients.messages;
  x.frames = clients.frames;
  x.message_frames = clients.message_frames;
  x.at_ns = now_ns();
  return x;
}

void judge_machine(const moment& from, const moment& to, report& out) {
  const double elapsed = static_cast<double>(to.at_ns - from.at_ns) / 1e9;
  const double server = (to.server.cpu - from.server.cpu) / elapsed, broker = (to.broker.cpu - from.broker.cpu) / elapsed;
  const double self = (to.self.cpu - from.self.cpu) / elapsed;
  const double others = (to.machine.busy - from.machine.busy) / elapsed - server - broker - self;
  out.add("server_cores", "server, cores", server, 3);
  out.add("generator_cores", "generator, cores", self, 3);
  out.add("broker_cores", "broker, cores", broker, 3);
  out.add("other_cores", "everything else, cores", others, 3);
  out.add("stolen_cores", "stolen by the hypervisor, cores", (to.machine.stolen - from.machine.stolen) / elapsed, 3);
  if (self > generator_busy_max) out.spoil("the generator was over 60 % busy");
  if (others > others_busy_max) out.spoil("something else used over 0.15 cores");
}

void add_memory(const moment& few, std::size_t few_count, const moment& all, std::size_t all_count, report& out) {
  const auto slope = [&](std::uint64_t a, std::uint64_t b) {
    return (static_cast<double>(b) - static_cast<double>(a)) / static_cast<double>(all_count - few_count) / 1024;
  };
  out.add("anon_kb_connection", "user memory a connection, KB", slope(few.server.anonymous_bytes, all.server.anonymous_bytes), 2);
  out.add("rss_kb_connection", "RSS a connection, KB", slope(few.server.resident_bytes, all.server.resident_bytes), 2);
  out.add("rss_mb", "server's RSS, MB", static_cast<double>(all.server.resident_bytes) / 1048576, 1);
  out.add("connect_us", "server CPU-us a connect", (all.server.cpu - few.server.cpu) * 1e6 / static_cast<double>(all_count - few_count), 1);
}

}  // namespace bench
