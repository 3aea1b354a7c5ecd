// SPDX-License-Identifier: Apache-2.0
// No time limit on a record: one that timed out might still land, after those that came later. What is under way is bounded by who produces.
#include "storage/kafka_producer.hpp"

#include <librdkafka/rdkafka.h>

#include <utility>

namespace doorstep {

namespace {

kafka_settings idempotent(const kafka_settings& x) {
  kafka_settings out{
      {"enable.idempotence", "true"},  // acks = all and five requests in flight at most come with it
      {"message.timeout.ms", "0"},     // none
      {"linger.ms", "1"},
      {"queue.buffering.max.messages", "10000000"},
      {"topic.metadata.refresh.interval.ms", "10000"},
      {"reconnect.backoff.max.ms", "2000"},
  };
  out.insert(out.end(), x.begin(), x.end());
  return out;
}

failure refused(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return {ec::unavailable, "the producer's buffer is full (queue.buffering.max.kbytes)", {}};
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return {ec::too_large, "the record is larger than the brokers take", {}};
    default: return {ec::unavailable, rd_kafka_err2str(code), {}};
  }
}

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* x, void* opaque) {
  auto& events = *static_cast<producer_events*>(opaque);
  if (x->err == RD_KAFKA_RESP_ERR_NO_ERROR)
    events.delivered(x->_private, x->partition, x->offset);
  else
    events.delivered(x->_private, x->partition, refused(x->err));
}

void on_error(rd_kafka_t*, int code, const char* reason, void* opaque) {
  if (code == RD_KAFKA_RESP_ERR__FATAL) return;  // seen by fatal_error()
  const bool down = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
  static_cast<producer_events*>(opaque)->producer_trouble(down, reason);
}

}  // namespace

struct kafka_producer::impl {
  rd_kafka_t* client = nullptr;
  kafka_owned<rd_kafka_queue_t> reports;

  ~impl() {
    reports.reset();
    if (client != nullptr) destroy_kafka(client);
  }
};

kafka_producer::kafka_producer(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
kafka_producer::~kafka_producer() = default;

result<std::unique_ptr<kafka_producer>> kafka_producer::make(const std::string& who, const kafka_settings& settings, producer_events& events) {
  auto conf = make_kafka_conf(who, idempotent(settings));
  if (!conf) return std::move(conf).error();
  rd_kafka_conf_set_opaque(conf->get(), &events);
  rd_kafka_conf_set_dr_msg_cb(conf->get(), on_delivery);
  rd_kafka_conf_set_error_cb(conf->get(), on_error);
  char why[512];
  auto x = std::make_unique<impl>();
  x->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), why, sizeof why);
  if (x->client == nullptr) return failure{ec::bad_config, who + ": " + why, {}};
  static_cast<void>(conf->release());  // rd_kafka_new took it
  x->reports.reset(rd_kafka_queue_get_main(x->client));
  return std::unique_ptr<kafka_producer>(new kafka_producer(std::move(x)));
}

std::optional<failure> kafka_producer::produce(const std::string& topic, std::int32_t partition, const encoded_record& what, void* tag) {
  auto* const headers = rd_kafka_headers_new(what.headers.size());
  for (const auto& x : what.headers)
    rd_kafka_header_add(headers, x.name.data(), static_cast<ssize_t>(x.name.size()), x.value.data(), static_cast<ssize_t>(x.value.size()));
  rd_kafka_vu_t parts[7];
  parts[0].vtype = RD_KAFKA_VTYPE_TOPIC;
  parts[0].u.cstr = topic.c_str();
  parts[1].vtype = RD_KAFKA_VTYPE_PARTITION;
  parts[1].u.i32 = partition;
  parts[2].vtype = RD_KAFKA_VTYPE_KEY;
  parts[2].u.mem = {const_cast<char*>(what.key.data()), what.key.size()};
  parts[3].vtype = RD_KAFKA_VTYPE_VALUE;
  parts[3].u.mem = {const_cast<char*>(what.value.data()), what.value.size()};
  parts[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
  parts[4].u.i = RD_KAFKA_MSG_F_COPY;
  parts[5].vtype = RD_KAFKA_VTYPE_HEADERS;
  parts[5].u.headers = headers;
  parts[6].vtype = RD_KAFKA_VTYPE_OPAQUE;
  parts[6].u.ptr = tag;
  const kafka_owned<rd_kafka_error_t> error(rd_kafka_produceva(impl_->client, parts, std::size(parts)));
  if (!error) return std::nullopt;
  rd_kafka_headers_destroy(headers);  // not taken over
  return refused(rd_kafka_error_code(error.get()));
}

void kafka_producer::poll(milliseconds timeout) { rd_kafka_poll(impl_->client, as_kafka_ms(timeout)); }
void kafka_producer::wake() { rd_kafka_queue_yield(impl_->reports.get()); }
void kafka_producer::purge() { rd_kafka_purge(impl_->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT); }

std::optional<std::string> kafka_producer::fatal_error() const {
  char text[256];
  if (rd_kafka_fatal_error(impl_->client, text, sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  return text;
}

}  // namespace doorstep
