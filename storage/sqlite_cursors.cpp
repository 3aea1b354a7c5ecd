// SPDX-License-Identifier: Apache-2.0
// The newest cursor records in memory, between the journal and the table.
#include "storage/sqlite_cursors.hpp"

#include "storage/sqlite_format.hpp"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Statement.h>

#include <algorithm>
#include <utility>

namespace doorstep {

void cursor_book::put(std::vector<cursor_record> records, std::uint64_t entry) {
  active_records_ += records.size();
  active_entry_ = entry;
  const std::lock_guard lock(mutex_);
  for (auto& x : records) {
    auto& at = active_[x.user];
    if (x.version > at.version) at = std::move(x);
  }
}

std::optional<cursor_record> cursor_book::find(const address& user) const {
  const std::lock_guard lock(mutex_);
  std::optional<cursor_record> out;
  if (const auto found = active_.find(user); found != active_.end() && found->second.version > 0) out = found->second;
  if (frozen_) {
    const auto at = std::lower_bound(frozen_->begin(), frozen_->end(), user, [](const cursor_record& a, const address& b) { return a.user < b; });
    if (at != frozen_->end() && at->user == user && (!out || at->version > out->version)) out = *at;
  }
  return out;
}

void cursor_book::freeze() {
  auto sorted = std::make_unique<std::vector<cursor_record>>();
  std::unordered_map<address, cursor_record> gone;
  {
    const std::lock_guard lock(mutex_);
    sorted->reserve(active_.size());
    for (const auto& [user, record] : active_) sorted->push_back(record);
    std::sort(sorted->begin(), sorted->end(), [](const cursor_record& a, const cursor_record& b) { return a.user < b.user; });
    gone.swap(active_);
    frozen_ = std::move(sorted);
  }
  frozen_entry_ = active_entry_;
  active_records_ = 0;
}

void cursor_book::drop_frozen() {
  std::unique_ptr<std::vector<cursor_record>> gone;
  const std::lock_guard lock(mutex_);
  gone = std::move(frozen_);
}

result<cursor_record> newest_cursor(const cursor_book& book, SQLite::Statement& by_user, const address& user) {
  cursor_record out;
  out.user = user;
  if (auto newest = book.find(user)) out = std::move(*newest);
  by_user.reset();
  by_user.bind(1, std::string(user.text()));
  if (!by_user.executeStep()) return out;
  const auto column = by_user.getColumn(0);
  std::string_view bytes(static_cast<const char*>(column.getBlob()), static_cast<std::size_t>(column.getBytes()));
  auto stored = decode_cursor(bytes);
  by_user.reset();
  if (!stored) return stored.error();
  return stored->version > out.version ? std::move(*stored) : std::move(out);
}

}  // namespace doorstep
