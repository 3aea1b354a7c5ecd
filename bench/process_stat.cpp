// SPDX-License-Identifier: Apache-2.0
#include "bench/process_stat.hpp"

#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace bench {

namespace {

/// What a shell command prints on both streams.
std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), got);
  ::pclose(pipe);
  return text;
}

std::optional<std::uint64_t> leading_number(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  return std::stoull(text);
}

}  // namespace

std::optional<process_sample> sample_process(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::ifstream stat(folder + "/stat");
  std::string line;
  if (!std::getline(stat, line)) return std::nullopt;
  process_sample x;
  std::istringstream fields(line.substr(line.rfind(')') + 2));  // the name may hold spaces; state is the field after it
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user_ticks = 0, system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  x.user = user_ticks / ticks_per_second;
  x.system = system_ticks / ticks_per_second;
  x.cpu = x.user + x.system;
  clockid_t clock;
  timespec used;
  if (::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &used) == 0)
    x.cpu = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;

  std::ifstream status(folder + "/status");
  while (std::getline(status, line)) {
    if (line.starts_with("VmRSS:")) x.resident_bytes = std::stoull(line.substr(6)) * 1024;
    if (line.starts_with("RssAnon:")) x.anonymous_bytes = std::stoull(line.substr(8)) * 1024;
  }
  return x;
}

machine_sample sample_machine() {
  std::ifstream stat("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, interrupts = 0, soft = 0, stolen = 0;
  stat >> name >> user >> nice >> system >> idle >> wait >> interrupts >> soft >> stolen;
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return {(user + nice + system + interrupts + soft) / ticks_per_second, stolen / ticks_per_second};
}

std::optional<std::uint64_t> count_syscalls(pid_t pid, int seconds, std::string& tool) {
  const std::string id = std::to_string(pid), length = std::to_string(seconds);
  // perf -x, prints "value,unit,event,..." or "<not counted>,..."
  tool = "perf";
  if (const auto count = leading_number(output_of("perf stat -x, -e raw_syscalls:sys_enter -p " + id + " sleep " + length)); count) return count;
  tool = "strace";
  std::istringstream summary(output_of("timeout -s INT " + length + " strace -f -c -p " + id));
  for (std::string line; std::getline(summary, line);) {
    if (line.size() < 5 || !line.ends_with("total")) continue;
    std::istringstream fields(line);  // % time, seconds, usecs/call, calls, errors, "total"
    double share = 0, used = 0, each = 0;
    std::uint64_t calls = 0;
    if (fields >> share >> used >> each >> calls) return calls;
  }
  tool = "neither perf nor strace could attach";
  return std::nullopt;
}

std::int64_t now_ns() {
  timespec x;
  ::clock_gettime(CLOCK_MONOTONIC, &x);
  return static_cast<std::int64_t>(x.tv_sec) * 1'000'000'000 + x.tv_nsec;
}

}  // namespace bench
