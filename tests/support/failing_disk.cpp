// SPDX-License-Identifier: Apache-2.0
// A disk that fails on request, for a program under test: preloaded (LD_PRELOAD), it looks at each write and sync of files under DOORSTEP_FAILING_DISK into the
// file <that folder>.fault. "full": no file grows (ENOSPC); "read-only": no write at all (EROFS); "broken": no write at all (EIO); "fsync": no sync (EIO).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

/// The fault that is asked for now, where the descriptor is one of a file in the folder.
std::string fault_of(int fd) {
  const char* const folder = std::getenv("DOORSTEP_FAILING_DISK");
  if (folder == nullptr) return {};
  char path[4096];
  const auto length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  if (length < 0 || !std::string(path, static_cast<std::size_t>(length)).starts_with(std::string(folder) + "/")) return {};
  const int file = open((std::string(folder) + ".fault").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  char text[32];
  const auto read_count = read(file, text, sizeof text);
  close(file);
  return {text, read_count > 0 ? static_cast<std::size_t>(read_count) : 0};
}

/// @returns the error of a write up to `end`, 0 for none.
int write_error(int fd, off_t end) {
  const auto fault = fault_of(fd);
  if (fault == "read-only") return EROFS;
  if (fault == "broken") return EIO;
  struct stat now {};
  return fault == "full" && fstat(fd, &now) == 0 && end > now.st_size ? ENOSPC : 0;
}

template <class Write>
ssize_t write_unless_failing(const char* name, int fd, const void* bytes, size_t count, off_t at) {
  if (const int error = write_error(fd, at + static_cast<off_t>(count)); error != 0) {
    errno = error;
    return -1;
  }
  static auto* const write_on = next<Write>(name);
  return write_on(fd, bytes, count, at);
}

int sync_unless_failing(const char* name, int fd) {
  if (fault_of(fd) == "fsync") {
    errno = EIO;
    return -1;
  }
  return next<int(int)>(name)(fd);
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t at) {
  return write_unless_failing<ssize_t(int, const void*, size_t, off_t)>("pwrite", fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t at) {
  return write_unless_failing<ssize_t(int, const void*, size_t, off_t)>("pwrite64", fd, bytes, count, at);
}
int fsync(int fd) { return sync_unless_failing("fsync", fd); }
int fdatasync(int fd) { return sync_unless_failing("fdatasync", fd); }

}  // extern "C"
