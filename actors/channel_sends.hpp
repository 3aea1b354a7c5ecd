// SPDX-License-Identifier: Apache-2.0
// What a CHANNEL pushes: messages, and what is unread then. Of one turn, so that a socket gets both in one frame.
#pragma once

#include "actors/channel.hpp"

#include <vector>

namespace doorstep {

/// To sessions of the CHANNEL's lane directly, to those of another by one post a lane. Takes the frames out of `out`.
void push_to_sessions(channel_self* self, audience_effects& out, const std::vector<channel_counts::change>& changes);

}  // namespace doorstep
