// SPDX-License-Identifier: Apache-2.0
// SQLite writes a page of its write-ahead log in two calls, 24 bytes and the page, and a commit has dozens of pages. Through this VFS those of one commit reach the
// kernel in one call, or one for 120 KiB: they are gathered until SQLite syncs, reads, or writes elsewhere. https://www.sqlite.org/vfs.html, https://www.sqlite.org/walformat.html
#pragma once

struct sqlite3_io_methods;

namespace doorstep {

/// The name to open the writing connection with. Everything but the log's writes goes to SQLite's default VFS unchanged, so other connections may use that.
/// What could not be written is told by the call that had to write it: at the latest by the sync of the commit, whose transaction then fails.
const char* gathering_vfs();

}  // namespace doorstep
