// SPDX-License-Identifier: Apache-2.0
// How SQLite's files meet the kernel where its default VFS makes more calls than it needs; everything else is the default's. https://www.sqlite.org/vfs.html
// - A page of the write-ahead log is written in two calls, 24 bytes and the page, and a commit has dozens of pages (https://www.sqlite.org/walformat.html). Here
//   those of a commit are one call, or one for 120 KiB: they are gathered until SQLite syncs, reads, or writes elsewhere.
// - A connection that reads through memory maps (https://www.sqlite.org/mmap.html) unmaps the file whenever another one has committed, fifty times a second, and then
//   faults every page in again. Here the map stays until the file has grown by an eighth, or has shrunk.
#pragma once

namespace doorstep {

constexpr int exit_io_error = 74;  ///< EX_IOERR of sysexits.h: what the disk has is known only after a new start

/// The name to open the writing connection with. Others may use another VFS at the same time.
/// What could not be written is told by the call that had to write it: at the latest by the sync of the commit, whose transaction then fails.
const char* gathering_vfs();

/// The name to open a reading connection with; how much it maps is PRAGMA mmap_size. A page of the map that the disk cannot read ends the process with a line on
/// standard error and exit_io_error.
const char* mapping_vfs();

}  // namespace doorstep
