// SPDX-License-Identifier: Apache-2.0
#include "bench/publisher.hpp"

#include "bench/process_stat.hpp"

#include <librdkafka/rdkafka.h>

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace bench {

namespace {

constexpr std::int64_t tick_ns = 1'000'000;

void set(rd_kafka_conf_t* conf, const char* name, const std::string& value) {
  char error[256];
  if (rd_kafka_conf_set(conf, name, value.c_str(), error, sizeof error) != RD_KAFKA_CONF_OK) throw std::runtime_error(error);
}

void sleep_until(std::int64_t when_ns) {
  const timespec x{static_cast<time_t>(when_ns / 1'000'000'000), static_cast<long>(when_ns % 1'000'000'000)};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &x, nullptr);
}

void append_number(std::string& out, std::uint64_t x) {
  char digits[24];
  out.append(digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, x).ptr - digits));
}

}  // namespace

publisher::publisher(publisher_options options) : options_(std::move(options)), sent_(options_.users + (has_channels() ? 2 : 0)) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", options_.brokers);
  set(conf, "enable.idempotence", "true");
  set(conf, "linger.ms", "1");
  set(conf, "queue.buffering.max.messages", "1000000");
  set(conf, "delivery.report.only.error", "true");
  rd_kafka_conf_set_opaque(conf, this);
  rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* record, void* self) {
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) ++static_cast<publisher*>(self)->failed_;
  });
  char error[256];
  kafka_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
  if (kafka_ == nullptr) throw std::runtime_error(error);
}

publisher::~publisher() {
  stop();
  rd_kafka_destroy(kafka_);
}

void publisher::prime() {
  thread_ = std::thread([this] { run(); });
}

void publisher::start() { started_ = true; }

void publisher::stop() {
  ended_ = true;
  if (!thread_.joinable()) return;
  thread_.join();
  rd_kafka_flush(kafka_, 10'000);
  failed_ += static_cast<std::uint64_t>(rd_kafka_outq_len(kafka_));
}

std::uint64_t publisher::random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

std::size_t publisher::next_target() {
  if (has_channels()) {
    const double x = static_cast<double>(random() >> 11) / 9007199254740992.0;
    if (x < options_.all_share) return options_.users + 1;
    if (x < options_.all_share + options_.role_share) return options_.users;
  }
  return random() % options_.users;
}

std::string publisher::name_of(std::size_t target) const {
  if (target >= options_.users) return target == options_.users ? "role:crowd" : "all";
  std::string name = "b";
  append_number(name, target);
  return name;
}

void publisher::send(std::size_t target, std::int64_t intended_ns) {
  const std::uint32_t number = ++sent_[target];
  std::string name = name_of(target);
  payload_ = "{\"run\":";
  append_number(payload_, options_.run);
  payload_ += ",\"t\":";
  append_number(payload_, static_cast<std::uint64_t>(intended_ns));
  payload_ += ",\"n\":";
  append_number(payload_, number);
  payload_ += ",\"pad\":\"";
  payload_.append(options_.payload_bytes > payload_.size() + 2 ? options_.payload_bytes - payload_.size() - 2 : 0, 'x');
  payload_ += "\"}";
  event_id_.clear();
  append_number(event_id_, options_.run);
  event_id_ += '-';
  append_number(event_id_, published_);

  rd_kafka_headers_t* headers = rd_kafka_headers_new(6);
  const auto add = [headers](std::string_view header, std::string_view value) {
    rd_kafka_header_add(headers, header.data(), static_cast<ssize_t>(header.size()), value.data(), static_cast<ssize_t>(value.size()));
  };
  add("ce_specversion", "1.0");
  add("ce_id", event_id_);
  add("ce_source", "/bench");
  if (target < options_.users) {
    add("ce_type", "bench.tick");
    add("ce_touser", name);
  } else {
    add("ce_type", target == options_.users ? "bench.role" : "bench.all");
  }
  add("content-type", "application/json");
  // The array form: producev's macros are a GNU extension that clang refuses under -Wpedantic.
  std::array<rd_kafka_vu_t, 5> arguments{};
  arguments[0].vtype = RD_KAFKA_VTYPE_TOPIC;
  arguments[0].u.cstr = options_.topic.c_str();
  arguments[1].vtype = RD_KAFKA_VTYPE_KEY;
  arguments[1].u.mem = {name.data(), name.size()};
  arguments[2].vtype = RD_KAFKA_VTYPE_VALUE;
  arguments[2].u.mem = {payload_.data(), payload_.size()};
  arguments[3].vtype = RD_KAFKA_VTYPE_HEADERS;
  arguments[3].u.headers = headers;
  arguments[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
  arguments[4].u.i = RD_KAFKA_MSG_F_COPY;
  rd_kafka_error_t* refused = rd_kafka_produceva(kafka_, arguments.data(), arguments.size());
  if (refused == nullptr) {
    ++published_;
    return;
  }
  rd_kafka_error_destroy(refused);
  rd_kafka_headers_destroy(headers);
  ++failed_;
  --sent_[target];
}

void publisher::run() {
  std::int64_t begin = now_ns();
  std::uint64_t done = 0;
  std::size_t target = has_channels() ? options_.users + 1 : 0, left_of_burst = 0;
  for (std::int64_t tick = begin; !ended_; tick += tick_ns) {
    sleep_until(tick);
    rd_kafka_poll(kafka_, 0);
    const bool priming = !primed_;
    if (!priming && !started_) {
      begin = tick;
      done = 0;
      continue;
    }
    latest_tick_ = std::max(latest_tick_.load(), now_ns() - tick);
    const double rate = priming ? options_.rate / 2 : options_.rate;
    const auto due = static_cast<std::uint64_t>(rate * static_cast<double>(tick - begin) / 1e9);
    for (; done < due; ++done) {
      if (priming) {
        if (target == sent_.size()) {
          primed_ = true;
          latest_tick_ = 0;
          break;
        }
        send(target++, tick);
        continue;
      }
      if (left_of_burst == 0) {
        target = next_target();
        left_of_burst = options_.burst;
      }
      --left_of_burst;
      send(target, tick);
    }
    if (priming && options_.rate <= 0) primed_ = true;
  }
}

}  // namespace bench
