// SPDX-License-Identifier: Apache-2.0
// bench_append [path]: what a stored message costs, appending with dedup to the embedded log: CPU and wall time a message at 100 k, 500 k and 1 M rows for
// 10,000 users, the longest commit, then cursor writes, the time to open again and to the first read. A plain program: prints, checks nothing.
#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/sqlite_database.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace doorstep;

namespace {

constexpr int users = 10'000;

double cpu_us() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto us = [](const timeval& x) { return static_cast<double>(x.tv_sec) * 1e6 + static_cast<double>(x.tv_usec); };
  return us(used.ru_utime) + us(used.ru_stime);
}

double wall_us() { return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct person {
  address to;
};

/// Entries as they come from a router, made before the clock starts.
std::vector<log_entry> make_entries(const std::vector<person>& people, int first, int count) {
  std::vector<log_entry> out;
  out.reserve(static_cast<std::size_t>(count));
  for (int i = first; i < first + count; ++i) {
    auto what = std::make_shared<event>();
    what->id = std::to_string(i);
    what->source = "/bench";
    what->type = "bench.append";
    what->time = "2026-01-01T00:00:00Z";
    what->data_content_type = "application/json";
    what->data = R"({"n":)" + std::to_string(i) + R"(,"text":")" + std::string(120, 'x') + R"("})";
    log_entry entry;
    // users in no order, as Kafka partitions bring them
    entry.to = people[static_cast<std::size_t>((static_cast<std::uint64_t>(i) * 2654435761U) % users)].to;
    entry.id = message_id(what->source, what->id, entry.to);
    entry.what = std::move(what);
    entry.appended = wall_now();
    out.push_back(std::move(entry));
  }
  return out;
}

struct cost {
  double cpu = 0, wall = 0, longest = 0;
};

cost append_all(message_log& log, std::vector<log_entry> entries, std::size_t batch) {
  cost out;
  const double cpu = cpu_us(), wall = wall_us();
  for (std::size_t at = 0; at < entries.size(); at += batch) {
    const auto end = std::min(entries.size(), at + batch);
    std::promise<void> done;
    const double began = wall_us();
    log.append({std::make_move_iterator(entries.begin() + static_cast<std::ptrdiff_t>(at)),
                std::make_move_iterator(entries.begin() + static_cast<std::ptrdiff_t>(end))},
               admission::credited, [&](auto) { done.set_value(); });
    done.get_future().wait();
    out.longest = std::max(out.longest, wall_us() - began);
  }
  out.cpu = cpu_us() - cpu;
  out.wall = wall_us() - wall;
  return out;
}

void write_cursors(message_store& store, const std::vector<person>& people, int count) {
  const double cpu = cpu_us(), wall = wall_us();
  for (int i = 0; i < count; i += 400) {  // 20,000 a second at 20 ms a commit
    std::promise<void> done;
    store_batch batch;
    for (int j = i; j < i + 400; ++j) {
      cursor_record x;
      x.user = people[static_cast<std::size_t>((static_cast<std::uint64_t>(j) * 2654435761U) % users)].to;
      x.version = static_cast<std::uint64_t>(j) + 1;
      x.acked = cursor({static_cast<std::uint64_t>(j) + 1}, {});
      batch.cursors.push_back(std::move(x));
    }
    store.write(std::move(batch), urgency::now, [&](auto) { done.set_value(); });
    done.get_future().wait();
  }
  std::printf("cursor writes, 400 a commit       %6.2f us CPU  %6.2f us wall a record\n", (cpu_us() - cpu) / count, (wall_us() - wall) / count);
}

double first_read_ms(const config& options, metrics& counts, const address& who) {
  const double began = wall_us();
  auto engines = open_embedded(options, counts).value();
  std::promise<void> done;
  engines.store->load(who, 32, [&](auto) { done.set_value(); });
  done.get_future().wait();
  return (wall_us() - began) / 1000;
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "bench-append-data";
  std::filesystem::remove_all(folder);
  config options;
  options.store.path = (folder / "doorstep.db").string();
  std::vector<person> people;
  for (int i = 0; i < users; ++i) {
    people.push_back({address::user("user-" + std::to_string(i)).value()});
  }
  {
    metrics counts;
    auto engines = open_embedded(options, counts).value();
    int rows = 0;
    const auto go = [&](int upto, std::size_t batch) {
      cost sum;
      const int from = rows;
      for (; rows < upto; rows += 50'000) {
        const auto x = append_all(*engines.log, make_entries(people, rows, 50'000), batch);
        sum.cpu += x.cpu;
        sum.wall += x.wall;
        sum.longest = std::max(sum.longest, x.longest);
      }
      const double n = upto - from;
      std::printf("%8d .. %8d rows, %4zu a commit  %6.2f us CPU  %6.2f us wall a message, longest commit %5.1f ms\n", from, upto, batch, sum.cpu / n,
                  sum.wall / n, sum.longest / 1000);
    };
    go(100'000, 1000);
    go(500'000, 1000);
    go(1'000'000, 1000);
    go(1'100'000, 100);
    auto again = make_entries(people, 0, 50'000);
    const auto x = append_all(*engines.log, std::move(again), 1000);
    std::printf("duplicates of the oldest rows     %6.2f us CPU  %6.2f us wall a message (%.0f found)\n", x.cpu / 50'000, x.wall / 50'000,
                counts.duplicates.value());
    write_cursors(*engines.store, people, 400'000);
  }
  metrics counts;
  std::printf("opened to first read              %6.1f ms\n", first_read_ms(options, counts, people[7].to));
  std::printf("file %.0f MB for %d rows\n", static_cast<double>(std::filesystem::file_size(options.store.path)) / 1e6, 1'100'000);
  std::filesystem::remove_all(folder);
}
