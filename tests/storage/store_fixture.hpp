// SPDX-License-Identifier: Apache-2.0
// A store as the contract suites see it, by the name of its kind.
#pragma once

#include "storage/message_store.hpp"
#include "tests/support/engines.hpp"
#include "tests/support/mongo_peer.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {

class store_test : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    options.delivery.mailbox_bytes_max = 1'000'000;  // so that bytes are counted
    if (GetParam() == "mongodb") {
      const auto uri = shared_mongodb();
      if (!uri) DOORSTEP_PEER_MISSING("no MongoDB server: DOORSTEP_TEST_MONGODB is not set");
      use_mongodb(options, *uri, folder);
    }
    configure();
    at = make_engines(GetParam(), options);
  }
  virtual void configure() {}  ///< changes options, before the engines are made
  void TearDown() override {
    at.reset();
    if (!options.store.uri.empty()) drop_mongodb(options);
  }

  /// Gives the store messages the way its log does. @returns their seqs.
  std::vector<sequence> keep(std::vector<log_entry> entries) {
    std::vector<sequence> out;
    if (at->store->shares_log()) {
      for (const auto& x : append(*at, std::move(entries)).value()) out.push_back(x.seq);
      return out;
    }
    store_batch batch;
    for (auto& x : entries) {
      const auto shard = shard_of(x.to, static_cast<std::uint32_t>(options.log.shards));
      out.push_back(sequence::at(0, next[shard]++));
      batch.messages.push_back(std::make_shared<const message>(
          message{x.to, out.back(), x.id, x.what, x.appended, x.requeue, x.came_from.from, x.came_from.offset, x.terms}));
    }
    for (const auto& [shard, offset] : next) batch.positions.push_back({shard, offset});
    write(*at, batch).value();
    write(*at, batch).value();  // every part is safe to write twice
    return out;
  }

  scratch_folder folder;
  config options = test_config(folder);
  std::unique_ptr<engines> at;
  std::map<shard_id, std::uint64_t> next;
};

inline std::vector<std::string> event_ids(const std::vector<message_ptr>& messages) {
  std::vector<std::string> out;
  out.reserve(messages.size());
  for (const auto& x : messages) out.push_back(x->what->id);
  return out;
}

/// Every store there is; a new one joins here.
inline const auto all_stores = testing::Values("memory", "memory-store", "embedded", "sqlite-store", "mongodb");
inline std::string store_name(const testing::TestParamInfo<std::string>& info) {
  auto name = info.param;
  for (auto& c : name)
    if (c == '-') c = '_';
  return name;
}

}  // namespace doorstep::test
