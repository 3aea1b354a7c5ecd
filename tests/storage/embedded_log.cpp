// SPDX-License-Identifier: Apache-2.0
// What the embedded engines promise beyond the contracts: everything above holds over a restart, a kill and a full disk.
#include "storage/embedded_log.hpp"

#include "runtime/devices.hpp"
#include "storage/sqlite_database.hpp"
#include "tests/support/engines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace doorstep::test {
namespace {

class embedded : public testing::Test {
protected:
  void open() { at = make_engines("embedded", options); }
  void reopen() {
    at.reset();
    open();
  }

  scratch_folder folder;
  config options = test_config(folder);
  std::unique_ptr<engines> at;
};

TEST_F(embedded, seqs_go_on_after_a_restart) {
  open();
  append(*at, {entry_for("alice", "1"), entry_for("alice", "2")}).value();
  reopen();
  EXPECT_EQ(at->log->end_offset(shard_of(user("alice"), 4)), 2u);
  EXPECT_EQ(append(*at, {entry_for("alice", "3")}).value()[0].seq, sequence::at(0, 2));
}

TEST_F(embedded, a_duplicate_is_known_after_a_restart) {
  open();
  append(*at, {entry_for("alice", "1")}).value();
  reopen();
  EXPECT_EQ(append(*at, {entry_for("alice", "1")}).value()[0].what, verdict::duplicate);
}

TEST_F(embedded, a_replay_is_known_after_a_restart_by_floor_and_by_what_lies_above_it) {
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
  options.log.dedup_window = milliseconds(0);  // so that only the origin can tell
  open();
  append(*at, {entry_from(orders, 10, 10, "alice"), entry_from(orders, 12, 11, "alice"), entry_from(orders, 12, 11, "bob")}).value();
  reopen();
  const auto verdicts = append(*at, {entry_from(orders, 10, 11, "alice"), entry_from(orders, 12, 11, "alice"), entry_from(orders, 12, 11, "bob"),
                                     entry_from(orders, 12, 11, "carol"), entry_from(orders, 11, 11, "alice")})
                            .value();
  EXPECT_EQ(verdicts[0].what, verdict::replay);
  EXPECT_EQ(verdicts[1].what, verdict::replay);
  EXPECT_EQ(verdicts[2].what, verdict::replay);
  EXPECT_EQ(verdicts[3].what, verdict::appended) << "the fan-out had not come this far";
  EXPECT_EQ(verdicts[4].what, verdict::appended);
}

TEST_F(embedded, an_old_cursor_finds_its_messages_after_a_restart_with_no_new_publish) {
  open();
  const auto seqs = append(*at, {entry_for("alice", "1"), entry_for("alice", "2"), entry_for("alice", "3")}).value();
  write(*at, {{}, {record("alice", 9, seqs[0].seq)}, {}, {{shard_of(user("alice"), 4), 3}}}).value();
  write(*at, {{}, {}, {}, {{shard_of(user("alice"), 4), 2}}}).value();
  reopen();
  const auto box = load(*at, user("alice")).value();
  EXPECT_EQ(box.record.version, 9u);
  ASSERT_EQ(box.page.messages.size(), 2u);
  EXPECT_EQ(box.page.messages[0]->seq, seqs[1].seq);
  EXPECT_GE(box.page.complete_to, seqs[2].seq);
  EXPECT_EQ(box.unread, 3u);
  const auto positions = at->store->positions();
  EXPECT_EQ(positions.at(static_cast<std::size_t>(shard_of(user("alice"), 4))).next_offset, 3u) << "positions are monotone";
}

TEST_F(embedded, log_and_store_are_one_write) {
  open();
  EXPECT_TRUE(at->store->shares_log());
  append(*at, {entry_for("alice", "1")}).value();
  EXPECT_EQ(at->counts->log_commits.value(), 1);
  EXPECT_EQ(at->counts->store_commits.value(), 0);
  EXPECT_EQ(read(*at, user("alice"), {}).value().messages.size(), 1u);
}

/// 130,000 rows are two flushed segments and a tail: pages, counts, the log and dedup cross both seams.
class embedded_at_size : public embedded {
protected:
  static constexpr int rows = 130'000, batch = 2'000, people = 600;
  static std::string person(int i) { return "u" + std::to_string((i * 7919) % people); }
  static log_entry entry(int i) { return entry_for(person(i), std::to_string(i)); }

