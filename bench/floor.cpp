// SPDX-License-Identifier: Apache-2.0
// The floor server: what the road costs when nothing on it decides, stores or retries. One raw epoll thread speaks doorstep.v1, librdkafka
// consumes on another, and every record that names a connected user is written to that user's socket. No token is verified, no ack answered.
#include "bench/process_stat.hpp"
#include "bench/websocket.hpp"

#include "runtime/digest.hpp"

#include <librdkafka/rdkafka.h>
#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

using bench::opcode;

struct floor_options {
  std::string listen = "127.0.0.1:8000", brokers, topic, group = "floor", fetch_min_bytes = "32768", fetch_wait_max_ms = "5";
};

std::atomic<bool> ending{false};

/// Records in batches from the consumer's thread to the sockets' thread: one wake-up a batch.
class record_feed {
public:
  explicit record_feed(const floor_options& options) : wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", options.brokers);
    set(conf, "group.id", options.group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "auto.commit.interval.ms", "1000");
    set(conf, "partition.assignment.strategy", "range");
    set(conf, "fetch.min.bytes", options.fetch_min_bytes);
    set(conf, "fetch.wait.max.ms", options.fetch_wait_max_ms);
    char error[256];
    kafka_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (kafka_ == nullptr) throw std::runtime_error(error);
    rd_kafka_poll_set_consumer(kafka_);
    rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, options.topic.c_str(), RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(kafka_, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    thread_ = std::thread([this] { consume(); });
  }
  ~record_feed() {
    ending = true;
    thread_.join();
    rd_kafka_consumer_close(kafka_);
    for (rd_kafka_message_t* x : take()) rd_kafka_message_destroy(x);
    rd_kafka_destroy(kafka_);
    ::close(wake_);
  }
  record_feed(const record_feed&) = delete;
  record_feed& operator=(const record_feed&) = delete;

  int wake_fd() const { return wake_; }
  std::vector<rd_kafka_message_t*> take() {
    std::uint64_t count = 0;
    if (::read(wake_, &count, sizeof count) < 0) count = 0;
    const std::lock_guard lock(mutex_);
    return std::exchange(ready_, {});
  }

private:
  static void set(rd_kafka_conf_t* conf, const char* name, const std::string& value) {
    char error[256];
    if (rd_kafka_conf_set(conf, name, value.c_str(), error, sizeof error) != RD_KAFKA_CONF_OK) throw std::runtime_error(error);
  }

  void consume() {
    std::vector<rd_kafka_message_t*> batch;
    while (!ending) {
      rd_kafka_message_t* record = rd_kafka_consumer_poll(kafka_, 100);
      for (; record != nullptr; record = batch.size() < 1000 ? rd_kafka_consumer_poll(kafka_, 0) : nullptr) {
        if (record->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
          batch.push_back(record);
        } else {
          std::fprintf(stderr, "floor: %s\n", rd_kafka_message_errstr(record));
          rd_kafka_message_destroy(record);
        }
      }
      if (!batch.empty()) hand_over(batch);
    }
  }

  void hand_over(std::vector<rd_kafka_message_t*>& batch) {
    bool was_empty = false;
    {
      const std::lock_guard lock(mutex_);
      was_empty = ready_.empty();
      if (was_empty) {
        ready_.swap(batch);
      } else {
        for (auto* x : batch) ready_.push_back(x);  // GCC 14 warns of an overflow in insert() that cannot be
      }
    }
    batch.clear();
    const std::uint64_t one = 1;
    if (was_empty && ::write(wake_, &one, sizeof one) < 0) std::perror("eventfd");
  }

  rd_kafka_t* kafka_ = nullptr;
  int wake_;
  std::mutex mutex_;
  std::vector<rd_kafka_message_t*> ready_;
  std::thread thread_;
};

