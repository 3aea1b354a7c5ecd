// SPDX-License-Identifier: Apache-2.0
// The VFSs that gather writes of SQLite's write-ahead log, and that keep the map of the database: fewer calls, and nothing else that anybody could see.
#include "storage/sqlite_vfs.hpp"

#include "tests/support/engines.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace doorstep::test {
namespace {

class sqlite_vfs_test : public testing::Test {
protected:
  std::unique_ptr<SQLite::Database> open(const std::string& vfs) const {
    auto out = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_NOMUTEX, 1000, vfs);
    out->exec("PRAGMA journal_mode = WAL");
    out->exec("PRAGMA synchronous = FULL");
    out->exec("PRAGMA wal_autocheckpoint = 0");
    out->exec("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, bytes BLOB)");
    return out;
  }
  /// One transaction of so many rows of 2,000 bytes, so of about half as many pages.
  static void add(SQLite::Database& db, int rows) {
    SQLite::Transaction transaction(db);
    for (int i = 0; i < rows; ++i) db.exec("INSERT INTO row (bytes) VALUES (zeroblob(2000))");
    transaction.commit();
  }
  static int rows_of(SQLite::Database& db) { return db.execAndGet("SELECT count(*) FROM row").getInt(); }
  /// Calls of this process that wrote. Source: proc(5), /proc/pid/io.
  static long writing_calls() { return calls("syscw:"); }
  static long reading_calls() { return calls("syscr:"); }
  static long page_faults() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return used.ru_minflt;
  }
  static long calls(const std::string& kind) {
    std::ifstream io("/proc/self/io");
    std::string name;
    for (long value = 0; io >> name >> value;)
      if (name == kind) return value;
    ADD_FAILURE() << "no " << kind << " in /proc/self/io";
    return 0;
  }
  std::unique_ptr<SQLite::Database> open_mapped() const {
    auto out = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READONLY | SQLite::OPEN_NOMUTEX, 1000, mapping_vfs());
    out->exec("PRAGMA mmap_size = 268435456");
    return out;
  }
  static long calls_of_reading_all(SQLite::Database& db) {
    const auto before = reading_calls();
    EXPECT_GT(db.execAndGet("SELECT sum(length(bytes)) FROM row").getInt(), 0);
    return reading_calls() - before;
  }
  static void checkpoint(SQLite::Database& db) { db.exec("PRAGMA wal_checkpoint(TRUNCATE)"); }
  static long calls_of_a_commit(SQLite::Database& db) {
    const auto before = writing_calls();
    add(db, 100);
    return writing_calls() - before;
  }

  scratch_folder folder;
  std::string path = folder.file("gathered.db");
};

TEST_F(sqlite_vfs_test, a_commit_of_many_pages_is_written_in_a_few_calls) {
  ASSERT_STREQ(gathering_vfs(), "doorstep-gathering");
  auto plain = open("");
  EXPECT_GE(calls_of_a_commit(*plain), 100);
  plain.reset();
  auto gathered = open(gathering_vfs());
  add(*gathered, 1);                           // begins the log: its header is a write and a sync of its own
  EXPECT_LE(calls_of_a_commit(*gathered), 3);  // 200 KB
}

TEST_F(sqlite_vfs_test, others_see_what_was_committed_and_the_next_start_too) {
  auto writing = open(gathering_vfs());
  SQLite::Database reading(path, SQLite::OPEN_READONLY);
  for (int i = 1; i <= 20; ++i) {
    add(*writing, 30);
    EXPECT_EQ(rows_of(reading), 30 * i);
  }
  // As after a crash: the files of this moment, without the writer's goodbye.
  const auto copy = folder.file("crashed.db");
  std::filesystem::copy_file(path, copy);
  std::filesystem::copy_file(path + "-wal", copy + "-wal");
  SQLite::Database after(copy, SQLite::OPEN_READWRITE);
  EXPECT_EQ(rows_of(after), 600);
  EXPECT_EQ(after.execAndGet("PRAGMA integrity_check").getString(), "ok");
}

