// SPDX-License-Identifier: Apache-2.0
// MongoDB servers of the tests: the one that DOORSTEP_TEST_MONGODB names, and servers of a test's own that may be killed (scripts/mongodb).
#pragma once

#include "runtime/config.hpp"
#include "tests/support/engines.hpp"

#include <optional>
#include <string>

namespace doorstep::test {

/// Below the kernel's ephemeral range, so that no outgoing connection takes it between the look and the bind; the port after it is free, too.
int free_port();

/// The URI in DOORSTEP_TEST_MONGODB, or nothing.
std::optional<std::string> shared_mongodb();
/// Points the options at that server and at a database of the folder's own, with short timeouts.
void use_mongodb(config& options, const std::string& uri, const scratch_folder& folder);
void drop_mongodb(const config& options);

/// A server that a test may kill. Its data lie in the folder.
class own_mongodb {
public:
  explicit own_mongodb(const scratch_folder& folder) : dir_(folder.file("mongodb")) {}
  ~own_mongodb();
  /// @returns false where no server can be had here.
  bool start();
  const std::string& uri() const { return uri_; }
  void kill();     ///< -9
  void restart();  ///< on the same data and port

private:
  bool script(const std::string& words) const;
  const std::string dir_;
  std::string uri_;
};

/// In a test: skips it, or lets it fail where every peer must be there (DOORSTEP_REQUIRE_PEERS=1).
#define DOORSTEP_PEER_MISSING(what)                                     \
  do {                                                                  \
    const char* const required = std::getenv("DOORSTEP_REQUIRE_PEERS"); \
    if (required && std::string(required) == "1") FAIL() << what;       \
    GTEST_SKIP() << what;                                               \
  } while (false)

}  // namespace doorstep::test
