# SPDX-License-Identifier: Apache-2.0
# Warnings, ccache and sanitizers, the same for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(CCACHE ccache)
if(CCACHE)
  # What ccache must overlook to keep objects of precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER env "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime" "${CCACHE}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fpch-preprocess)
  endif()
endif()

# Where LLVM's linker is there, a hundred test programs are linked by it. GCC's link-time optimization needs its own.
find_program(LLD ld.lld)
if(LLD AND NOT DOORSTEP_LTO)
  add_link_options(-fuse-ld=lld)
endif()

option(DOORSTEP_TEST_POINTS "Compile in the crash points and seeded bugs of runtime/test_points.hpp; never for an operator" OFF)
if(DOORSTEP_TEST_POINTS)
  add_compile_definitions(DOORSTEP_TEST_POINTS)
endif()
option(DOORSTEP_WERROR "Treat warnings as errors" OFF)
set(DOORSTEP_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them: address,undefined or thread")

add_compile_options(-Wall -Wextra -Wpedantic)
if(DOORSTEP_WERROR)
  add_compile_options(-Werror)
endif()
if(DOORSTEP_SANITIZE)
  add_compile_options(-fsanitize=${DOORSTEP_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DOORSTEP_SANITIZE})
  if(DOORSTEP_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's fences, which GCC says it does not see through; bounds of std::string, which it sees broken between what it instrumented.
    add_compile_options(-Wno-tsan -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
endif()
include_directories("${CMAKE_SOURCE_DIR}")