  void fill() {
    for (int i = 0; i < rows; i += batch) {
      std::vector<log_entry> entries;
      for (int j = i; j < i + batch; ++j) entries.push_back(entry(j));
      for (const auto& x : append(*at, std::move(entries)).value()) ASSERT_EQ(x.what, verdict::appended);
    }
  }
  void check_pages(const std::string& who) {
    std::vector<std::string> expected, found;
    for (int i = 0; i < rows; ++i)
      if (person(i) == who) expected.push_back(std::to_string(i));
    std::vector<sequence> seqs;
    for (bool more = true; more;) {
      const auto page = read(*at, user(who), seqs.empty() ? sequence{} : seqs.back(), 37).value();
      for (const auto& x : page.messages) {
        found.push_back(x->what->id);
        seqs.push_back(x->seq);
      }
      more = page.more;
    }
    ASSERT_EQ(found, expected);
    // unread from places in the first, the second and no segment on disk
    std::uint64_t version = load(*at, user(who)).value().record.version;
    for (std::size_t i = 0; i < seqs.size(); i += 23) {
      auto x = record(who, ++version, {});
      x.read_upto = seqs[i];
      write(*at, {{}, {x}, {}, {}}).value();
      ASSERT_EQ(load(*at, user(who)).value().unread, seqs.size() - i - 1);
    }
  }
  void check_log(std::uint64_t from) {
    record_taker taker;
    at->log->open_shard(shard_id{1}, from, taker.sink());
    at->log->grant(shard_id{1}, rows);
    const auto count = at->log->end_offset(shard_id{1}) - from;
    const auto records = taker.wait_for(count);
    ASSERT_EQ(records.size(), count);
    for (std::size_t i = 0; i < records.size(); ++i) ASSERT_EQ(records[i].what->seq, sequence::at(0, from + i));
    at->log->close_shard(shard_id{1});
  }
  void check_duplicates() {
    std::vector<log_entry> entries;
    for (int i = 0; i < rows; i += 97) entries.push_back(entry(i));
    for (const auto& x : append(*at, std::move(entries)).value()) ASSERT_EQ(x.what, verdict::duplicate);
  }
};

TEST_F(embedded_at_size, pages_counts_log_and_dedup_cross_from_the_index_on_disk_to_the_tail) {
  open();
  fill();
  for (int round = 0; round < 2; ++round) {
    check_pages("u0");
    check_pages("u599");
    check_log(0);
    check_log(10'001);
    check_duplicates();
    reopen();
  }
}

TEST_F(embedded, devices_outlive_the_journal_and_one_that_was_forgotten_stays_so) {
  options.delivery.ack_scope = "device";
  open();
  const auto device = [](const std::string& name, std::uint64_t version, std::uint64_t floor) {
    auto out = record("alice", version, {floor});
    out.user = device_box(user("alice"), name);
    out.seen = {name == "phone" ? 1'000 : 9'000};
    return out;
  };
  const auto fill_the_journal = [&](std::uint64_t round) {  // until it is taken into the table
    for (std::uint64_t version = 1; version <= 101; ++version) {
      store_batch batch;
      for (int i = 0; i < 1000; ++i) batch.cursors.push_back(record("u" + std::to_string(i), round * 1000 + version, {version}));
      write(*at, std::move(batch), urgency::soon).value();
    }
  };
  write(*at, {{}, {device("phone", 5, 7), device("laptop", 5, 8)}, {}, {}}).value();
  fill_the_journal(1);
  reopen();
  EXPECT_EQ(load(*at, device_box(user("alice"), "phone")).value().record.acked.floor(), sequence{7});
  EXPECT_EQ(reap(*at, {{5'000}, {}, 10, reap_kind::devices}).value().removed, 1u);
  fill_the_journal(2);
  reopen();
  EXPECT_FALSE(is_registered(load(*at, device_box(user("alice"), "phone")).value().record));
  EXPECT_EQ(load(*at, device_box(user("alice"), "laptop")).value().record.acked.floor(), sequence{8});
  EXPECT_EQ(load(*at, user("alice")).value().devices, 1u);
}

TEST_F(embedded, cursors_outlive_their_journal_and_stay_monotone) {
  open();
  // more records than the journal keeps, so that some go to the table in between
  std::uint64_t version = 0;
  for (int round = 0; round < 130; ++round) {
    store_batch batch;
    ++version;
    for (int i = 0; i < 1000; ++i) batch.cursors.push_back(record("u" + std::to_string(i), version, {version * 10}));
    write(*at, std::move(batch)).value();
  }
  for (int round = 0; round < 2; ++round) {
    write(*at, {{}, {record("u5", 3, {1})}, {}, {}}).value();
    const auto found = load(*at, user("u5")).value().record;
    EXPECT_EQ(found.version, 130u);
    EXPECT_EQ(found.acked.floor(), sequence{1300});
    reopen();
  }
}

TEST_F(embedded, a_second_opening_is_refused_and_names_the_file) {
  open();
  metrics counts;
  const auto second = open_embedded(options, counts);
  ASSERT_TRUE(second.has_error());
  EXPECT_EQ(second.error().code, ec::unavailable);
  EXPECT_THAT(second.error().detail, testing::HasSubstr(options.store.path));
  EXPECT_THAT(second.error().detail, testing::HasSubstr("in use"));
}

TEST_F(embedded, another_shard_count_is_refused_and_says_what_to_do) {
  open();
  at.reset();
  options.log.shards = 16;
  metrics counts;
  const auto opened = open_embedded(options, counts);
  ASSERT_TRUE(opened.has_error());
  EXPECT_EQ(opened.error().code, ec::bad_config);
  EXPECT_THAT(opened.error().detail, testing::HasSubstr("log.shards = 4"));
}

TEST_F(embedded, a_file_of_a_newer_version_is_refused) {
  open();
  at.reset();
  std::fstream file(options.store.path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(60);  // user_version, big-endian, in the file's header
  file.write("\0\0\0\x63", 4);
  file.close();
  metrics counts;
  const auto opened = open_embedded(options, counts);
  ASSERT_TRUE(opened.has_error());
  EXPECT_EQ(opened.error().code, ec::unsupported);
  EXPECT_THAT(opened.error().detail, testing::HasSubstr("newer Doorstep"));
}

TEST_F(embedded, a_file_that_is_no_database_is_refused_and_not_touched) {
  std::filesystem::create_directories(std::filesystem::path(options.store.path).parent_path());
  const std::string text(9000, 'x');
  std::ofstream(options.store.path) << text;
  metrics counts;
  const auto opened = open_embedded(options, counts);
  ASSERT_TRUE(opened.has_error());
  EXPECT_THAT(opened.error().detail, testing::HasSubstr(options.store.path));
  EXPECT_EQ(std::filesystem::file_size(options.store.path), text.size());
}

/// Runs `body` in a process of its own, which has no threads yet. @returns its pid.
template <class Body>
pid_t in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  return pid;
}

struct accepted_row {
  std::int32_t number = 0;
  std::uint64_t seq = 0;
};

TEST_F(embedded, what_was_accepted_before_a_kill_is_there_afterwards_with_the_same_seq) {
  constexpr int batch = 500;
  std::map<std::int32_t, std::uint64_t> accepted;
  int first = 0;
  // the third and the fourth kill come while a segment of 50,000 rows goes to disk
  for (const std::size_t reports : {std::size_t{7 * batch}, std::size_t{40 * batch}, std::size_t{61 * batch}, std::size_t{100 * batch + 300}}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = in_child([&] {
      close(ends[0]);
      auto engines = make_engines("embedded", options);
      for (int i = first;; i += batch) {
        std::vector<log_entry> entries;
        for (int j = i; j < i + batch; ++j) entries.push_back(entry_for("u" + std::to_string(j % 5000), std::to_string(j)));
        const auto verdicts = append(*engines, std::move(entries)).value();
        for (int j = 0; j < batch; ++j) {
          const accepted_row row{i + j, verdicts[static_cast<std::size_t>(j)].seq.value};
          if (::write(ends[1], &row, sizeof row) != sizeof row) _exit(1);
        }
      }
    });
    close(ends[1]);
    accepted_row row;
    for (std::size_t i = 0; i < reports && ::read(ends[0], &row, sizeof row) == sizeof row; ++i) accepted[row.number] = row.seq;
    kill(child, SIGKILL);
    while (::read(ends[0], &row, sizeof row) == sizeof row) accepted[row.number] = row.seq;
    close(ends[0]);
    waitpid(child, nullptr, 0);
    ASSERT_GE(accepted.size(), reports);
    first = accepted.rbegin()->first + 1 + batch;  // one batch may be there without a report

    open();
    std::map<std::string, std::map<std::uint64_t, std::string>> by_user;
    for (int u = 0; u < 5000; u += 7) {
      const auto who = "u" + std::to_string(u);
      const auto box = load(*at, user(who), 1000).value();
      EXPECT_EQ(box.unread, box.page.messages.size());
      for (const auto& x : box.page.messages) by_user[who][x->seq.value] = x->what->id;
    }
    for (const auto& [number, seq] : accepted) {
      if (number % 5000 % 7 == 0) {
        ASSERT_EQ(by_user["u" + std::to_string(number % 5000)][seq], std::to_string(number));
      }
    }
    at.reset();
  }
}

TEST_F(embedded, a_start_after_a_kill_says_so_and_one_after_a_clean_stop_does_not) {
  const auto log_of_opening = [&] {
    at.reset();
    testing::internal::CaptureStderr();
    open();
    return testing::internal::GetCapturedStderr();
  };
  const pid_t child = in_child([&] {
    const auto engines = make_engines("embedded", options);
    append(*engines, {entry_for("alice", "1")}).value();
    kill(getpid(), SIGKILL);
  });
  waitpid(child, nullptr, 0);
  EXPECT_THAT(log_of_opening(), testing::HasSubstr("WARN  store not-stopped-cleanly path=" + options.store.path));
  EXPECT_EQ(at->counts->started_after_crash.value(), 1);
  append(*at, {entry_for("alice", "2")}).value();
  EXPECT_THAT(log_of_opening(), testing::Not(testing::HasSubstr("not-stopped-cleanly")));
  EXPECT_EQ(at->counts->started_after_crash.value(), 0);
}

TEST_F(embedded, only_a_file_that_was_there_is_migrated) {
  testing::internal::CaptureStderr();
  open();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::Not(testing::HasSubstr("migrated"))) << "a new file has no past";
  dead_letter old;
  old.id = "orders/3/17@0";
  store_batch batch;
  batch.dead.push_back(old);
  write(*at, std::move(batch)).value();
  at.reset();
  sqlite3* file = nullptr;
  ASSERT_EQ(sqlite3_open(options.store.path.c_str(), &file), SQLITE_OK);
  const char* const to_version_1 =
      "ALTER TABLE dead_letter DROP COLUMN requeue; ALTER TABLE dead_letter DROP COLUMN requeued; DROP TABLE inbox; DROP TABLE shard_origin; "
      "ALTER TABLE shard DROP COLUMN gone_to; DROP INDEX dead_letter_unmirrored; DROP INDEX dead_letter_last; "
      "ALTER TABLE dead_letter DROP COLUMN mirrored; DROP TABLE expiring; "
      "ALTER TABLE message DROP COLUMN bytes; ALTER TABLE message DROP COLUMN terms; "
      "ALTER TABLE posting DROP COLUMN bytes; ALTER TABLE dead_letter DROP COLUMN terms; DROP TABLE device; PRAGMA user_version = 1";
  EXPECT_EQ(sqlite3_exec(file, to_version_1, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(file);
  testing::internal::CaptureStderr();
  open();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("INFO  store migrated path=" + options.store.path + " from=1 to=2"));
  dead_letter_query unmirrored;
  unmirrored.unmirrored = true;
  EXPECT_EQ(dead_letters(*at, unmirrored).value().size(), 1u) << "what was kept before there was a mirror goes there too";
  EXPECT_TRUE(history(*at, user("alice")).has_value());
}

TEST_F(embedded, a_file_of_before_there_were_ranges_and_bytes_says_the_same) {
  options.delivery.mailbox_bytes_max = 1;
  open();
  std::vector<log_entry> entries;
  for (int i = 0; i < 10; ++i) entries.push_back(entry_for("alice", std::to_string(i)));
  const auto bytes = content_bytes(entries[0].what.get());
  append(*at, std::move(entries)).value();
  at.reset();
  sqlite3* file = nullptr;
  ASSERT_EQ(sqlite3_open(options.store.path.c_str(), &file), SQLITE_OK);
  // A cursor record as it was: version 7, floor 2, no horizon, the single seqs 4 and 6.
  const char* const as_before =
      "UPDATE message SET bytes = NULL; INSERT INTO cursor VALUES ('user:alice', 7, x'0A00757365723A616C696365070000000000000002000000000000000000"
      "000000000000000000000000000000020000000400000000000000'||x'0600000000000000')";
  char* why = nullptr;
  EXPECT_EQ(sqlite3_exec(file, as_before, nullptr, nullptr, &why), SQLITE_OK) << why;
  sqlite3_close(file);
  open();
  const auto box = load(*at, user("alice"), 2).value();
  EXPECT_EQ(box.record.version, 7u);
  EXPECT_EQ(box.record.acked, cursor({2}, {{4}, {6}}));
  EXPECT_EQ(box.owed.messages, 6u);
  EXPECT_EQ(box.owed.bytes, 6 * bytes);
}

TEST_F(embedded, a_full_disk_refuses_without_a_trace_and_works_again_when_there_is_space) {
  const auto orders = std::make_shared<const origin_partition>(origin_partition{"orders", 0, "orders", 3});
  const pid_t child = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    auto engines = make_engines("embedded", options);
    const auto check = [](bool ok, int code) {
      if (!ok) _exit(code);
    };
    check(append(*engines, {entry_from(orders, 1, 0, "alice")}).has_value(), 10);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit tiny{std::filesystem::file_size(options.store.path + "-wal"), limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tiny);
    for (int i = 0; i < 3; ++i) {
      const auto refused = append(*engines, {entry_from(orders, 2, 0, "alice"), entry_for("bob", "1")});
      check(refused.has_error() && refused.error().code == ec::unavailable, 11);
      check(refused.error().detail.find(options.store.path) != std::string::npos, 12);
    }
    check(engines->counts->append_failures.value() == 6, 13);
    check(write(*engines, {{}, {record("alice", 1, {1})}, {}, {}}).has_error(), 14);
    check(load(*engines, user("alice")).value().page.messages.size() == 1, 15);
    check(load(*engines, user("alice")).value().record.version == 0, 16);
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto again = append(*engines, {entry_from(orders, 2, 0, "alice"), entry_for("bob", "1")});
    check(again.has_value(), 17);
    check(again.value()[0].what == verdict::appended && again.value()[1].what == verdict::appended, 18);
    check(again.value()[0].seq == sequence::at(0, 1), 19);
    check(write(*engines, {{}, {record("alice", 1, {1})}, {}, {}}).has_value(), 20);
    engines.reset();
    auto reopened = make_engines("embedded", options);
    check(load(*reopened, user("alice")).value().unread == 2, 21);
    check(load(*reopened, user("bob")).value().unread == 1, 22);
  });
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the number of the check that failed";
}

}  // namespace
}  // namespace doorstep::test
