# SPDX-License-Identifier: Apache-2.0
# Precompiled headers: other people's headers that most files of a target read, never ours (a change of ours would rebuild a floor).
# Every preset uses them with the compiler of Debian 12. That of Debian 13, GCC 14, sees array bounds of std::string broken where it reads them (libstdc++'s
# own lines, falsely), so there every file reads its own includes, which also finds one that is missing.
set(precompiled_default ON)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  set(precompiled_default OFF)
endif()
option(DOORSTEP_PRECOMPILED "Precompile the heavy headers of libraries" ${precompiled_default})

set(DOORSTEP_STANDARD_HEADERS <algorithm> <array> <chrono> <cstdint> <functional> <map> <memory> <mutex> <optional> <string> <string_view> <unordered_map> <utility> <vector>)
set(DOORSTEP_ACTOR_HEADERS <caf/actor_system.hpp> <caf/event_based_actor.hpp> <caf/scheduled_actor.hpp> <caf/send.hpp> <caf/stateful_actor.hpp>
  <caf/typed_actor.hpp> <caf/typed_event_based_actor.hpp> <caf/typed_response_promise.hpp>)

set(DOORSTEP_LOOP_HEADERS <boost/asio/executor_work_guard.hpp> <boost/asio/io_context.hpp> <boost/asio/post.hpp> <boost/asio/steady_timer.hpp>)
set(DOORSTEP_HTTP_HEADERS <boost/asio/basic_stream_socket.hpp> <boost/asio/ip/tcp.hpp> <boost/beast/http/message.hpp> <boost/beast/http/string_body.hpp>)

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
