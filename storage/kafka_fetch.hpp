// SPDX-License-Identifier: Apache-2.0
// One partition that is read with credit. Our own position (`next`) is the only one that counts: after every pause and rewind librdkafka is told it again by a
// seek. Used by the source and by the log's reader, each on its own thread.
#pragma once

#include "runtime/ids.hpp"
#include "storage/kafka_client.hpp"
#include "storage/source_intake.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>

namespace doorstep {

struct fetched_partition {
  topic_partition what;
  source_intake intake;
  std::int64_t next = -1;  ///< offset to read on from; -1 = the beginning
  bool paused = false;
  bool misplaced = false;  ///< librdkafka does not read at `next`: what it brings is dropped until a seek has worked

  void read_from(std::int64_t offset) {
    intake.drop_held();
    next = offset;
    misplaced = true;
  }
  /// Brings librdkafka to where this partition should read, or stops it. @returns why a seek failed; it is to be tried again.
  result<void> steer(kafka_client& client, steady_time now, bool may_seek) {
    if (!paused && !misplaced && intake.should_pause()) {
      client.pause(what);
      paused = true;
    } else if (paused && (misplaced || intake.should_resume(now))) {
      client.resume(what);
      paused = false;
      misplaced = true;  // what librdkafka believes to be its position after a pause is not relied on
    }
    if (!misplaced || !may_seek) return {};
    auto done = client.seek(what, next);
    misplaced = done.has_error();
    return done;
  }
};

/// Takes what has come, waiting for the first of it; not for ever, since the loop around it has other work. librdkafka hands over an answer of a broker partition by
/// partition, so who takes the first at once is woken for each, and so is everybody behind: it waits a moment for the rest, once.
template <class Take>
void take_polled(kafka_client& client, milliseconds wait, Take take) {
  constexpr std::size_t records_max = 500;
  constexpr milliseconds time_max{1};
  constexpr std::chrono::microseconds moment{100};
  auto x = client.poll(wait);
  const auto until = std::chrono::steady_clock::now() + time_max;
  bool waited = false;
  for (std::size_t count = 1; x.what != polled::kind::nothing; ++count) {
    take(std::move(x));
    if (count >= records_max || (count % 16 == 0 && std::chrono::steady_clock::now() >= until)) return;
    x = client.poll(milliseconds{0});
    if (x.what != polled::kind::nothing || std::exchange(waited, true)) continue;
    std::this_thread::sleep_for(moment);
    x = client.poll(milliseconds{0});
  }
}

}  // namespace doorstep
