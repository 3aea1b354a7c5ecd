// SPDX-License-Identifier: Apache-2.0
#include "net/trust.hpp"

#include <utility>

namespace doorstep {

result<std::shared_ptr<const trust>> trust::open(const config& settings) {
  auto tokens = token_verifier::open(settings.auth);
  if (!tokens) return tokens.error();
  auto made = std::make_shared<trust>();
  made->auth = settings.auth;
  made->tokens = std::move(*tokens);
  made->keys = key_ring::open(settings.internal);
  if (!settings.http.tls_certificate.empty()) {
    auto tls = open_tls(settings.http.tls_certificate, settings.http.tls_key, {});
    if (!tls) return tls.error();
    made->public_tls = std::move(*tls);
  }
  if (!settings.internal.tls_certificate.empty()) {
    auto tls = open_tls(settings.internal.tls_certificate, settings.internal.tls_key, settings.internal.tls_client_ca);
    if (!tls) return tls.error();
    made->internal_tls = std::move(*tls);
  }
  return std::shared_ptr<const trust>(std::move(made));
}

}  // namespace doorstep
