// SPDX-License-Identifier: Apache-2.0
// The message store in MongoDB, beside a log of another kind: messages come with write(). One thread writes what has come together, the others answer reads;
// each has a connection of its own. Duplicates are the log's to find: an embedded log judges an entry before it gets a seq, so what comes here is new, or is
// a message that was written before and not heard of, which its _id tells. Why it is built so: docs/decisions/0006-mongo-store.md.
#pragma once

#include "runtime/config.hpp"
#include "runtime/metrics.hpp"
#include "storage/log_identity.hpp"
#include "storage/message_store.hpp"

#include <memory>
#include <vector>

namespace doorstep {

class mongo_store final : public message_store {
public:
  struct impl;
  explicit mongo_store(std::unique_ptr<impl> x);
  ~mongo_store() override;

  store_identity identity() const override;
  bool shares_log() const override { return false; }
  std::vector<shard_position> positions() const override;
  void write(store_batch batch, urgency when, store_done<void> done) override;
  void load(address box, std::size_t limit, store_done<stored_mailbox> done) override;
  void devices(address user, store_done<std::vector<cursor_record>> done) override;
  void cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) override;
  void read(address user, sequence after, std::size_t limit, store_done<stored_page> done) override;
  void locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) override;
  void history(address box, history_query query, store_done<stored_history> done) override;
  void reap(reap_step step, store_done<reaped> done) override;
  void dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) override;
  void stop_reading() override;
  void stop() override;

private:
  const std::unique_ptr<impl> impl_;
};

/// Whether the driver can use store.uri; connects to nobody.
result<void> check_mongo_uri(const store_config& options);

/// Connects, sees to the indexes and checks that the store is this log's; see prepare_mongo() for what it refuses.
result<std::unique_ptr<message_store>> open_mongo_store(const config& options, const log_identity& log, metrics& counts);

}  // namespace doorstep
