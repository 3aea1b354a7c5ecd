// SPDX-License-Identifier: Apache-2.0
// RELOADER: SIGHUP and POST /v1/admin/reload: reads the configuration again, whole, and puts its rules in force at once; on an error the old ones stay.
// Runs on CAF's scheduler, since reading files blocks.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

#include <functional>

namespace doorstep {

/// @param channels_changed called when other rules hold: they may name channels that none named before
reloader_actor::behavior_type reloader(reloader_actor::pointer self, const services* parts, router_actor router,
                                       std::function<void()> channels_changed);

}  // namespace doorstep
