// SPDX-License-Identifier: Apache-2.0
#include "storage/kafka_log.hpp"

#include "runtime/log.hpp"
#include "storage/kafka_log_reader.hpp"
#include "storage/kafka_log_writer.hpp"
#include "storage/log_topic.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace doorstep {

struct kafka_log::impl {
  impl(const config& x, metrics& counts) : options(x.log), ends(x.log.shards), writer(x.log, counts, ends), reader(x.log, counts, ends) {}

  const log_config options;
  log_ends ends;
  std::optional<log_mark> mark;  ///< none, or one that log.generation overrules
  std::uint32_t generation = 0;
  kafka_log_writer writer;
  kafka_log_reader reader;
};

kafka_log::kafka_log(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
kafka_log::~kafka_log() { stop(); }

result<std::unique_ptr<kafka_log>> kafka_log::open(const config& options, metrics& counts) {
  const auto began = std::chrono::steady_clock::now();
  const auto& log = options.log;
  if (auto ready = open_log_topic(log); !ready) return ready.error();
  if (options.store.engine == "sqlite") {
    const auto members = log_group_members(log);
    if (!members) return members.error();
    if (*members > 0)
      return failure{ec::bad_config,
                     "the group " + log.group + " (log.group) has " + std::to_string(*members) +
                         " other members, and a store in a file serves one process; stop them, or set store.engine = \"mongodb\"",
                     "log.group"};
  }
  auto made = std::make_unique<impl>(options, counts);
  if (auto done = made->writer.open(); !done) return done.error();
  if (auto done = made->reader.open(); !done) return done.error();
  if (auto done = made->reader.find_ends(); !done) return done.error();
  auto mark = made->reader.mark();
  if (!mark) return mark.error();
  made->generation = static_cast<std::uint32_t>(log.generation);
  const bool still_counts = *mark && (*mark)->generation >= made->generation;
  if (still_counts && (*mark)->shards != log.shards)
    return failure{ec::bad_config,
                   "the topic " + log.topic + " (log.topic) was used with " + std::to_string((*mark)->shards) + " partitions and now has " +
                       std::to_string(log.shards) +
                       ", and users must stay in their shard; begin anew with another log.topic and doorstep serve --set log.generation=" +
                       std::to_string((*mark)->generation + 1),
                   "log.shards"};
  if (still_counts) {
    made->generation = (*mark)->generation;
    made->mark = std::move(*mark);
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  log_line(log_level::info, "log", "opened")
      .with("topic", log.topic)
      .with("brokers", log.brokers)
      .with("shards", log.shards)
      .with("ms", took.count());
  return std::unique_ptr<kafka_log>(new kafka_log(std::move(made)));
}

log_identity kafka_log::identity() const { return identity_of(*this, impl_->mark ? impl_->mark->log_id : std::string()); }

result<void> kafka_log::claim(const message_store& store) {
  const auto who = store.identity();
  if (impl_->mark && impl_->mark->store_id != who.store_id)
    return failure{
        ec::bad_config,
        "the topic " + impl_->options.topic + " (log.topic) belongs to the store " + impl_->mark->store_id + " and not to this one, " + who.store_id +
            "; start with that store, or begin anew with doorstep serve --set log.generation=" + std::to_string(impl_->mark->generation + 1),
        "log.topic"};
  impl_->generation = who.generation;
  std::vector<std::uint64_t> stored(shard_count(), 0);
  for (const auto& x : store.positions()) stored.at(static_cast<std::size_t>(x.shard)) = x.next_offset;
  const log_mark mark{who.log_id, who.generation, shard_count(), who.store_id};
  if (auto done = impl_->reader.claim(mark, stored); !done) return done;
  impl_->writer.start(who.generation);
  impl_->reader.start();
  return {};
}

std::uint32_t kafka_log::shard_count() const { return static_cast<std::uint32_t>(impl_->options.shards); }
std::uint32_t kafka_log::generation() const { return impl_->generation; }
bool kafka_log::append(std::vector<log_entry> entries, admission who, append_done done) {
  return impl_->writer.append(std::move(entries), who, std::move(done));
}
void kafka_log::open_shard(shard_id shard, std::uint64_t from_offset, log_sink sink) {
  impl_->reader.open_shard(static_cast<std::uint32_t>(shard), from_offset, std::move(sink));
}
void kafka_log::grant(shard_id shard, std::size_t records) { impl_->reader.grant(static_cast<std::uint32_t>(shard), records); }
void kafka_log::close_shard(shard_id shard) { impl_->reader.close_shard(static_cast<std::uint32_t>(shard)); }
void kafka_log::stored(shard_id shard, std::uint64_t next_offset) { impl_->reader.stored(static_cast<std::uint32_t>(shard), next_offset); }
std::string kafka_log::why_stopped(shard_id shard) const { return impl_->reader.why_stopped(static_cast<std::uint32_t>(shard)); }
std::uint64_t kafka_log::end_offset(shard_id shard) const { return impl_->ends.at(static_cast<std::uint32_t>(shard)); }
std::size_t kafka_log::queued() const { return impl_->writer.queued(); }
std::size_t kafka_log::queue_max() const { return impl_->options.queue_entries_max; }

void kafka_log::stop() {
  impl_->writer.stop();
  impl_->reader.stop();
}

}  // namespace doorstep
