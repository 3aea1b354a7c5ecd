// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite_vfs.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>

namespace doorstep {

namespace {

constexpr std::size_t gathered_bytes_max = 120 * 1024;  // SQLite's unix VFS takes less than 128 KiB a call (os_unix.c, seekAndWriteFd)

/// What SQLite allocates for a file that is not only the default VFS's; that one's own is behind it.
struct own_file : sqlite3_file {
  std::string* waiting;  ///< bytes that are not written yet, or null
  sqlite3_int64 at;      ///< where in the file they belong
  sqlite3_int64 mapped;  ///< bytes of the map; 0 = none
};
static_assert(sizeof(own_file) % alignof(sqlite3_int64) == 0, "the default VFS's file follows it");

own_file& mine(sqlite3_file* file) { return *static_cast<own_file*>(file); }
sqlite3_file* behind(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(static_cast<own_file*>(file) + 1); }

template <auto Method, class... Ts>
auto forward(sqlite3_file* file, Ts... xs) {
  auto* real = behind(file);
  return (real->pMethods->*Method)(real, xs...);
}

/// What fails is dropped: the transaction fails with it, and the next one writes those places anew.
int write_out(sqlite3_file* file) {
  auto& waiting = *mine(file).waiting;
  if (waiting.empty()) return SQLITE_OK;
  const int code =
      forward<&sqlite3_io_methods::xWrite>(file, static_cast<const void*>(waiting.data()), static_cast<int>(waiting.size()), mine(file).at);
  waiting.clear();
  return code;
}

template <auto Method, class... Ts>
int written_then(sqlite3_file* file, Ts... xs) {
  if (const int code = write_out(file); code != SQLITE_OK) return code;
  return forward<Method>(file, xs...);
}

int gather(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 at) {
  auto& waiting = *mine(file).waiting;
  const auto size = static_cast<std::size_t>(count);
  const bool follows = at == mine(file).at + static_cast<sqlite3_int64>(waiting.size());
  if (!follows || waiting.size() + size > gathered_bytes_max)
    if (const int code = write_out(file); code != SQLITE_OK) return code;
  if (waiting.empty()) mine(file).at = at;
  try {
    waiting.append(static_cast<const char*>(bytes), size);
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return SQLITE_OK;
}

int close_gathered(sqlite3_file* file) {
  const int written = write_out(file);
  delete mine(file).waiting;
  const int closed = forward<&sqlite3_io_methods::xClose>(file);
  return written != SQLITE_OK ? written : closed;
}

int fetch(sqlite3_file* file, sqlite3_int64 at, int count, void** page) {
  const int code = forward<&sqlite3_io_methods::xFetch>(file, at, count, page);
  if (code == SQLITE_OK && *page != nullptr && mine(file).mapped == 0) forward<&sqlite3_io_methods::xFileSize>(file, &mine(file).mapped);
  return code;
}

/// Without a page it is the question whether to unmap: the file may have another size now. Pages beyond the map are read the ordinary way.
int unfetch(sqlite3_file* file, sqlite3_int64 at, void* page) {
  if (page == nullptr && mine(file).mapped != 0) {
    sqlite3_int64 size = 0;
    const int code = forward<&sqlite3_io_methods::xFileSize>(file, &size);
    if (code == SQLITE_OK && size >= mine(file).mapped && size < mine(file).mapped + mine(file).mapped / 8) return SQLITE_OK;
    mine(file).mapped = 0;
  }
  return forward<&sqlite3_io_methods::xUnfetch>(file, at, page);
}

using io = sqlite3_io_methods;

io forwarding() {
  io out{};
  out.iVersion = 3;
  out.xClose = [](sqlite3_file* f) { return forward<&io::xClose>(f); };
  out.xRead = [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return forward<&io::xRead>(f, to, n, at); };
  out.xWrite = [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) { return forward<&io::xWrite>(f, from, n, at); };
  out.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) { return forward<&io::xTruncate>(f, size); };
  out.xSync = [](sqlite3_file* f, int flags) { return forward<&io::xSync>(f, flags); };
  out.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) { return forward<&io::xFileSize>(f, size); };
  out.xLock = [](sqlite3_file* f, int level) { return forward<&io::xLock>(f, level); };
  out.xUnlock = [](sqlite3_file* f, int level) { return forward<&io::xUnlock>(f, level); };
  out.xCheckReservedLock = [](sqlite3_file* f, int* is_held) { return forward<&io::xCheckReservedLock>(f, is_held); };
  out.xFileControl = [](sqlite3_file* f, int what, void* with) { return forward<&io::xFileControl>(f, what, with); };
  out.xSectorSize = [](sqlite3_file* f) { return forward<&io::xSectorSize>(f); };
  out.xDeviceCharacteristics = [](sqlite3_file* f) { return forward<&io::xDeviceCharacteristics>(f); };
  out.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** at) { return forward<&io::xShmMap>(f, page, size, extend, at); };
  out.xShmLock = [](sqlite3_file* f, int at, int n, int flags) { return forward<&io::xShmLock>(f, at, n, flags); };
  out.xShmBarrier = [](sqlite3_file* f) { forward<&io::xShmBarrier>(f); };
  out.xShmUnmap = [](sqlite3_file* f, int remove) { return forward<&io::xShmUnmap>(f, remove); };
  return out;
}

