// SPDX-License-Identifier: Apache-2.0
// The one place that reads the wall clock. Any thread.
#include "runtime/ids.hpp"

namespace doorstep {

unix_ms wall_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::milliseconds>(now).count()};
}

wall_anchor wall_anchor_now() { return {std::chrono::steady_clock::now(), wall_now()}; }

}  // namespace doorstep
