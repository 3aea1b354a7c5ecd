// SPDX-License-Identifier: Apache-2.0
// The names and sentences of the error codes. The names go over the wire (docs/protocol.md): never change one. Pure, any thread.
#include "runtime/error.hpp"

namespace doorstep {

std::string_view name(ec code) {
  switch (code) {
    case ec::malformed: return "malformed";
    case ec::unauthorized: return "unauthorized";
    case ec::forbidden: return "forbidden";
    case ec::not_found: return "not-found";
    case ec::too_large: return "too-large";
    case ec::unsupported: return "unsupported";
    case ec::queue_full: return "queue-full";
    case ec::unavailable: return "unavailable";
    case ec::stopping: return "stopping";
    case ec::bad_config: return "bad-config";
    case ec::corrupt: return "corrupt";
    case ec::internal: return "internal";
  }
  return "internal";
}

std::string_view describe(ec code) {
  switch (code) {
    case ec::malformed: return "The input cannot be understood; sending it again does not help.";
    case ec::unauthorized: return "There is no credential, or it is not valid.";
    case ec::forbidden: return "The credential is valid and does not allow this.";
    case ec::not_found: return "There is nothing by that name.";
    case ec::too_large: return "The input is over a configured size.";
    case ec::unsupported: return "The input is understood, but this server does not do that.";
    case ec::queue_full: return "A queue is full; try again later.";
    case ec::unavailable: return "The disk, broker or database behind this server does not answer; try again later.";
    case ec::stopping: return "The server is stopping; connect again.";
    case ec::bad_config: return "The configuration cannot be used.";
    case ec::corrupt: return "What is stored contradicts itself; an operator must look at it.";
    case ec::internal: return "The server made a mistake.";
  }
  return "The server made a mistake.";
}

bool is_temporary(ec code) { return code == ec::queue_full || code == ec::unavailable || code == ec::stopping; }

std::string to_string(const failure& x) {
  std::string out{name(x.code)};
  if (!x.detail.empty()) out.append(": ").append(x.detail);
  if (!x.field.empty()) out.append(" (").append(x.field).append(")");
  return out;
}

}  // namespace doorstep
