// SPDX-License-Identifier: Apache-2.0
// Whether a client may come in: its token or ticket, the deny list, and the application's word. From what was shown to an identity or a refusal. Internal to net/.
#pragma once

#include "net/connection.hpp"
#include "net/http_api.hpp"
#include "net/protocol.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

struct site;

/// What a client showed, in the upgrade or in a frame.
struct credentials {
  std::optional<identity> who;  ///< good already: a ticket, or a token judged when the upgrade came
  std::string token;            ///< still to be judged
  std::string refusal;          ///< why there can be no good end, to be told after the upgrade
  std::string origin;
  std::vector<header> headers;  ///< of auth.hook_headers

  bool shows_something() const { return who || !token.empty() || !refusal.empty(); }
};

struct admitted {
  std::optional<identity> who;
  close_code code = close_code::bad_token;  ///< where there is none
  std::string why;
};

/// `done` is called once: before this returns where nothing has to be waited for, else from another thread.
void admit(site& at, credentials shown, const std::string& device, const std::string& remote, std::function<void(admitted)> done);

/// Judges a token without waiting for anybody. ec::unavailable: its key has to be fetched first.
result<identity> judge_token(const site& at, std::string_view token);

}  // namespace doorstep
