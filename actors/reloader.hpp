// SPDX-License-Identifier: Apache-2.0
// RELOADER: SIGHUP and POST /v1/admin/reload: reads the configuration again, whole, and puts its rules in force at once; on an error the old ones stay.
// Runs on CAF's scheduler, since reading files blocks.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/services.hpp"

namespace doorstep {

reloader_actor::behavior_type reloader(reloader_actor::pointer self, const services* parts, router_actor router);

}  // namespace doorstep
