// SPDX-License-Identifier: Apache-2.0
// Logs and stores as the contract suites see them: made by name, driven the same way whether they answer at once, when run, or from threads of their own.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/message_log.hpp"
#include "storage/message_store.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {

/// A folder that goes away with the test.
class scratch_folder {
public:
  scratch_folder();
  ~scratch_folder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
  std::string path_;
};

/// What a contract suite runs against. `store` is null where only a log is asked for, and the other way round.
struct engines {
  std::unique_ptr<metrics> counts = std::make_unique<metrics>();
  std::unique_ptr<message_log> log;
  std::unique_ptr<message_store> store;
  std::function<void()> run = [] {};  ///< does what is due, where the engine has no thread
  ~engines();
};

config test_config(const scratch_folder& in);
/// "memory" and "embedded" (log and store on one table), "embedded-log" (a log alone), "kafka" (with a store in SQLite), "memory-store", "sqlite-store" and "mongodb" (a store beside another
/// log).
std::unique_ptr<engines> make_engines(const std::string& kind, const config& options);

/// The broker in DOORSTEP_TEST_KAFKA, or an empty text.
std::string shared_kafka();
/// Points the options at a broker and at a topic of the folder's own.
void use_kafka(config& options, const std::string& brokers, const scratch_folder& folder);

/// Waits for one answer; a test fails by the exception where none comes within ten seconds.
template <class T>
class answer {
public:
  std::function<void(result<T>)> taker() const {
    return [at = at_](result<T> x) {
      const std::lock_guard lock(at->mutex);
      at->value = std::make_unique<result<T>>(std::move(x));
      at->changed.notify_all();
    };
  }
  bool ready() const {
    const std::lock_guard lock(at_->mutex);
    return at_->value != nullptr;
  }
  result<T> wait() const {
    std::unique_lock lock(at_->mutex);
    if (!at_->changed.wait_for(lock, std::chrono::seconds(10), [&] { return at_->value != nullptr; }))
      throw std::runtime_error("no answer within 10 s");
    return std::move(*at_->value);
  }

private:
  struct state {
    std::mutex mutex;
    std::condition_variable changed;
    std::unique_ptr<result<T>> value;
  };
  std::shared_ptr<state> at_ = std::make_shared<state>();
};

/// A shard's side of the hand-over: keeps what it is given.
class record_taker {
public:
  log_sink sink();
  /// Waits until there are at least `count` records. @returns all there are then.
  std::vector<logged> wait_for(std::size_t count);
  std::vector<logged> taken() const;
  std::uint64_t next_offset() const;

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<logged> records_;
  std::uint64_t next_ = 0;
};

/// An entry as a router makes them: id from (source, event id, address).
log_entry entry_for(const std::string& user, const std::string& event_id, std::int64_t appended_ms = 1'000'000);
log_entry entry_from(const std::shared_ptr<const origin_partition>& from, std::int64_t offset, std::int64_t floor, const std::string& user);
address user(const std::string& id);
cursor_record record(const std::string& who, std::uint64_t version, sequence floor, std::vector<sequence> above = {});

result<std::vector<appended>> append(engines& to, std::vector<log_entry> entries);
result<void> write(engines& to, store_batch batch, urgency when = urgency::now);
result<stored_mailbox> load(engines& from, const address& who, std::size_t limit = 100);
result<stored_page> read(engines& from, const address& who, sequence after, std::size_t limit = 100);
result<std::vector<cursor_record>> cursors(engines& from, std::vector<address> keys);
result<stored_places> locate(engines& from, const address& who, std::vector<sequence> seqs);
result<stored_history> history(engines& from, const address& who, history_query query = {});
result<reaped> reap(engines& in, reap_step step);
result<std::vector<dead_letter>> dead_letters(engines& from, dead_letter_query query = {});

}  // namespace doorstep::test
