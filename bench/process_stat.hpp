// SPDX-License-Identifier: Apache-2.0
// What a process and the machine have used, from /proc and the CPU clocks of other processes. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace bench {

struct process_sample {
  double cpu = 0;     ///< seconds, to the nanosecond, of all threads that ever were
  double user = 0;    ///< seconds, in clock ticks
  double system = 0;  ///< seconds, in clock ticks
  std::uint64_t resident_bytes = 0;
  std::uint64_t anonymous_bytes = 0;  ///< the part of it that is the process's own memory
};
/// Nothing where there is no such process.
std::optional<process_sample> sample_process(pid_t pid);

struct machine_sample {
  double busy = 0;    ///< seconds of all cores: user, system, interrupts
  double stolen = 0;  ///< seconds the hypervisor gave to others
};
machine_sample sample_machine();

/// Counts the system calls of all threads for so long (perf's counter, else strace, which slows the process down); blocks.
/// @returns nothing where neither tool works; `tool` says which one it was, or why not.
std::optional<std::uint64_t> count_syscalls(pid_t pid, int seconds, std::string& tool);

/// CLOCK_MONOTONIC in nanoseconds.
std::int64_t now_ns();

}  // namespace bench
