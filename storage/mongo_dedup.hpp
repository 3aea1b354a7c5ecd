// SPDX-License-Identifier: Apache-2.0
// Was the same message stored within the dedup window? For logs that do not judge that themselves. All messages with one key are in one shard and come in its
// order, so the answer is the same whoever asks, and however often. Writing thread only.
#pragma once

#include "runtime/ids.hpp"
#include "storage/commit_queue.hpp"
#include "storage/mongo_client.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace doorstep {

class mongo_dedup {
public:
  mongo_dedup(mongo_connection& at, milliseconds window) : at_(at), window_(window) {}

  /// Fills in the duplicates of those works that ask for it, and keeps the keys of the others.
  result<void> judge(std::span<store_work> works);
  /// Now and then removes keys that are past the window. A failure is the next one's to mend.
  void reap();

private:
  struct place {
    sequence seq;
    unix_ms appended;
  };
  result<void> look_up(const std::vector<std::string>& keys, std::unordered_map<std::string, place>& into);

  mongo_connection& at_;
  const milliseconds window_;
  unix_ms newest_;
  steady_time reap_due_{};
};

}  // namespace doorstep
