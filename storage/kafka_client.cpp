// SPDX-License-Identifier: Apache-2.0
// librdkafka's consumer, and what all users of librdkafka share. Callbacks run within poll() and close() on the caller's thread; only the log callback comes from
// librdkafka's own.
#include "storage/kafka_client.hpp"

#include "runtime/log.hpp"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace doorstep {

namespace {

using list = kafka_owned<rd_kafka_topic_partition_list_t>;

failure unavailable(std::string detail) { return {ec::unavailable, std::move(detail), {}}; }
failure unavailable(rd_kafka_resp_err_t code) { return unavailable(rd_kafka_err2str(code)); }

rd_kafka_topic_partition_t* add(rd_kafka_topic_partition_list_t* to, const topic_partition& what) {
  return rd_kafka_topic_partition_list_add(to, what.topic.c_str(), what.partition);
}

list list_of(const topic_partition& what) {
  list out(rd_kafka_topic_partition_list_new(1));
  add(out.get(), what);
  return out;
}

std::vector<topic_partition> partitions_of(const rd_kafka_topic_partition_list_t& x) {
  std::vector<topic_partition> out;
  out.reserve(static_cast<std::size_t>(x.cnt));
  for (int i = 0; i < x.cnt; ++i) out.push_back({x.elems[i].topic, x.elems[i].partition});
  return out;
}

source_record record_of(const rd_kafka_message_t& x) {
  source_record out;
  out.offset = x.offset;
  if (x.key != nullptr) out.key.emplace(static_cast<const char*>(x.key), x.key_len);
  if (x.payload != nullptr) out.value.emplace(static_cast<const char*>(x.payload), x.len);
  out.timestamp.value = std::max<std::int64_t>(rd_kafka_message_timestamp(&x, nullptr), 0);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&x, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    out.own();
    return out;
  }
  out.headers.reserve(rd_kafka_header_cnt(headers));
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    out.headers.push_back({name, value == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(value), size)});
  }
  out.own();
  return out;
}

void on_rebalance(rd_kafka_t* client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* partitions, void* opaque) {
  auto& events = *static_cast<kafka_events*>(opaque);
  if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    events.gained(partitions_of(*partitions));
    return;
  }
  if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) log_line(log_level::warn, "source", "rebalance-failed").with("why", rd_kafka_err2str(code));
  events.losing(partitions_of(*partitions), rd_kafka_assignment_lost(client) != 0);
  rd_kafka_assign(client, nullptr);
}

void on_error(rd_kafka_t* client, int code, const char* reason, void* opaque) {
  auto& events = *static_cast<kafka_events*>(opaque);
  if (code == RD_KAFKA_RESP_ERR__FATAL) {
    char text[256];
    rd_kafka_fatal_error(client, text, sizeof text);
    return events.ended(text);
  }
  const bool down = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
  events.trouble(down, reason != nullptr && *reason != '\0' ? reason : rd_kafka_err2str(static_cast<rd_kafka_resp_err_t>(code)));
}

/// What matters of these comes by on_error as well; the rest is for who looks for it.
void on_log(const rd_kafka_t*, int level, const char* facility, const char* text) {
  log_line(level <= 2 ? log_level::error : log_level::debug, "kafka", "librdkafka").with("facility", facility).with("text", text);
}

kafka_settings settings_of(const source_config& x) {
  kafka_settings out{
      {"bootstrap.servers", x.brokers},
      {"group.id", x.group},
      {"client.id", "doorstep-" + x.name},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      // Also where the broker does not have our offset (retention ran past us, the topic was made anew): kafka_source sees it by the offsets that come. With
      // "error" it would be told, but librdkafka 2.0 then ignores seeks of the partition.
      {"auto.offset.reset", "earliest"},
      {"partition.assignment.strategy", "range,roundrobin"},
      {"allow.auto.create.topics", "false"},
      {"topic.metadata.refresh.interval.ms", "10000"},
      {"fetch.min.bytes", std::to_string(x.fetch_min_bytes)},
      {"fetch.wait.max.ms", std::to_string(x.fetch_wait_max.count())},
      {"fetch.error.backoff.ms", "100"},
      {"queued.max.messages.kbytes", "16384"},
      {"session.timeout.ms", std::to_string(x.session_timeout.count())},
      {"heartbeat.interval.ms", std::to_string(std::min<std::int64_t>(x.session_timeout.count() / 3, 3000))},
      {"reconnect.backoff.max.ms", "2000"},
  };
  if (!x.instance_id.empty()) out.emplace_back("group.instance.id", x.instance_id);
  add_kafka_options(out, x.kafka_options);
  return out;
}

}  // namespace

