// SPDX-License-Identifier: Apache-2.0
// Cursors as one connection finds them: a mailbox's, and those of all devices of a user. The device table only says where to look: a device is there while its
// newest record says so. Used by the thread of its connection; throws SQLite's exceptions.
#pragma once

#include "runtime/devices.hpp"
#include "runtime/error.hpp"
#include "storage/sqlite_cursors.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace SQLite {
class Database;
}

namespace doorstep {

class sqlite_devices {
public:
  /// @param by_device whether devices have cursors of their own; without that none is looked for
  sqlite_devices(SQLite::Database& db, const cursor_book& book, bool by_device);
  ~sqlite_devices();

  result<cursor_record> newest(const address& box);
  /// Registered ones, in order of their ids.
  result<std::vector<cursor_record>> of(const address& user);
  /// What a mailbox is loaded with: for a device without a record the one it begins with. @param complete_to asked for that alone
  /// @param count the devices of its user
  result<cursor_record> to_load(const address& box, const std::function<sequence()>& complete_to, std::size_t& count);
  /// By each of these a message has to be acked: the devices of the user or, where there are none, the user.
  result<std::vector<cursor_record>> judges(const address& user);
  /// Names in the table after `after`, whoever's: user and device.
  std::vector<address> after(const address& after, std::size_t limit);

private:
  const cursor_book& book_;
  const bool by_device_;
  struct statements;
  std::unique_ptr<statements> sql_;
};

/// Where the file was last used with another delivery.ack_scope: turns cursors of devices into the users' own, in the open transaction. @returns journal rows.
result<std::vector<cursor_record>> records_of_scope(SQLite::Database& db, const cursor_book& book, bool by_device);

}  // namespace doorstep
