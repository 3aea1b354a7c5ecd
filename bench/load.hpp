// SPDX-License-Identifier: Apache-2.0
// What every load through Kafka is told: who connects where, what is published, for how long, and which processes are watched.
#pragma once

#include "bench/client_pool.hpp"
#include "bench/moment.hpp"
#include "bench/publisher.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace bench {

struct load {
  std::string connect = "127.0.0.1:8000", json_file;
  client_options clients;
  publisher_options records;
  watched_processes watched;
  int seconds = 15, warm_seconds = 5, drain_seconds = 30;

  void add_options(CLI::App& app);
  /// Once the options have been read: what follows from them.
  void settle();
};

}  // namespace bench
