# SPDX-License-Identifier: Apache-2.0
# Messages are made on one thread and freed on another: mimalloc takes about a fifth off what that costs (docs/decisions/0001-dependencies.md). Hardly anything of
# it is called by name, so the linker must be told to keep it. Sanitizers bring an allocator of their own.
function(use_allocator target)
  if(NOT DOORSTEP_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,--no-as-needed)
    target_link_libraries(${target} PRIVATE mimalloc)
    target_compile_definitions(${target} PRIVATE DOORSTEP_MIMALLOC)
  endif()
endfunction()
