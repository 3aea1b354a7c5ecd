// SPDX-License-Identifier: Apache-2.0
// A delivery that many sockets get: encoded once a protocol, whoever asks first, and copied into each socket's next frame. Any thread.
#pragma once

#include "net/native_codec.hpp"
#include "net/protocol.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace doorstep {

class shared_push {
public:
  explicit shared_push(server::push what) : what_(std::move(what)) {}

  const server::push& what() const { return what_; }
  /// Its object of doorstep.v1, without a line break.
  const std::string& native() const {
    std::call_once(native_made_, [this] { append_push(native_, what_); });
    return native_;
  }

private:
  const server::push what_;
  mutable std::once_flag native_made_;
  mutable std::string native_;
};
using shared_push_ptr = std::shared_ptr<const shared_push>;

}  // namespace doorstep
