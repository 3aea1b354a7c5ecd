// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite_wal_vfs.hpp"

#include <sqlite3.h>

#include <cstddef>
#include <memory>
#include <new>
#include <string>

namespace doorstep {

namespace {

constexpr std::size_t gathered_bytes_max = 120 * 1024;  // SQLite's unix VFS takes less than 128 KiB a call (os_unix.c, seekAndWriteFd)

/// The write-ahead log: what SQLite allocates for it, with the default VFS's own file behind.
struct gathered_file : sqlite3_file {
  std::string* waiting;  ///< bytes that are not written yet
  sqlite3_int64 at;      ///< where in the file they belong
};
static_assert(sizeof(gathered_file) % alignof(sqlite3_int64) == 0, "the default VFS's own file follows it");

sqlite3_file* behind(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(static_cast<gathered_file*>(file) + 1); }

/// What fails is dropped: the transaction fails with it, and the next one writes those places anew.
int write_out(sqlite3_file* file) {
  auto& mine = *static_cast<gathered_file*>(file);
  if (mine.waiting->empty()) return SQLITE_OK;
  auto* real = behind(file);
  const int code = real->pMethods->xWrite(real, mine.waiting->data(), static_cast<int>(mine.waiting->size()), mine.at);
  mine.waiting->clear();
  return code;
}

/// Writes what waits, then asks the file behind.
template <auto Method, class... Ts>
int written_then(sqlite3_file* file, Ts... xs) {
  if (const int code = write_out(file); code != SQLITE_OK) return code;
  auto* real = behind(file);
  return (real->pMethods->*Method)(real, xs...);
}

template <auto Method, class... Ts>
int forward(sqlite3_file* file, Ts... xs) {
  auto* real = behind(file);
  return (real->pMethods->*Method)(real, xs...);
}

int gather(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 at) {
  auto& mine = *static_cast<gathered_file*>(file);
  const auto size = static_cast<std::size_t>(count);
  const bool follows = at == mine.at + static_cast<sqlite3_int64>(mine.waiting->size());
  if (!follows || mine.waiting->size() + size > gathered_bytes_max)
    if (const int code = write_out(file); code != SQLITE_OK) return code;
  if (mine.waiting->empty()) mine.at = at;
  try {
    mine.waiting->append(static_cast<const char*>(bytes), size);
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return SQLITE_OK;
}

int close_file(sqlite3_file* file) {
  const int written = write_out(file);
  delete static_cast<gathered_file*>(file)->waiting;
  const int closed = forward<&sqlite3_io_methods::xClose>(file);
  return written != SQLITE_OK ? written : closed;
}

const sqlite3_io_methods methods{
    1,
    close_file,
    [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return written_then<&sqlite3_io_methods::xRead>(f, to, n, at); },
    gather,
    [](sqlite3_file* f, sqlite3_int64 size) { return written_then<&sqlite3_io_methods::xTruncate>(f, size); },
    [](sqlite3_file* f, int flags) { return written_then<&sqlite3_io_methods::xSync>(f, flags); },
    [](sqlite3_file* f, sqlite3_int64* size) { return written_then<&sqlite3_io_methods::xFileSize>(f, size); },
    [](sqlite3_file* f, int level) { return forward<&sqlite3_io_methods::xLock>(f, level); },
    [](sqlite3_file* f, int level) { return forward<&sqlite3_io_methods::xUnlock>(f, level); },
    [](sqlite3_file* f, int* is_held) { return forward<&sqlite3_io_methods::xCheckReservedLock>(f, is_held); },
    [](sqlite3_file* f, int what, void* with) { return forward<&sqlite3_io_methods::xFileControl>(f, what, with); },
    [](sqlite3_file* f) { return forward<&sqlite3_io_methods::xSectorSize>(f); },
    [](sqlite3_file* f) { return forward<&sqlite3_io_methods::xDeviceCharacteristics>(f); },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

sqlite3_vfs* default_vfs(sqlite3_vfs* mine) { return static_cast<sqlite3_vfs*>(mine->pAppData); }

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  auto* real = default_vfs(vfs);
  if ((flags & SQLITE_OPEN_WAL) == 0) return real->xOpen(real, name, file, flags, flags_out);
  file->pMethods = nullptr;  // SQLite then closes nothing
  auto waiting = std::unique_ptr<std::string>(new (std::nothrow) std::string);
  if (!waiting) return SQLITE_NOMEM;
  if (const int code = real->xOpen(real, name, behind(file), flags, flags_out); code != SQLITE_OK) return code;
  auto& mine = *static_cast<gathered_file*>(file);
  mine.waiting = waiting.release();
  mine.at = 0;
  mine.pMethods = &methods;
  return SQLITE_OK;
}

template <auto Method, class... Ts>
auto ask(sqlite3_vfs* vfs, Ts... xs) {
  auto* real = default_vfs(vfs);
  return (real->*Method)(real, xs...);
}

sqlite3_vfs make_vfs() {
  auto* real = sqlite3_vfs_find(nullptr);
  sqlite3_vfs out{};
  out.iVersion = 2;
  out.szOsFile = real->szOsFile + static_cast<int>(sizeof(gathered_file));
  out.mxPathname = real->mxPathname;
  out.zName = "doorstep-gathering";
  out.pAppData = real;
  out.xOpen = open_file;
  out.xDelete = [](sqlite3_vfs* v, const char* name, int sync) { return ask<&sqlite3_vfs::xDelete>(v, name, sync); };
  out.xAccess = [](sqlite3_vfs* v, const char* name, int flags, int* out) { return ask<&sqlite3_vfs::xAccess>(v, name, flags, out); };
  out.xFullPathname = [](sqlite3_vfs* v, const char* name, int n, char* to) { return ask<&sqlite3_vfs::xFullPathname>(v, name, n, to); };
  out.xRandomness = [](sqlite3_vfs* v, int n, char* to) { return ask<&sqlite3_vfs::xRandomness>(v, n, to); };
  out.xSleep = [](sqlite3_vfs* v, int us) { return ask<&sqlite3_vfs::xSleep>(v, us); };
  out.xCurrentTime = [](sqlite3_vfs* v, double* now) { return ask<&sqlite3_vfs::xCurrentTime>(v, now); };
  out.xGetLastError = [](sqlite3_vfs* v, int n, char* to) { return ask<&sqlite3_vfs::xGetLastError>(v, n, to); };
  out.xCurrentTimeInt64 = [](sqlite3_vfs* v, sqlite3_int64* now) { return ask<&sqlite3_vfs::xCurrentTimeInt64>(v, now); };
  return out;
}

}  // namespace

const char* gathering_vfs() {
  static sqlite3_vfs vfs = make_vfs();
  static const int code = sqlite3_vfs_register(&vfs, 0);
  return code == SQLITE_OK ? vfs.zName : "";  // empty is SQLite's default, which differs in nothing but the calls
}

}  // namespace doorstep
