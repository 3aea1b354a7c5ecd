// SPDX-License-Identifier: Apache-2.0
// doorstep gen-token and gen-key, and what check-config says of keys and certificates. For main.cpp; main's thread.
#pragma once

#include "runtime/config.hpp"
#include "runtime/error.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace doorstep {

struct token_command {
  std::string user, secret, secret_file, ttl = "30d";
  std::vector<std::string> roles, groups;
  CLI::App* self = nullptr;

  void add_to(CLI::App& app);
  /// The token. @returns ec::bad_config with what is wrong.
  result<std::string> run() const;
};

struct key_command {
  std::string scopes = "publish+read+admin", name;
  CLI::App* self = nullptr;

  void add_to(CLI::App& app);
  /// The key, which is shown this once, and the line to configure.
  result<std::string> run() const;
};

/// Whether the keys and certificates that are named can be used.
result<void> check_identity(const config& options);

}  // namespace doorstep
