// SPDX-License-Identifier: Apache-2.0
#include "runtime/cursor.hpp"

namespace doorstep {

cursor::cursor(sequence floor, std::vector<sequence> above) : floor_(floor), above_(above.begin(), above.end()) {
  above_.erase(above_.begin(), above_.upper_bound(floor_));
}

bool cursor::ack(sequence seq) { return seq > floor_ && above_.insert(seq).second; }

void cursor::raise(sequence seq) {
  if (seq <= floor_) return;
  floor_ = seq;
  above_.erase(above_.begin(), above_.upper_bound(floor_));
}

}  // namespace doorstep