/// One client. Buffers exist only while something is in them.
struct connection {
  int fd = -1;
  bool upgraded = false, wants_write = false;
  std::uint64_t last_heard = 0;  ///< ping rounds
  std::string user, in, unsent;
  std::unique_ptr<std::string> frame;  ///< objects of the frame under way, with room for the header before them
};

class floor_server {
public:
  explicit floor_server(const floor_options& options);
  void run();

private:
  void accept_all();
  void readable(connection& x);
  bool upgrade(connection& x, std::string_view bytes, std::size_t& used);
  void text(connection& x, std::string_view payload);
  void greet(connection& x, std::string_view request);
  void route(const std::vector<rd_kafka_message_t*>& records);
  void append_message(std::string& out, const rd_kafka_message_t* record, const std::string& user, rd_kafka_headers_t* headers);
  std::string& begin_object(connection& x);
  void flush(connection& x, opcode kind = opcode::text);
  void write_out(connection& x, const char* bytes, std::size_t size);
  void watch(connection& x, bool write);
  void ping_some();
  void drop(connection& x);

  record_feed feed_;
  int listener_ = -1, epoll_ = -1;
  std::vector<std::unique_ptr<connection>> connections_;  // by descriptor
  std::unordered_map<std::string, connection*> by_user_;
  std::vector<connection*> dirty_;
  std::vector<std::unique_ptr<std::string>> spare_;
  std::string buffer_ = std::string(256 * 1024, '\0');
  std::string user_;
  std::uint64_t seq_ = 1ULL << 40, pushed_ = 0, acks_ = 0, unknown_ = 0, ping_round_ = 0;
};

floor_server::floor_server(const floor_options& options) : feed_(options), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto colon = options.listen.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(options.listen.substr(colon + 1))));
  ::inet_pton(AF_INET, options.listen.substr(0, colon).c_str(), &where.sin_addr);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 || ::listen(listener_, 4096) != 0)
    throw std::runtime_error("cannot listen on " + options.listen + ": " + std::strerror(errno));
  for (const int fd : {listener_, feed_.wake_fd()}) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &interest);
  }
}

void floor_server::run() {
  std::array<epoll_event, 512> events;
  constexpr std::int64_t ping_step_ns = 100'000'000;
  std::int64_t next_ping = bench::now_ns() + ping_step_ns;
  while (!ending) {
    const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < ready; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.fd == listener_) {
        accept_all();
      } else if (event.data.fd == feed_.wake_fd()) {
        route(feed_.take());
      } else if (const auto& x = connections_[static_cast<std::size_t>(event.data.fd)]; x) {
        if ((event.events & EPOLLOUT) != 0) write_out(*x, nullptr, 0);
        if (x->fd >= 0 && (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) readable(*x);
        if (x->fd < 0) connections_[static_cast<std::size_t>(event.data.fd)].reset();
      }
    }
    if (bench::now_ns() < next_ping) continue;
    next_ping += ping_step_ns;
    ping_some();
  }
  std::fprintf(stderr, "floor: pushed %llu, acks %llu, for nobody %llu\n", static_cast<unsigned long long>(pushed_),
               static_cast<unsigned long long>(acks_), static_cast<unsigned long long>(unknown_));
}

void floor_server::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto place = static_cast<std::size_t>(fd);
    if (place >= connections_.size()) connections_.resize(place + 1);
    connections_[place] = std::make_unique<connection>();
    connections_[place]->fd = fd;
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &interest);
  }
}

