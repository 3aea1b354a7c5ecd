// SPDX-License-Identifier: Apache-2.0
// Memory on pages of 2 MiB. What a message touches is spread over the state of all users, and on pages of 4 KiB most of it costs a walk through the page tables
// beside the cache miss (docs/decisions/0005-lanes.md). Called once, before the threads start.
#pragma once

#ifdef DOORSTEP_MIMALLOC
#include <mimalloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#endif
#include <cstddef>
#include <cstdint>

namespace doorstep {

/// Gives the allocator address space that the kernel backs with huge pages as it is used, and takes back as it is freed. Nothing is reserved beyond addresses, and
/// none of the huge pages that an administrator has set aside is taken. @returns false where that cannot be had; everything works without.
inline bool prefer_huge_pages() {
#ifdef DOORSTEP_MIMALLOC
  constexpr std::size_t gib = std::size_t{1} << 30, step = std::size_t{64} << 20;  // mimalloc takes 2 GiB at a time, in aligned pieces
  const auto memory = static_cast<std::size_t>(std::max(0L, sysconf(_SC_PHYS_PAGES))) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto size = std::clamp(memory / gib, std::size_t{1}, std::size_t{32}) * 2 * gib;
  void* const space = mmap(nullptr, size + step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return false;
  const auto first = (reinterpret_cast<std::uintptr_t>(space) + step - 1) / step * step;
  auto* const from = reinterpret_cast<void*>(first);
  if (madvise(from, size, MADV_HUGEPAGE) != 0) {
    munmap(space, size + step);
    return false;
  }
  constexpr bool committed = true, pinned = false, zero = true;
  return mi_manage_os_memory(from, size, committed, pinned, zero, -1);
#else
  return false;
#endif
}

}  // namespace doorstep
