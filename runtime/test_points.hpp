// SPDX-License-Identifier: Apache-2.0
// Where a test may end the process or make it wrong on purpose: tests/oracle has to survive the first and to catch the second. Any thread.
// Compiled in by the CMake option DOORSTEP_TEST_POINTS only; without it both functions are nothing, and an operator's build has none of it.
#pragma once

#include <string_view>

#ifdef DOORSTEP_TEST_POINTS

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <string>

namespace doorstep {

namespace test_points {

inline std::string from_environment(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::string() : std::string(text);
}

/// DOORSTEP_CRASH_POINT=name:k
struct crash_setting {
  std::string name = from_environment("DOORSTEP_CRASH_POINT");
  std::atomic<long> passes_left{1};
  crash_setting() {
    const auto colon = name.find(':');
    if (colon == std::string::npos) return;
    long k = 1;
    std::from_chars(name.data() + colon + 1, name.data() + name.size(), k);
    passes_left = k;
    name.resize(colon);
  }
};

// Read once, before main: what is asked in between is one byte.
inline crash_setting crash;
inline const bool crash_is_set = !crash.name.empty();
inline const std::string bug = from_environment("DOORSTEP_SEEDED_BUG");
inline const bool bug_is_set = !bug.empty();

}  // namespace test_points

/// Ends the process as kill -9 would, at the k-th pass of the point that DOORSTEP_CRASH_POINT=name:k names.
inline void crash_point(std::string_view name) {
  if (test_points::crash_is_set && name == test_points::crash.name && --test_points::crash.passes_left == 0) std::raise(SIGKILL);
}

/// True where DOORSTEP_SEEDED_BUG names this bug.
inline bool seeded_bug(std::string_view name) { return test_points::bug_is_set && name == test_points::bug; }

}  // namespace doorstep

#else

namespace doorstep {
constexpr void crash_point(std::string_view) {}
constexpr bool seeded_bug(std::string_view) { return false; }
}  // namespace doorstep

#endif