void floor_server::readable(connection& x) {
  const ssize_t got = ::recv(x.fd, buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return drop(x);
  x.last_heard = ping_round_;
  char* bytes = buffer_.data();
  auto size = static_cast<std::size_t>(got);
  if (!x.in.empty()) {
    x.in.append(bytes, size);
    bytes = x.in.data();
    size = x.in.size();
  }
  std::size_t used = 0;
  if (x.upgraded || upgrade(x, {bytes, size}, used)) {
    while (const auto next = bench::parse_frame(bytes + used, size - used)) {
      used += next->size;
      if (next->kind == opcode::close) return drop(x);
      if (next->kind == opcode::text) text(x, next->payload);
    }
  }
  if (x.fd < 0) return;
  x.in = std::string(bytes + used, size - used);
}

bool floor_server::upgrade(connection& x, std::string_view bytes, std::size_t& used) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return false;
  const std::string_view head = bytes.substr(0, end + 2);
  if (const auto credentials = bench::header_value(head, "authorization"); credentials.starts_with("Bearer "))
    x.user = bench::user_of_token(credentials.substr(7));
  const auto protocols = bench::header_value(head, "sec-websocket-protocol");
  constexpr std::string_view token_prefix = "doorstep.token.";
  if (const auto at = protocols.find(token_prefix); x.user.empty() && at != std::string_view::npos)
    x.user = bench::user_of_token(protocols.substr(at + token_prefix.size(), protocols.find(',', at) - at - token_prefix.size()));
  const std::string reply =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: "
      "doorstep.v1\r\nSec-WebSocket-Accept: " +
      bench::accept_key(bench::header_value(head, "sec-websocket-key")) + "\r\n\r\n";
  write_out(x, reply.data(), reply.size());
  x.upgraded = true;
  used = end + 4;
  return true;
}

void floor_server::text(connection& x, std::string_view payload) {
  if (payload.starts_with("{\"ack\"")) {
    ++acks_;
  } else if (payload.find("\"connect\"") != std::string_view::npos) {
    greet(x, payload);
  }
}

void floor_server::greet(connection& x, std::string_view request) {
  constexpr std::string_view member = "\"token\":\"";
  if (const auto at = request.find(member); at != std::string_view::npos) {
    const auto token = request.substr(at + member.size());
    x.user = bench::user_of_token(token.substr(0, token.find('"')));
  }
  by_user_[x.user] = &x;
  std::string& out = begin_object(x);
  out += "{\"id\":1,\"connected\":{\"session\":\"floor-" + std::to_string(x.fd) + "\",\"user\":\"" + x.user + "\",\"addresses\":{\"user:" + x.user +
         "\":0},\"window\":32,\"ack_timeout_ms\":30000,\"ping_interval_ms\":25000,\"expires_at\":1795000000}}";
  flush(x);
}

void floor_server::route(const std::vector<rd_kafka_message_t*>& records) {
  for (rd_kafka_message_t* record : records) {
    rd_kafka_headers_t* headers = nullptr;
    rd_kafka_message_headers(record, &headers);
    const void* value = record->key;
    std::size_t size = record->key_len;
    if (headers != nullptr) rd_kafka_header_get_last(headers, "ce_touser", &value, &size);
    user_.assign(static_cast<const char*>(value), size);
    const auto found = by_user_.find(user_);
    if (found == by_user_.end()) {
      ++unknown_;
    } else {
      connection& x = *found->second;
      if (!x.frame) dirty_.push_back(&x);
      append_message(begin_object(x), record, user_, headers);
      ++pushed_;
    }
    rd_kafka_message_destroy(record);
  }
  for (connection* x : dirty_)
    if (x->fd >= 0) flush(*x);
  dirty_.clear();
}

