// SPDX-License-Identifier: Apache-2.0
// The rows of the option table that say who may come in, how much of it, and behind which certificates. Pure, any thread.
#include "runtime/address.hpp"
#include "runtime/api_key.hpp"
#include "runtime/option_rows.hpp"

#include <algorithm>
#include <array>

namespace doorstep {

namespace {

using namespace option_rows;

std::string check_claims(sv text) { return text.starts_with('/') ? check_pointer(text) : ""; }

std::string check_claim(sv text) { return text.empty() ? "must not be empty" : check_claims(text); }

std::string check_api_key(sv text) {
  const auto key = parse_api_key(text);
  return key ? "" : key.error().detail;
}

std::string check_tls_client(sv text) {
  const auto blank = text.find(' ');
  if (blank != sv::npos && blank + 1 < text.size() && parse_key_scopes(text.substr(0, blank))) return "";
  return "is not scopes and a common name, such as \"publish+read shop.example.com\"";
}

std::string check_secret(sv text) {
  if (!text.empty() && text.size() < 32) return "is shorter than 32 bytes, which HS256 needs (RFC 7518, 3.2)";
  return text.starts_with("-----BEGIN") ? "is a key in PEM, which everybody may have: it belongs into auth.keys or auth.key_files" : "";
}

std::string check_algorithm(sv text) {
  constexpr std::array<sv, 6> known{"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"};
  return std::find(known.begin(), known.end(), text) != known.end() ? "" : "is none of HS256, HS384, HS512, RS256, ES256, EdDSA";
}

std::string check_url(sv text) {
  if (text.empty()) return "";
  const auto is_loopback = [](sv host) {
    for (const sv x : {"127.0.0.1", "localhost", "[::1]"})
      if (host.starts_with(x) && (host.size() == x.size() || host[x.size()] == ':' || host[x.size()] == '/')) return true;
    return false;
  };
  if (text.find_first_of(" \t@#\\") != sv::npos) return "is not a URL without user, blanks and fragment";
  if (text.starts_with("https://") && text.size() > 8) return "";
  if (text.starts_with("http://") && is_loopback(text.substr(7))) return "";
  return "is neither https:// nor http:// to this very machine";
}

std::string check_header(sv text) {
  constexpr sv more = "!#$%&'*+-.^_`|~";
  const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [more](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || more.find(c) != sv::npos;
  });
  return good ? "" : "is not a name that a header or a cookie can have";
}

std::string check_cookie(sv text) { return text.empty() ? "" : check_header(text); }

/// Ids of all kinds obey the same rule.
std::string check_id(sv text) {
  const auto to = address::user(text);
  return to ? "" : "cannot be: " + to.error().detail;
}

std::string check_denied(sv text) {
  for (const sv kind : {"user:", "role:", "group:"})
    if (text.starts_with(kind)) return check_id(text.substr(kind.size()));
  return "is none of \"user:NAME\", \"role:NAME\", \"group:NAME\"";
}

constexpr std::array<sv, 2> hook_failures{"deny", "allow"};

constexpr option options[] = {
    count("http.connections_per_address_max", in<&c::http, &http_config::connections_per_address_max>, 0, 1'000'000,
          "WebSocket connections from one IP address; more are refused with 429. 0 = no limit, as where a proxy stands before the server."),
    text("http.tls_certificate", in<&c::http, &http_config::tls_certificate>,
         "A PEM file with the public port's certificate and those between it and its root; read again by a reload. Empty = no TLS."),
    text("http.tls_key", in<&c::http, &http_config::tls_key>, "A PEM file with its private key."),

    secret(
        texts("internal.api_keys", in<&c::internal, &internal_config::api_keys>,
              "Who may publish, look and administer, each as \"scopes sha256:HASH name\" (doorstep gen-key makes one); scopes are publish, read and "
              "admin, with + between them. A key as such, of at least 16 bytes, may do everything.",
              check_api_key)),
    text("internal.api_keys_file", in<&c::internal, &internal_config::api_keys_file>,
         "A file with more of them, one a line; read again by a reload."),
    text("internal.tls_certificate", in<&c::internal, &internal_config::tls_certificate>,
         "A PEM file with the internal port's certificate; read again by a reload. Empty = no TLS."),
    text("internal.tls_key", in<&c::internal, &internal_config::tls_key>, "A PEM file with its private key."),
    text("internal.tls_client_ca", in<&c::internal, &internal_config::tls_client_ca>,
         "A PEM file with the authorities of clients' certificates: nobody connects without one. Empty = none is asked for."),
    texts("internal.tls_clients", in<&c::internal, &internal_config::tls_clients>,
          "Whose certificate stands for an API key, as \"scopes common-name\"; others need a key besides.", check_tls_client),

    count("ws.connections_per_user_max", in<&c::ws, &ws_config::connections_per_user_max>, 0, 1'000'000,
          "Sessions of one user; a further one is closed with 3006. 0 = no limit."),
    count("ws.frames_per_second_per_user_max", in<&c::ws, &ws_config::frames_per_second_per_user_max>, 0, 1'000'000,
          "Frames a second from all sessions of one user, on average; bursts may be twice as many. 0 = no limit."),
    size("ws.bytes_per_second_per_user_max", in<&c::ws, &ws_config::bytes_per_second_per_user_max>, 0, gib,
         "The same in bytes of those frames. 0 = no limit."),

    secret(text("auth.hs256_secret", in<&c::auth, &auth_config::hs256_secret>,
                "The secret that clients' tokens (JWT) are signed with, at least 32 bytes: for HS256, and with 48 and 64 for HS384 and HS512.",
                check_secret)),
    text("auth.hs256_secret_file", in<&c::auth, &auth_config::hs256_secret_file>,
         "A file with that secret instead; the line's end is not part of it."),
    secret(texts(
        "auth.keys", in<&c::auth, &auth_config::keys>,
        "Keys that tokens are checked with, each a public key in PEM, a JWK or a JWK set: RSA of 2048 bits or more, P-256, Ed25519, or secrets.",
        check_present)),
    texts("auth.key_files", in<&c::auth, &auth_config::key_files>, "Files with more of them; read again by a reload.", check_present),
    text("auth.jwks_url", in<&c::auth, &auth_config::jwks_url>,
         "Where public keys are fetched from as a JWK set: https, or http on this machine. Those in hand are kept while it does not answer.",
         check_url),
    duration("auth.jwks_refresh", in<&c::auth, &auth_config::jwks_refresh>, 100, day, "How often they are fetched anew."),
    duration("auth.jwks_refresh_min", in<&c::auth, &auth_config::jwks_refresh_min>, 10, hour,
             "A token with a key that is not known has them fetched at once, but not more often than this."),
    duration("auth.jwks_timeout", in<&c::auth, &auth_config::jwks_timeout>, 10, minute, "How long a fetch may take."),
    texts("auth.algorithms", in<&c::auth, &auth_config::algorithms>, "What tokens may be signed with. A key is used with its own kind only.",
          check_algorithm),
    texts("auth.issuers", in<&c::auth, &auth_config::issuers>, "A token must be of one of these (claim iss). None = any.", check_present),
    texts("auth.audiences", in<&c::auth, &auth_config::audiences>, "A token must be for one of these (claim aud). None = any.", check_present),
    text("auth.user_claim", in<&c::auth, &auth_config::user_claim>,
         "The claim of the token that names the user: a name, or a JSON Pointer such as \"/realm/user\".", check_claim),
    text("auth.roles_claim", in<&c::auth, &auth_config::roles_claim>,
         "The claim that lists the user's roles: an array, or text with blanks or commas between them. Empty = none.", check_claims),
    text("auth.groups_claim", in<&c::auth, &auth_config::groups_claim>, "The claim that lists the user's groups, in the same way.", check_claims),
    duration("auth.leeway", in<&c::auth, &auth_config::leeway>, 0, 10 * minute, "How far the clocks of token makers may be off."),
    text("auth.cookie", in<&c::auth, &auth_config::cookie>,
         "The cookie that may hold a browser's token. It counts with an Origin header only, which http.origins must allow. Empty = none.",
         check_cookie),
    duration("auth.ticket_ttl", in<&c::auth, &auth_config::ticket_ttl>, 100, 10 * minute, "How long a ticket may be used, once."),
    count("auth.tickets_max", in<&c::auth, &auth_config::tickets_max>, 1, 1'000'000,
          "Unused tickets at a time; more are refused with 429. A user has 16 of them at most."),
    boolean("auth.anonymous", in<&c::auth, &auth_config::anonymous>,
            "Clients without any token may connect, each as a user of its own, \"anonymous-\" and a random text."),
    texts("auth.anonymous_roles", in<&c::auth, &auth_config::anonymous_roles>, "The roles they have.", check_id),
    texts("auth.deny", in<&c::auth, &auth_config::deny>, "Who is refused whatever the token says: \"user:NAME\", \"role:NAME\", \"group:NAME\".",
          check_denied),
    text("auth.hook_url", in<&c::auth, &auth_config::hook_url>,
         "Who may connect is asked here, by a POST: https, or http on this machine. Empty = nobody is asked.", check_url),
    secret(text("auth.hook_authorization", in<&c::auth, &auth_config::hook_authorization>, "The Authorization header of those requests.")),
    texts("auth.hook_headers", in<&c::auth, &auth_config::hook_headers>,
          "Headers of the client's upgrade request that are handed on to it; a cookie counts with an allowed Origin only.", check_header),
    duration("auth.hook_timeout", in<&c::auth, &auth_config::hook_timeout>, 10, minute, "How long an answer may take."),
    duration("auth.hook_cache_ttl", in<&c::auth, &auth_config::hook_cache_ttl>, 0, day,
             "How long an answer holds for the same user, roles, groups, device and headers. 0 = each connection is asked about."),
    count("auth.hook_cache_max", in<&c::auth, &auth_config::hook_cache_max>, 1, 1'000'000, "Answers that are remembered; the oldest go first."),
    count("auth.hook_queue_max", in<&c::auth, &auth_config::hook_queue_max>, 1, 100'000,
          "Connections that wait for an answer; more are judged as if there were none."),
    choice("auth.hook_on_failure", in<&c::auth, &auth_config::hook_on_failure>, hook_failures, {},
           "What holds where no answer can be had: \"deny\" asks the client to come again (3007), \"allow\" goes by the token alone."),
};

}  // namespace

std::span<const option> identity_options() { return options; }

}  // namespace doorstep
