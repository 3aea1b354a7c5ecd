// SPDX-License-Identifier: Apache-2.0
#include "tests/support/mongo_peer.hpp"

#include <arpa/inet.h>
#include <mongoc/mongoc.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

namespace doorstep::test {

namespace {

bool is_free(int port) {
  const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = ::bind(probe, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  ::close(probe);
  return free;
}

}  // namespace

int free_port() {
  std::random_device random;
  for (;;) {
    const int port = std::uniform_int_distribution(21000, 31900)(random);
    if (is_free(port) && is_free(port + 1)) return port;
  }
}

std::optional<std::string> shared_mongodb() {
  const char* const uri = std::getenv("DOORSTEP_TEST_MONGODB");
  if (!uri || !*uri) return std::nullopt;
  return uri;
}

void use_mongodb(config& options, const std::string& uri, const scratch_folder& folder) {
  const auto path = folder.file("");
  options.store.engine = "mongodb";
  options.store.uri = uri;
  options.store.database = "doorstep_test_" + path.substr(path.size() - 7, 6);  // mkdtemp's letters
  options.store.selection_timeout = milliseconds{1'000};
  options.store.connect_timeout = milliseconds{1'000};
  options.store.socket_timeout = milliseconds{5'000};
}

void drop_mongodb(const config& options) {
  mongoc_init();
  auto* const client = mongoc_client_new(options.store.uri.c_str());
  auto* const database = mongoc_client_get_database(client, options.store.database.c_str());
  mongoc_database_drop(database, nullptr);
  mongoc_database_destroy(database);
  mongoc_client_destroy(client);
}

own_mongodb::~own_mongodb() {
  if (!uri_.empty()) script("stop");
}

bool own_mongodb::script(const std::string& words) const {
  return std::system((std::string(DOORSTEP_TREE) + "/scripts/mongodb " + words + " --dir " + dir_ + " >/dev/null").c_str()) == 0;
}

bool own_mongodb::start() {
  const auto port = std::to_string(free_port());
  if (!script("start --port " + port)) return false;
  uri_ = "mongodb://127.0.0.1:" + port;
  return true;
}

void own_mongodb::kill() { script("kill"); }
void own_mongodb::restart() { script("restart"); }

}  // namespace doorstep::test
