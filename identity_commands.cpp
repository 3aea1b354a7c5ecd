// SPDX-License-Identifier: Apache-2.0
#include "identity_commands.hpp"

#include "net/auth.hpp"
#include "net/trust.hpp"
#include "runtime/address.hpp"
#include "runtime/digest.hpp"
#include "runtime/json_text.hpp"

#include <chrono>

namespace doorstep {
namespace {

constexpr std::size_t key_bytes = 32;

std::string member(const char* name, const std::vector<std::string>& values) {
  std::string out = std::string("\"") + name + "\":[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, values[i]);
  }
  return out + "]";
}

}  // namespace

void token_command::add_to(CLI::App& app) {
  self = app.add_subcommand("gen-token", "print a token for a user, signed with the configured secret");
  self->add_option("--user", user, "who")->required();
  self->add_option("--role", roles, "a role of the user (may be repeated)")->allow_extra_args(false);
  self->add_option("--group", groups, "a group (may be repeated)")->allow_extra_args(false);
  self->add_option("--secret-file", secret_file, "file with the HS256 secret");
  self->add_option("--secret", secret, "the HS256 secret (seen by everybody who can list processes)");
  self->add_option("--ttl", ttl, "how long it is valid")->capture_default_str();
}

result<std::string> token_command::run() const {
  const auto life = parse_duration(ttl);
  if (!life) return failure{ec::bad_config, "--ttl: " + life.error().detail, {}};
  std::vector<override_value> flags;
  if (!secret.empty()) flags.push_back({"auth.hs256_secret", secret, "--secret"});
  if (!secret_file.empty()) flags.push_back({"auth.hs256_secret_file", secret_file, "--secret-file"});
  const auto settings = load_config({}, {}, {}, flags);
  if (!settings) return settings.error();
  const auto signer = token_verifier::open(settings->auth);
  if (!signer) return signer.error();
  if (!signer->has_secret()) return failure{ec::bad_config, "gen-token: --secret or --secret-file is needed", {}};
  if (auto who = address::user(user); !who) return failure{ec::bad_config, "--user: " + who.error().detail, {}};
  std::string more;
  if (!roles.empty()) more = member("roles", roles);
  if (!groups.empty()) more += (more.empty() ? "" : ",") + member("groups", groups);
  return signer->make_token(user, std::chrono::duration_cast<std::chrono::seconds>(*life), wall_now(), more);
}

void key_command::add_to(CLI::App& app) {
  self = app.add_subcommand("gen-key", "make an API key: print it once, and the line for internal.api_keys or its file");
  self->add_option("--scope", scopes, "publish, read, admin, with + between several")->capture_default_str();
  self->add_option("--name", name, "whose it is, for the audit");
}

result<std::string> key_command::run() const {
  const auto key = base64url(random_bytes(key_bytes));
  const auto line = scopes + " " + api_key_hash_text(key) + (name.empty() ? "" : " " + name);
  if (!parse_key_scopes(scopes)) return failure{ec::bad_config, "--scope: write publish, read or admin, with + between several", {}};
  if (const auto good = parse_api_key(line); !good) return failure{ec::bad_config, "--name: the key " + good.error().detail, {}};
  return "key   " + key + "\nline  " + line + "\n";
}

result<void> check_identity(const config& options) {
  const auto usable = trust::open(options);
  if (!usable) return usable.error();
  return {};
}

}  // namespace doorstep
