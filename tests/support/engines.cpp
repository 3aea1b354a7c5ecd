// SPDX-License-Identifier: Apache-2.0
// Logs and stores for the contract suites.
#include "tests/support/engines.hpp"

#include "storage/kafka_log.hpp"
#include "storage/mongo_store.hpp"
#include "storage/sqlite_database.hpp"
#include "storage/sqlite_store.hpp"
#include "tests/support/memory_log.hpp"
#include "tests/support/memory_store.hpp"

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace doorstep::test {

scratch_folder::scratch_folder() {
  auto pattern = (std::filesystem::temp_directory_path() / "doorstep-test-XXXXXX").string();
  if (!mkdtemp(pattern.data())) throw std::runtime_error("cannot make a scratch folder");
  path_ = pattern;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

engines::~engines() {
  if (log) log->stop();
  if (store) store->stop();
}

config test_config(const scratch_folder& in) {
  config out;
  out.store.path = in.file("data/doorstep.db");
  out.log.shards = 4;
  return out;
}

std::string shared_kafka() {
  const char* const brokers = std::getenv("DOORSTEP_TEST_KAFKA");
  return brokers != nullptr ? brokers : "";
}

void use_kafka(config& options, const std::string& brokers, const scratch_folder& folder) {
  const auto path = folder.file("");
  options.log.engine = "kafka";
  options.log.brokers = brokers;
  options.log.topic = options.log.group = "doorstep_test_" + path.substr(path.size() - 7, 6);  // mkdtemp's letters
  options.log.replication = 1;
}

namespace {

log_identity log_of_the_tests(std::uint32_t shards) { return {"a log of the tests", 0, std::vector<std::uint64_t>(shards, UINT64_MAX)}; }

}  // namespace

std::unique_ptr<engines> make_engines(const std::string& kind, const config& options) {
  auto out = std::make_unique<engines>();
  const auto shards = static_cast<std::uint32_t>(options.log.shards);
  if (kind == "memory") {
    auto log = std::make_unique<memory_log>(memory_log_options{shards, 0, options.log.queue_entries_max, options.log.dedup_window});
    auto store = std::make_unique<memory_store>(*log);
    out->run = [log = log.get(), store = store.get()] {
      while (log->run() || store->run()) {}
    };
    out->log = std::move(log);
    out->store = std::move(store);
  } else if (kind == "memory-store") {
    auto store = std::make_unique<memory_store>(shards);
    out->run = [store = store.get()] {
      while (store->run()) {}
    };
    out->store = std::move(store);
  } else if (kind == "embedded") {
    auto opened = open_embedded(options, *out->counts).value();
    out->log = std::move(opened.log);
    out->store = std::move(opened.store);
  } else if (kind == "embedded-log") {
    out->log = open_embedded_log(options, *out->counts).value().log;
  } else if (kind == "kafka") {
    auto log = kafka_log::open(options, *out->counts).value();
    out->store = open_sqlite_store(options, log->identity(), *out->counts).value();
    log->claim(*out->store).value();
    out->log = std::move(log);
  } else if (kind == "sqlite-store") {
    out->store = open_sqlite_store(options, log_of_the_tests(shards), *out->counts).value();
  } else if (kind == "mongodb") {
    out->store = open_mongo_store(options, log_of_the_tests(shards), *out->counts).value();
  } else {
    throw std::invalid_argument("there is no engine " + kind);
  }
  return out;
}

log_sink record_taker::sink() {
  return [this](log_batch batch) {
    const std::lock_guard lock(mutex_);
    for (auto& x : batch.records) records_.push_back(std::move(x));
    next_ = batch.next_offset;
    changed_.notify_all();
  };
}

std::vector<logged> record_taker::wait_for(std::size_t count) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::seconds(30), [&] { return records_.size() >= count; }))
    throw std::runtime_error("only " + std::to_string(records_.size()) + " of " + std::to_string(count) + " records came within 30 s");
  return records_;
}

std::vector<logged> record_taker::taken() const {
  const std::lock_guard lock(mutex_);
  return records_;
}

std::uint64_t record_taker::next_offset() const {
  const std::lock_guard lock(mutex_);
  return next_;
}

address user(const std::string& id) { return address::user(id).value(); }

cursor_record record(const std::string& who, std::uint64_t version, sequence floor, std::vector<sequence> above) {
  cursor_record out;
  out.user = user(who);
  out.version = version;
  out.acked = cursor(floor, std::move(above));
  return out;
}

log_entry entry_for(const std::string& who, const std::string& event_id, std::int64_t appended_ms) {
  event what;
  what.id = event_id;
  what.source = "/test";
  what.type = "test.happened";
  what.data_content_type = "application/json";
  what.data = R"({"n":")" + event_id + R"("})";
  log_entry out;
  out.to = user(who);
  out.id = message_id(what.source, what.id, out.to);
  out.what = std::make_shared<const event>(std::move(what));
  out.appended = {appended_ms};
  return out;
}

log_entry entry_from(const std::shared_ptr<const origin_partition>& from, std::int64_t offset, std::int64_t floor, const std::string& who) {
  auto out = entry_for(who, from->topic + "/" + std::to_string(from->partition) + "/" + std::to_string(offset));
  out.came_from = {from, offset, floor};
  return out;
}

result<std::vector<appended>> append(engines& to, std::vector<log_entry> entries) {
  const answer<std::vector<appended>> verdicts;
  to.log->append(std::move(entries), admission::credited, verdicts.taker());
  to.run();
  return verdicts.wait();
}

result<void> write(engines& to, store_batch batch, urgency when) {
  const answer<void> done;
  to.store->write(std::move(batch), when, done.taker());
  to.run();
  return done.wait();
}

result<stored_mailbox> load(engines& from, const address& who, std::size_t limit) {
  const answer<stored_mailbox> found;
  from.store->load(who, limit, found.taker());
  from.run();
  return found.wait();
}

result<stored_page> read(engines& from, const address& who, sequence after, std::size_t limit) {
  const answer<stored_page> found;
  from.store->read(who, after, limit, found.taker());
  from.run();
  return found.wait();
}

result<std::vector<cursor_record>> cursors(engines& from, std::vector<address> keys) {
  const answer<std::vector<cursor_record>> found;
  from.store->cursors(std::move(keys), found.taker());
  from.run();
  return found.wait();
}

result<stored_places> locate(engines& from, const address& who, std::vector<sequence> seqs) {
  const answer<stored_places> found;
  from.store->locate(who, std::move(seqs), found.taker());
  from.run();
  return found.wait();
}

result<stored_history> history(engines& from, const address& who, history_query query) {
  const answer<stored_history> found;
  from.store->history(who, query, found.taker());
  from.run();
  return found.wait();
}

result<reaped> reap(engines& in, reap_step step) {
  const answer<reaped> done;
  in.store->reap(std::move(step), done.taker());
  in.run();
  return done.wait();
}

result<std::vector<dead_letter>> dead_letters(engines& from, dead_letter_query query) {
  const answer<std::vector<dead_letter>> found;
  from.store->dead_letters(std::move(query), found.taker());
  from.run();
  return found.wait();
}

}  // namespace doorstep::test
