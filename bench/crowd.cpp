// SPDX-License-Identifier: Apache-2.0
// A crowd of phones: events through Kafka, which rules send to users, a role and everybody, while connections end and come back all the time. Says what the
// server used, and whether every client got all that the rules owe it, in order, flagged where repeated, and has it acked. Exits with 1 where a promise was
// broken, with 3 where only the machine was too busy for figures.
#include "bench/crowd_clients.hpp"
#include "bench/load.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>

namespace {

using bench::crowd_clients;
using bench::crowd_ledger;
using bench::look;
using bench::moment;
using bench::report;

constexpr std::int64_t second_ns = 1'000'000'000;

struct run_options : bench::load {
  bench::crowd_options crowd;
};

/// What is not about the machine: each of these is 0, or a promise is broken.
class verdict {
public:
  explicit verdict(report& out) : out_(out) {}
  void zero(const std::string& name, const std::string& label, std::uint64_t value) {
    out_.add(name, label, static_cast<double>(value), 0);
    if (value == 0) return;
    out_.spoil("BROKEN: " + label + ": " + std::to_string(value));
    is_broken_ = true;
  }
  bool is_broken() const { return is_broken_; }

private:
  report& out_;
  bool is_broken_ = false;
};

bool wait_for(crowd_clients& clients, int seconds, const std::function<bool()>& done) {
  for (const std::int64_t end = bench::now_ns() + seconds * second_ns; !done() && bench::now_ns() < end;) clients.live(second_ns / 50);
  return done();
}

bool connect_all(const run_options& options, crowd_clients& clients, report& out) {
  const std::size_t few = std::max<std::size_t>(1, options.clients.users / 10);
  bool there = clients.connect_up_to(few);
  clients.serve(second_ns / 2);
  const moment before = look(options.watched, clients.counts());
  there = there && clients.connect_up_to(options.clients.users);
  clients.serve(second_ns);
  if (there && options.clients.users > few) add_memory(before, few, look(options.watched, clients.counts()), options.clients.users, out);
  return there;
}

void add_window(const moment& from, const moment& to, report& out) {
  const double messages = static_cast<double>(std::max<std::uint64_t>(1, to.messages - from.messages));
  const double elapsed = static_cast<double>(to.at_ns - from.at_ns) / 1e9;
  out.add("messages", "messages delivered in the window", messages, 0);
  out.add("rate", "deliveries a second", messages / elapsed, 0);
  out.add("cpu_us", "server CPU-us a delivery, connects included", (to.server.cpu - from.server.cpu) * 1e6 / messages, 2);
  out.add("core_percent", "server, % of a core", (to.server.cpu - from.server.cpu) / elapsed * 100, 1);
  out.add("end_rss_mb", "server's RSS at the end, MB", static_cast<double>(to.server.resident_bytes) / 1048576, 1);
}

void add_roaming(const crowd_clients& clients, report& out) {
  out.add("goodbyes", "drops with a close frame", static_cast<double>(clients.goodbyes), 0);
  out.add("cuts", "drops with the socket closed", static_cast<double>(clients.cuts), 0);
  out.add("silences", "drops without a word", static_cast<double>(clients.silences), 0);
  out.add("returns", "returns", static_cast<double>(clients.returns), 0);
}

/// @returns false where a promise was broken.
bool run(const run_options& options, report& out) {
  crowd_ledger book(options.clients.users);
  bench::histogram latency;
  crowd_clients clients(options.clients, options.crowd, book, latency);
  verdict judge(out);
  if (!connect_all(options, clients, out)) {
    judge.zero("absent", "clients that did not connect", options.clients.users - clients.counts().live);
    return false;
  }
  bench::publisher records(options.records);
  records.prime();  // one to all: the consumer group has formed when everybody has it
  if (!wait_for(clients, 60, [&] { return book.first() >= options.clients.users; })) out.note("priming took over a minute");
  records.start();
  clients.roam();
  clients.live(options.warm_seconds * second_ns);
  const std::int64_t begin = bench::now_ns();
  clients.measure(begin, begin + options.seconds * second_ns);
  const moment from = look(options.watched, clients.counts());
  clients.live(options.seconds * second_ns);
  const moment to = look(options.watched, clients.counts());

  clients.settle();
  std::thread stopper([&] { records.stop(); });
  clients.live(second_ns / 5);
  stopper.join();
  const std::int64_t drain_begin = bench::now_ns();
  wait_for(clients, options.drain_seconds,
           [&] { return clients.everybody_is_there() && book.lost(records.sent()) == 0 && book.without_receipt() == 0; });
  const double drained = static_cast<double>(bench::now_ns() - drain_begin) / 1e9;
  // Everybody comes once more: what was acked with a receipt is not owed, so nothing comes.
  const std::uint64_t came = clients.counts().messages;
  clients.call_the_roll();
  wait_for(clients, 60, [&] { return clients.everybody_is_there(); });
  clients.live(2 * second_ns);

  add_window(from, to, out);
  out.add("p50_ms", "publish to receive p50, ms", latency.at(0.50) / 1000, 2);
  out.add("p99_ms", "publish to receive p99, ms", latency.at(0.99) / 1000, 2);
  out.add("max_ms", "publish to receive, the longest, ms", latency.largest() / 1000, 1);
  out.add("published", "events published", static_cast<double>(records.published()), 0);
  out.add("owed", "deliveries that they make", static_cast<double>(book.owed(records.sent())), 0);
  out.add("first", "first deliveries", static_cast<double>(book.first()), 0);
  out.add("first_user", "  of mailboxes", static_cast<double>(book.first_of_kind[crowd_ledger::mailbox]), 0);
  out.add("first_role", "  of role:crowd", static_cast<double>(book.first_of_kind[crowd_ledger::role]), 0);
  out.add("first_all", "  of all", static_cast<double>(book.first_of_kind[crowd_ledger::all]), 0);
  out.add("repeated", "repeated and flagged", static_cast<double>(book.repeated_flagged()), 0);
  out.add("drain_s", "seconds until all of it had come and was acked", drained, 1);
  add_roaming(clients, out);
  judge.zero("lost", "lost", book.lost(records.sent()));
  judge.zero("repeated_unflagged", "repeated without the flag", book.repeated_unflagged());
  judge.zero("reordered", "reordered", book.reordered());
  judge.zero("unexpected", "unexpected", book.unexpected + clients.counts().foreign);
  judge.zero("unacked", "addresses of clients whose last message has no receipt", book.without_receipt());
  judge.zero("owed_at_end", "messages that came once more after all was acked", clients.counts().messages - came);
  judge.zero("absent", "clients that are not there at the end", options.clients.users - clients.counts().live);
  judge.zero("closed", "connections that the server ended", clients.lost_by_server);
  judge.zero("refused", "records that the broker did not take", records.failed());
  for (const auto& [what, count] : clients.counts().complaints) out.note(what + " (" + std::to_string(count) + " times)");
  judge_machine(from, to, out);
  return !judge.is_broken();
}

void add_options(CLI::App& app, run_options& x) {
  x.add_options(app);
  for (const char* name : {"--kafka", "--topic"}) app.get_option(name)->required();
  app.add_option("--role-share", x.records.role_share, "of the events, for role:crowd, which every second one has");
  app.add_option("--all-share", x.records.all_share, "of the events, for all; the others are for one user");
  app.add_option("--mean-drop", x.crowd.mean_drop_seconds, "seconds a connection lasts, on average");
  app.add_option("--pause-max", x.crowd.pause_max_seconds, "seconds until it is back, at most");
  app.add_option("--silence", x.crowd.silence_seconds, "seconds that the socket of one that fell silent stays open");
  app.add_option("--seed", x.crowd.seed, "of the drops");
}

}  // namespace

int main(int argc, char** argv) {
  run_options options;
  options.clients.users = 5000;
  options.seconds = options.drain_seconds = 60;
  options.records.rate = 50;
  options.records.role_share = 0.3;
  options.records.all_share = 0.1;
  CLI::App app("A crowd of phones");
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  options.settle();
  try {
    report out;
    const bool kept = run(options, out);
    out.print(options.json_file);
    return !kept ? 1 : out.is_void() ? 3 : 0;
  } catch (const std::exception& x) {
    std::fprintf(stderr, "crowd: %s\n", x.what());
    return 1;
  }
}
