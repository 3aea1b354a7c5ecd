// SPDX-License-Identifier: Apache-2.0
#include "bench/load.hpp"

#include "bench/endpoint.hpp"
#include "bench/statistics.hpp"

namespace bench {

void load::add_options(CLI::App& app) {
  app.add_option("--connect", connect, "host:port of the server's public port");
  app.add_option("--secret", clients.secret, "the server's HS256 secret");
  app.add_option("--kafka", records.brokers, "bootstrap servers");
  app.add_option("--topic", records.topic, "the topic to publish to");
  app.add_option("--users,--clients", clients.users, "clients, each one user");
  app.add_option("--rate", records.rate, "messages, or events for rules, a second");
  app.add_option("--payload", records.payload_bytes, "bytes a payload");
  app.add_option("--connects", clients.connects_per_second, "connects a second at the start");
  app.add_option("--seconds", seconds, "how long the window is");
  app.add_option("--warm", warm_seconds, "seconds of load before the window");
  app.add_option("--drain", drain_seconds, "seconds to wait for what is still owed after the end");
  app.add_option("--server-pid", watched.server, "the process to measure");
  app.add_option("--broker-pid", watched.broker, "the broker, to tell its CPU from others'");
  app.add_option("--json", json_file, "write the figures there too");
}

void load::settle() {
  const auto [host, port] = endpoint_of(connect);
  clients.host = host;
  clients.port = port;
  clients.run = records.run = static_cast<std::uint64_t>(now_ns() / 1000);
  records.users = clients.users;
}

}  // namespace bench
