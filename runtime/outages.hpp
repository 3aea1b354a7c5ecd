// SPDX-License-Identifier: Apache-2.0
// Which parts of the world behind the server do not work at the moment, and since when. A change of state is one WARN line, a gauge and a reason of
// GET /health/ready; whoever sees the change says it here, as often as it likes. Thread-safe.
#pragma once

#include "runtime/ids.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace doorstep {

class outages {
public:
  /// @param show sets the gauge of a part.
  explicit outages(std::function<void(const std::string& part, bool away)> show) : show_(std::move(show)) {}

  enum class effect_on : std::uint8_t {
    readiness,  ///< who asks for readiness is told
    nobody,     ///< the server takes and delivers as if it were there: a line and the gauge only
  };
  /// `part` ("store", "log", "source orders") does not work: why, and what the server does meanwhile. Nothing new while it is known to be away.
  void begin(const std::string& part, const std::string& why, const std::string& effect, effect_on whom = effect_on::readiness);
  /// It works again. Nothing new where it did.
  void end(const std::string& part);

  bool has(const std::string& part) const;
  /// Reasons for not being ready, one sentence a part: "store is away since 2026-11-21T10:00:00Z: <why>; <effect>".
  std::vector<std::string> reasons() const;

private:
  struct outage {
    std::string why, effect;
    unix_ms since;
    steady_time began;
    effect_on whom;
  };
  const std::function<void(const std::string&, bool)> show_;
  mutable std::mutex mutex_;
  std::map<std::string, outage, std::less<>> away_;
};

}  // namespace doorstep
