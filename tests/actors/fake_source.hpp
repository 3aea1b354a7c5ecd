// SPDX-License-Identifier: Apache-2.0
// A source of one partition, for tests of PARTITION and ROUTER.
#pragma once

#include "storage/record_source.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {

/// A partition whose records are handed over on credit, as a broker would, and that can be rewound.
class fake_source final : public record_source {
public:
  const std::string& name() const override { return name_; }
  void start(source_listener&) override {}
  void grant(const topic_partition&, std::size_t records) override { credit += records; }
  void commit(const topic_partition&, std::int64_t next_offset) override { commits.push_back(next_offset); }
  void rewind(const topic_partition&, std::int64_t offset) override {
    next = offset;
    ++rewinds;
  }
  std::vector<lag> lags() const override { return {}; }
  void stop() override {}

  std::vector<source_record> take(std::size_t wanted) {
    std::vector<source_record> batch;
    for (; wanted > 0 && credit > 0 && records.contains(next); --wanted, --credit, ++next) batch.push_back(records[next]);
    return batch;
  }

  std::map<std::int64_t, source_record> records;
  std::int64_t next = 0;
  std::size_t credit = 0;
  int rewinds = 0;
  std::vector<std::int64_t> commits;

private:
  std::string name_ = "orders";
};

inline source_record made_record(std::int64_t offset, const std::string& key, const std::string& value) {
  source_record x;
  x.offset = offset;
  x.key = key;
  x.value = value;
  x.own();
  return x;
}

}  // namespace doorstep::test