void floor_server::append_message(std::string& out, const rd_kafka_message_t* record, const std::string& user, rd_kafka_headers_t* headers) {
  const auto attribute = [headers](const char* name) -> std::string_view {
    const void* value = nullptr;
    std::size_t size = 0;
    if (headers == nullptr || rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    return {static_cast<const char*>(value), size};
  };
  std::array<char, 24> seq, id;
  const auto seq_end = std::to_chars(seq.data(), seq.data() + seq.size(), ++seq_).ptr;
  id.fill('A');  // an id's length without its hash
  out += "{\"message\":{\"address\":\"user:";
  out += user;
  out += "\",\"seq\":";
  out.append(seq.data(), static_cast<std::size_t>(seq_end - seq.data()));
  out += ",\"id\":\"";
  out.append(id.data(), 22);
  out += "\",\"attempt\":1,\"redelivered\":false,\"event_id\":\"";
  out += attribute("ce_id");
  out += "\",\"source\":\"";
  out += attribute("ce_source");
  out += "\",\"type\":\"";
  out += attribute("ce_type");
  out += "\",\"data\":";
  out.append(static_cast<const char*>(record->payload), record->len);
  out += "}}";
}

std::string& floor_server::begin_object(connection& x) {
  if (!x.frame) {
    if (spare_.empty()) spare_.push_back(std::make_unique<std::string>());
    x.frame = std::move(spare_.back());
    spare_.pop_back();
    x.frame->assign(bench::server_header_bytes_max, '\0');
  } else {
    *x.frame += '\n';
  }
  return *x.frame;
}

void floor_server::flush(connection& x, opcode kind) {
  char* payload = x.frame->data() + bench::server_header_bytes_max;
  const char* begin = bench::write_server_header(payload, kind, x.frame->size() - bench::server_header_bytes_max);
  write_out(x, begin, static_cast<std::size_t>(x.frame->data() + x.frame->size() - begin));
  spare_.push_back(std::move(x.frame));
}

/// Sends after what is unsent, and keeps what the socket does not take.
void floor_server::write_out(connection& x, const char* bytes, std::size_t size) {
  if (!x.unsent.empty()) {
    x.unsent.append(bytes == nullptr ? "" : bytes, size);
    bytes = x.unsent.data();
    size = x.unsent.size();
  }
  const ssize_t sent = ::send(x.fd, bytes, size, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return drop(x);
  const std::size_t done = sent < 0 ? 0 : static_cast<std::size_t>(sent);
  if (done == size && x.unsent.empty()) return;
  x.unsent = std::string(bytes + done, size - done);
  if (x.wants_write != !x.unsent.empty()) watch(x, !x.unsent.empty());
}

void floor_server::watch(connection& x, bool write) {
  x.wants_write = write;
  epoll_event interest{};
  interest.events = EPOLLIN | (write ? EPOLLOUT : 0U);
  interest.data.fd = x.fd;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, x.fd, &interest);
}

/// Called every 100 ms: each connection's turn comes every 25 s, and it is pinged unless it was heard since.
void floor_server::ping_some() {
  ++ping_round_;
  for (std::size_t i = ping_round_ % 250; i < connections_.size(); i += 250) {
    const auto& x = connections_[i];
    if (!x || x->fd < 0 || !x->upgraded || x->last_heard + 250 > ping_round_) continue;
    begin_object(*x) += "{}";
    flush(*x);
  }
}

void floor_server::drop(connection& x) {
  const auto found = by_user_.find(x.user);
  if (found != by_user_.end() && found->second == &x) by_user_.erase(found);
  ::close(x.fd);
  x.fd = -1;
}

}  // namespace

int main(int argc, char** argv) {
  floor_options options;
  CLI::App app("The floor server of the bench: doorstep.v1 and Kafka with no logic between them");
  app.add_option("--listen", options.listen, "host:port of the WebSocket server");
  app.add_option("--kafka", options.brokers, "bootstrap servers")->required();
  app.add_option("--topic", options.topic, "the topic to read")->required();
  app.add_option("--group", options.group, "the consumer group");
  app.add_option("--fetch-min-bytes", options.fetch_min_bytes, "fetch.min.bytes");
  app.add_option("--fetch-wait-max-ms", options.fetch_wait_max_ms, "fetch.wait.max.ms");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { ending = true; });
  std::signal(SIGINT, [](int) { ending = true; });
  try {
    floor_server(options).run();
  } catch (const std::exception& x) {
    std::fprintf(stderr, "floor: %s\n", x.what());
    return 1;
  }
}
