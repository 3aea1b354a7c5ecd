// SPDX-License-Identifier: Apache-2.0
// The other side of a Kafka test: a producer that also makes and deletes topics, and commits in a group's name. On the test's own thread.
#pragma once

#include "storage/record_source.hpp"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-statement-expression"  // RD_KAFKA_V_TOPIC and the like
#endif

namespace doorstep {

/// Produces, and makes and deletes topics; on the test's own thread.
class kafka_peer {
public:
  explicit kafka_peer(const std::string& brokers) {
    char why[256];
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), why, sizeof why);
    rd_kafka_conf_set(conf, "linger.ms", "1", why, sizeof why);
    rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  }
  ~kafka_peer() { rd_kafka_destroy(client_); }
  kafka_peer(const kafka_peer&) = delete;
  kafka_peer& operator=(const kafka_peer&) = delete;
  rd_kafka_t* client() { return client_; }

  void make_topic(const std::string& name, int partitions) {
    rd_kafka_NewTopic_t* topic = rd_kafka_NewTopic_new(name.c_str(), partitions, 1, nullptr, 0);
    admin([&](rd_kafka_queue_t* queue) { rd_kafka_CreateTopics(client_, &topic, 1, nullptr, queue); });
    rd_kafka_NewTopic_destroy(topic);
  }
  void delete_topic(const std::string& name) {
    rd_kafka_DeleteTopic_t* topic = rd_kafka_DeleteTopic_new(name.c_str());
    admin([&](rd_kafka_queue_t* queue) { rd_kafka_DeleteTopics(client_, &topic, 1, nullptr, queue); });
    rd_kafka_DeleteTopic_destroy(topic);
  }
  void delete_records_below(const std::string& topic, int partition, std::int64_t offset) {
    auto* const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), partition)->offset = offset;
    rd_kafka_DeleteRecords_t* what = rd_kafka_DeleteRecords_new(list);
    admin([&](rd_kafka_queue_t* queue) { rd_kafka_DeleteRecords(client_, &what, 1, nullptr, queue); });
    rd_kafka_DeleteRecords_destroy(what);
    rd_kafka_topic_partition_list_destroy(list);
  }

  /// Values are the numbers from..from+count-1, keys too.
  void produce(const std::string& topic, int partition, int from, int count, std::size_t pad = 0) {
    for (int i = from; i < from + count; ++i) {
      const std::string text = std::to_string(i);
      const std::string value = text + std::string(pad, '.');
      rd_kafka_resp_err_t code;
      while ((code = rd_kafka_producev(client_, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_KEY(text.data(), text.size()), RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_poll(client_, 100);
      }
      ASSERT_EQ(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    flush();
  }
  /// Where the partition ends, -1 = the broker does not say.
  std::int64_t end_of(const std::string& topic, int partition) {
    std::int64_t low = -1, end = -1;
    return rd_kafka_query_watermark_offsets(client_, topic.c_str(), partition, &low, &end, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR ? end : -1;
  }
  void flush() { ASSERT_EQ(rd_kafka_flush(client_, 20000), RD_KAFKA_RESP_ERR_NO_ERROR); }

private:
  void admin(const std::function<void(rd_kafka_queue_t*)>& ask) {
    rd_kafka_queue_t* const queue = rd_kafka_queue_new(client_);
    ask(queue);
    rd_kafka_event_t* const event = rd_kafka_queue_poll(queue, 20000);
    EXPECT_NE(event, nullptr);
    if (event != nullptr) {
      EXPECT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_event_error_string(event);
      rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
  }
  rd_kafka_t* client_ = nullptr;
};

/// What an operator's tool, or an earlier life of ours, would have committed.
inline void commit_as(const std::string& brokers, const std::string& group, const topic_partition& what, std::int64_t offset,
                      const std::string& metadata) {
  char why[256];
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), why, sizeof why);
  rd_kafka_conf_set(conf, "group.id", group.c_str(), why, sizeof why);
  rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  auto* const list = rd_kafka_topic_partition_list_new(1);
  auto* const one = rd_kafka_topic_partition_list_add(list, what.topic.c_str(), what.partition);
  one->offset = offset;
  one->metadata = strdup(metadata.c_str());
  one->metadata_size = metadata.size();
  EXPECT_EQ(rd_kafka_commit(client, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(client);
}

}  // namespace doorstep
