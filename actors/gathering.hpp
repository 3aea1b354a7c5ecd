// SPDX-License-Identifier: Apache-2.0
// GET /v1/actors, one floor of it: an actor asks its children and answers when the last report has come, or has failed to. On the lane of who asks.
#pragma once

#include "actors/messages.hpp"

#include <caf/typed_response_promise.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

namespace doorstep {

struct gathering {
  actor_report top;
  std::size_t left = 0;  ///< children that have not answered
  caf::typed_response_promise<actor_report> promise;

  void arrived() {
    if (--left == 0) promise.deliver(std::move(top));
  }
};

/// One child; it is left out where it does not answer in time.
template <class Self, class Handle>
void ask_for_report(Self* self, const std::shared_ptr<gathering>& all, const Handle& who, std::chrono::seconds timeout) {
  self->request(who, timeout, look{})
      .then(
          [all](actor_report& x) {
            all->top.children.push_back(std::move(x));
            all->arrived();
          },
          [all](const caf::error&) { all->arrived(); });
}

}  // namespace doorstep