TEST_F(sqlite_vfs_test, a_transaction_larger_than_the_cache_reads_its_own_pages_back) {
  auto db = open(gathering_vfs());
  db->exec("PRAGMA cache_size = 10");
  {
    SQLite::Transaction transaction(*db);
    for (int i = 0; i < 3000; ++i) db->exec("INSERT INTO row (bytes) VALUES (randomblob(2000))");  // 6 MB: more than is gathered, too
    EXPECT_EQ(db->execAndGet("SELECT count(*) FROM row WHERE length(bytes) = 2000").getInt(), 3000);
    db->exec("UPDATE row SET bytes = zeroblob(1000) WHERE id % 3 = 0");
    transaction.commit();
  }
  EXPECT_EQ(db->execAndGet("SELECT count(*) FROM row WHERE length(bytes) = 1000").getInt(), 1000);
  {
    SQLite::Transaction transaction(*db);
    db->exec("DELETE FROM row");
  }  // rolled back
  EXPECT_EQ(rows_of(*db), 3000);
  checkpoint(*db);
  add(*db, 10);
  EXPECT_EQ(rows_of(*db), 3010);
  EXPECT_EQ(db->execAndGet("PRAGMA integrity_check").getString(), "ok");
}

TEST_F(sqlite_vfs_test, what_cannot_be_written_fails_its_transaction_and_no_other) {
  auto db = open(gathering_vfs());
  add(*db, 10);
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto unlimited = limit.rlim_cur;
  limit.rlim_cur = std::filesystem::file_size(path + "-wal") + 20'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_THROW(add(*db, 100), SQLite::Exception);
  limit.rlim_cur = unlimited;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(rows_of(*db), 10);
  add(*db, 100);
  EXPECT_EQ(rows_of(*db), 110);
  db.reset();
  EXPECT_EQ(rows_of(*open("")), 110);
}

TEST_F(sqlite_vfs_test, a_map_outlives_what_others_commit) {
  ASSERT_STREQ(mapping_vfs(), "doorstep-mapping");
  auto writing = open(gathering_vfs());
  add(*writing, 12'000);
  checkpoint(*writing);
  auto reading = open_mapped();
  calls_of_reading_all(*reading);  // maps
  for (int i = 0; i < 10; ++i) {
    writing->exec("UPDATE row SET bytes = zeroblob(1999) WHERE id = " + std::to_string(1 + i * 100));
    const auto before = page_faults();
    EXPECT_LE(calls_of_reading_all(*reading), 20) << "of 6,000 pages";  // those of the write-ahead log
    EXPECT_LE(page_faults() - before, 150) << "24 MB are 6,000 pages, which the kernel maps 16 at once: 375 faults";
  }
  EXPECT_EQ(reading->execAndGet("SELECT count(*) FROM row WHERE length(bytes) = 1999").getInt(), 10);
}

TEST_F(sqlite_vfs_test, a_mapped_file_may_grow_and_shrink_and_is_read_as_it_is) {
  auto writing = open(gathering_vfs());
  add(*writing, 500);
  checkpoint(*writing);
  auto reading = open_mapped();
  EXPECT_EQ(rows_of(*reading), 500);
  for (int i = 0; i < 8; ++i) {
    add(*writing, 300);
    checkpoint(*writing);
    EXPECT_EQ(rows_of(*reading), 500 + 300 * (i + 1));
  }
  EXPECT_LE(calls_of_reading_all(*reading), 20);  // what it grew by is in the map as well
  const auto large = std::filesystem::file_size(path);
  writing->exec("DELETE FROM row WHERE id > 100");
  writing->exec("VACUUM");
  checkpoint(*writing);
  ASSERT_LT(std::filesystem::file_size(path), large / 4);
  EXPECT_EQ(rows_of(*reading), 100);
  add(*writing, 3000);
  checkpoint(*writing);
  EXPECT_EQ(rows_of(*reading), 3100);
  EXPECT_EQ(reading->execAndGet("PRAGMA integrity_check").getString(), "ok");
}

TEST_F(sqlite_vfs_test, a_page_of_the_map_that_cannot_be_read_ends_the_process_and_says_so) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto writing = open(gathering_vfs());
  add(*writing, 3000);
  checkpoint(*writing);
  EXPECT_EXIT(
      {
        auto reading = open_mapped();
        rows_of(*reading);
        std::filesystem::resize_file(path, 8192);  // behind SQLite's back: the kernel has nothing to put there
        calls_of_reading_all(*reading);
      },
      testing::ExitedWithCode(74), "could not be read from the disk");
}

}  // namespace
}  // namespace doorstep::test