/// The write-ahead log: it is asked for nothing that came after version 1 of the methods.
const io gathered_methods = [] {
  auto out = forwarding();
  out.iVersion = 1;
  out.xClose = close_gathered;
  out.xRead = [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return written_then<&io::xRead>(f, to, n, at); };
  out.xWrite = gather;
  out.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) { return written_then<&io::xTruncate>(f, size); };
  out.xSync = [](sqlite3_file* f, int flags) { return written_then<&io::xSync>(f, flags); };
  out.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) { return written_then<&io::xFileSize>(f, size); };
  return out;
}();

/// The database file of a reading connection.
const io mapped_methods = [] {
  auto out = forwarding();
  out.xFetch = fetch;
  out.xUnfetch = unfetch;
  return out;
}();

sqlite3_vfs* default_vfs(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

template <auto Method, class... Ts>
auto ask(sqlite3_vfs* vfs, Ts... xs) {
  auto* real = default_vfs(vfs);
  return (real->*Method)(real, xs...);
}

int open_behind(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  file->pMethods = nullptr;  // where it fails, SQLite then closes nothing
  return ask<&sqlite3_vfs::xOpen>(vfs, name, behind(file), flags, flags_out);
}

int open_gathering(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  if ((flags & SQLITE_OPEN_WAL) == 0) return ask<&sqlite3_vfs::xOpen>(vfs, name, file, flags, flags_out);
  auto waiting = std::unique_ptr<std::string>(new (std::nothrow) std::string);
  if (!waiting) return SQLITE_NOMEM;
  if (const int code = open_behind(vfs, name, file, flags, flags_out); code != SQLITE_OK) return code;
  mine(file).waiting = waiting.release();
  mine(file).at = 0;
  file->pMethods = &gathered_methods;
  return SQLITE_OK;
}

int open_mapping(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return ask<&sqlite3_vfs::xOpen>(vfs, name, file, flags, flags_out);
  if (const int code = open_behind(vfs, name, file, flags, flags_out); code != SQLITE_OK) return code;
  mine(file).mapped = 0;
  file->pMethods = &mapped_methods;
  return SQLITE_OK;
}

using opening = decltype(sqlite3_vfs::xOpen);

sqlite3_vfs make_vfs(const char* name, opening open) {
  auto* real = sqlite3_vfs_find(nullptr);
  sqlite3_vfs out{};
  out.iVersion = 2;
  out.szOsFile = real->szOsFile + static_cast<int>(sizeof(own_file));
  out.mxPathname = real->mxPathname;
  out.zName = name;
  out.pAppData = real;
  out.xOpen = open;
  out.xDelete = [](sqlite3_vfs* v, const char* path, int sync) { return ask<&sqlite3_vfs::xDelete>(v, path, sync); };
  out.xAccess = [](sqlite3_vfs* v, const char* path, int flags, int* is) { return ask<&sqlite3_vfs::xAccess>(v, path, flags, is); };
  out.xFullPathname = [](sqlite3_vfs* v, const char* path, int n, char* to) { return ask<&sqlite3_vfs::xFullPathname>(v, path, n, to); };
  out.xRandomness = [](sqlite3_vfs* v, int n, char* to) { return ask<&sqlite3_vfs::xRandomness>(v, n, to); };
  out.xSleep = [](sqlite3_vfs* v, int us) { return ask<&sqlite3_vfs::xSleep>(v, us); };
  out.xCurrentTime = [](sqlite3_vfs* v, double* now) { return ask<&sqlite3_vfs::xCurrentTime>(v, now); };
  out.xGetLastError = [](sqlite3_vfs* v, int n, char* to) { return ask<&sqlite3_vfs::xGetLastError>(v, n, to); };
  out.xCurrentTimeInt64 = [](sqlite3_vfs* v, sqlite3_int64* now) { return ask<&sqlite3_vfs::xCurrentTimeInt64>(v, now); };
  return out;
}

/// The empty name is SQLite's default, which differs in nothing but the calls.
const char* registered(sqlite3_vfs& vfs) { return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : ""; }

void end_on_unreadable_page(int) {
  constexpr std::string_view line =
      "doorstep: a page of the database could not be read from the disk (SIGBUS); check the disk of store.path. With store.map_bytes = 0 only what "
      "needs that page fails.\n";
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) std::_Exit(exit_io_error);  // nobody reads it
  std::_Exit(exit_io_error);
}

}  // namespace

const char* gathering_vfs() {
  static sqlite3_vfs vfs = make_vfs("doorstep-gathering", open_gathering);
  static const char* const name = registered(vfs);
  return name;
}

const char* mapping_vfs() {
  static sqlite3_vfs vfs = make_vfs("doorstep-mapping", open_mapping);
  static const char* const name = registered(vfs);
  std::signal(SIGBUS, end_on_unreadable_page);
  return name;
}

}  // namespace doorstep