void kafka_deleter::operator()(rd_kafka_conf_s* x) const { rd_kafka_conf_destroy(x); }
void kafka_deleter::operator()(rd_kafka_topic_partition_list_s* x) const { rd_kafka_topic_partition_list_destroy(x); }
void kafka_deleter::operator()(rd_kafka_message_s* x) const { rd_kafka_message_destroy(x); }
void kafka_deleter::operator()(rd_kafka_error_s* x) const { rd_kafka_error_destroy(x); }
void kafka_deleter::operator()(rd_kafka_op_s* x) const { rd_kafka_event_destroy(x); }
void kafka_deleter::operator()(rd_kafka_queue_s* x) const { rd_kafka_queue_destroy(x); }

void add_kafka_options(kafka_settings& to, const std::vector<std::string>& options) {
  for (const auto& option : options) {
    const auto equals = option.find('=');
    to.emplace_back(option.substr(0, equals), equals == std::string::npos ? std::string() : option.substr(equals + 1));
  }
}

result<kafka_owned<rd_kafka_conf_s>> make_kafka_conf(const std::string& who, const kafka_settings& settings) {
  kafka_owned<rd_kafka_conf_t> conf(rd_kafka_conf_new());
  char why[512];
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK) {
      return failure{ec::bad_config, who + ": " + why, name};
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), on_log);
  return conf;
}

/// Everything that matters was committed and left by then.
void destroy_kafka(rd_kafka_s* doomed) {
  auto done = std::make_shared<std::promise<void>>();
  auto gone = done->get_future();
  std::thread([doomed, done] {
    rd_kafka_destroy_flags(doomed, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    done->set_value();
  }).detach();
  if (gone.wait_for(std::chrono::seconds{3}) != std::future_status::ready) log_line(log_level::warn, "kafka", "client-left-behind");
}

struct kafka_client::impl {
  rd_kafka_t* client = nullptr;
  kafka_owned<rd_kafka_queue_t> records, commits;
  kafka_owned<rd_kafka_message_t> current;

  ~impl() {
    current.reset();
    records.reset();
    commits.reset();
    if (client != nullptr) destroy_kafka(client);
  }
};

kafka_client::kafka_client(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
kafka_client::~kafka_client() = default;

result<std::unique_ptr<kafka_client>> kafka_client::make(const source_config& config, kafka_events& events) {
  return make("source " + config.name, settings_of(config), events);
}

result<std::unique_ptr<kafka_client>> kafka_client::make(const std::string& who, const kafka_settings& settings, kafka_events& events) {
  auto conf = make_kafka_conf(who, settings);
  if (!conf) return std::move(conf).error();
  rd_kafka_conf_set_opaque(conf->get(), &events);
  rd_kafka_conf_set_rebalance_cb(conf->get(), on_rebalance);
  rd_kafka_conf_set_error_cb(conf->get(), on_error);
  char why[512];
  auto x = std::make_unique<impl>();
  x->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), why, sizeof why);
  if (x->client == nullptr) return failure{ec::bad_config, who + ": " + why, {}};
  static_cast<void>(conf->release());  // rd_kafka_new took it
  rd_kafka_poll_set_consumer(x->client);
  x->records.reset(rd_kafka_queue_get_consumer(x->client));
  x->commits.reset(rd_kafka_queue_new(x->client));
  return std::unique_ptr<kafka_client>(new kafka_client(std::move(x)));
}

result<void> kafka_client::subscribe(const std::vector<std::string>& topics) {
  list wanted(rd_kafka_topic_partition_list_new(static_cast<int>(topics.size())));
  for (const auto& x : topics) add(wanted.get(), {x, RD_KAFKA_PARTITION_UA});
  if (const auto code = rd_kafka_subscribe(impl_->client, wanted.get())) return unavailable(code);
  return {};
}

polled kafka_client::poll(milliseconds timeout) {
  polled out;
  impl_->current.reset(rd_kafka_consumer_poll(impl_->client, as_kafka_ms(timeout)));
  if (!impl_->current) return out;
  const auto& x = *impl_->current;
  if (x.rkt != nullptr) out.topic = rd_kafka_topic_name(x.rkt);
  out.partition = x.partition;
  switch (x.err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      out.what = polled::kind::record;
      out.record = record_of(x);
      return out;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: out.what = polled::kind::missing_topic; break;
    default: out.what = polled::kind::fault; break;
  }
  out.text = rd_kafka_message_errstr(&x);
  return out;
}

