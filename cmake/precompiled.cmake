# SPDX-License-Identifier: Apache-2.0
# Precompiled headers: other people's headers that most files of a target read, never ours (a change of ours would rebuild a floor).
# Every preset uses them, so that a file which forgets an include of these fails nowhere or everywhere.
option(DOORSTEP_PRECOMPILED "Precompile the heavy headers of libraries" ON)

set(DOORSTEP_STANDARD_HEADERS <algorithm> <array> <chrono> <cstdint> <functional> <map> <memory> <mutex> <optional> <string> <string_view> <unordered_map> <utility> <vector>)
set(DOORSTEP_ACTOR_HEADERS <caf/actor_system.hpp> <caf/event_based_actor.hpp> <caf/scheduled_actor.hpp> <caf/send.hpp> <caf/stateful_actor.hpp>
  <caf/typed_actor.hpp> <caf/typed_event_based_actor.hpp> <caf/typed_response_promise.hpp>)

# precompile(<target> <header>...)
function(precompile target)
  if(DOORSTEP_PRECOMPILED)
    target_precompile_headers(${target} PRIVATE ${DOORSTEP_STANDARD_HEADERS} ${ARGN})
  endif()
endfunction()

# precompiled_as(<target> <other>): the headers that <other> has precompiled; both compile alike.
function(precompiled_as target other)
  if(DOORSTEP_PRECOMPILED)
    target_precompile_headers(${target} REUSE_FROM ${other})
  endif()
endfunction()
