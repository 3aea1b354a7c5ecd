// SPDX-License-Identifier: Apache-2.0
// What server, broker, generator and machine had used at one moment, and what lies between two of them. The client thread.
#pragma once

#include "bench/client_pool.hpp"
#include "bench/process_stat.hpp"
#include "bench/report.hpp"

namespace bench {

struct watched_processes {
  pid_t server = 0, broker = 0;
};

struct moment {
  std::int64_t at_ns = 0;
  process_sample server, broker, self;
  machine_sample machine;
  std::uint64_t messages = 0, frames = 0, message_frames = 0;
};

moment look(const watched_processes& who, const client_counts& clients);

/// Who used the machine between two moments, and whether that spoils the run.
void judge_machine(const moment& from, const moment& to, report& out);
/// Memory and CPU of a connection: the slope between few and all of them.
void add_memory(const moment& few, std::size_t few_count, const moment& all, std::size_t all_count, report& out);

}  // namespace bench