void kafka_client::wake() { rd_kafka_queue_yield(impl_->records.get()); }

result<std::vector<group_offset>> kafka_client::committed(const std::vector<topic_partition>& partitions, milliseconds timeout) {
  list asked(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const auto& x : partitions) add(asked.get(), x);
  if (const auto code = rd_kafka_committed(impl_->client, asked.get(), as_kafka_ms(timeout))) return unavailable(code);
  std::vector<group_offset> out;
  for (int i = 0; i < asked->cnt; ++i) {
    const auto& x = asked->elems[i];
    if (x.err != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(x.err);
    group_offset one{{x.topic, x.partition}, x.offset < 0 ? -1 : x.offset, {}};
    if (x.metadata != nullptr) one.metadata.assign(static_cast<const char*>(x.metadata), x.metadata_size);
    out.push_back(std::move(one));
  }
  return out;
}

void kafka_client::assign(const std::vector<group_offset>& from) {
  list wanted(rd_kafka_topic_partition_list_new(static_cast<int>(from.size())));
  for (const auto& x : from) add(wanted.get(), x.what)->offset = x.offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : x.offset;
  rd_kafka_assign(impl_->client, wanted.get());
}

void kafka_client::pause(const topic_partition& what) { rd_kafka_pause_partitions(impl_->client, list_of(what).get()); }
void kafka_client::resume(const topic_partition& what) { rd_kafka_resume_partitions(impl_->client, list_of(what).get()); }

result<void> kafka_client::seek(const topic_partition& what, std::int64_t offset) {
  const list where = list_of(what);
  where->elems[0].offset = offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : offset;
  if (const kafka_owned<rd_kafka_error_t> error{rd_kafka_seek_partitions(impl_->client, where.get(), 2000)})
    return unavailable(rd_kafka_error_string(error.get()));
  if (where->elems[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) return unavailable(where->elems[0].err);
  return {};
}

void kafka_client::commit(const std::vector<group_offset>& offsets) {
  const list wanted(rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size())));
  for (const auto& x : offsets) {
    auto* const one = add(wanted.get(), x.what);
    one->offset = x.offset;
    one->metadata = std::malloc(x.metadata.size() + 1);  // the list frees it
    if (one->metadata == nullptr) std::abort();
    std::memcpy(one->metadata, x.metadata.c_str(), x.metadata.size() + 1);
    one->metadata_size = x.metadata.size();
  }
  rd_kafka_commit_queue(impl_->client, wanted.get(), impl_->commits.get(), nullptr, nullptr);
}

std::optional<result<void>> kafka_client::commit_outcome(milliseconds timeout) {
  const kafka_owned<rd_kafka_event_t> event(rd_kafka_queue_poll(impl_->commits.get(), as_kafka_ms(timeout)));
  if (!event || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_OFFSET_COMMIT) return std::nullopt;
  if (const auto code = rd_kafka_event_error(event.get())) return result<void>(unavailable(code));
  if (const auto* const offsets = rd_kafka_event_topic_partition_list(event.get())) {
    for (int i = 0; i < offsets->cnt; ++i)
      if (offsets->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) return result<void>(unavailable(offsets->elems[i].err));
  }
  return result<void>();
}

result<kafka_client::span> kafka_client::offsets_of(const topic_partition& what, milliseconds timeout) {
  span out;
  if (const auto code =
          rd_kafka_query_watermark_offsets(impl_->client, what.topic.c_str(), what.partition, &out.low, &out.end, as_kafka_ms(timeout))) {
    return unavailable(code);
  }
  return out;
}

std::int64_t kafka_client::known_end(const topic_partition& what) const {
  std::int64_t low = -1, end = -1;
  rd_kafka_get_watermark_offsets(impl_->client, what.topic.c_str(), what.partition, &low, &end);
  return end < 0 ? -1 : end;
}

bool kafka_client::answers(milliseconds timeout) {
  const struct rd_kafka_metadata* all = nullptr;
  const auto code = rd_kafka_metadata(impl_->client, 0, nullptr, &all, as_kafka_ms(timeout));
  if (all != nullptr) rd_kafka_metadata_destroy(all);
  return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

std::optional<std::string> kafka_client::fatal_error() const {
  char text[256];
  if (rd_kafka_fatal_error(impl_->client, text, sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  return text;
}

void kafka_client::close() {
  impl_->current.reset();
  rd_kafka_consumer_close(impl_->client);
}

}  // namespace doorstep
