// SPDX-License-Identifier: Apache-2.0
// Who is believed: keys, API keys and certificates as one value, which a reload replaces whole. Immutable, any thread. Internal to net/.
#pragma once

#include "net/auth.hpp"
#include "net/tls.hpp"
#include "runtime/config.hpp"

#include <memory>

namespace doorstep {

struct trust {
  auth_config auth;
  token_verifier tokens;
  key_ring keys;
  std::shared_ptr<tls_context> public_tls, internal_tls;  ///< null = plain TCP

  /// @returns ec::bad_config for a key or a certificate that cannot be used.
  static result<std::shared_ptr<const trust>> open(const config& settings);
};

}  // namespace doorstep
