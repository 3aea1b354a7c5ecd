// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_client.hpp"

#include "runtime/log.hpp"

#include <mongoc/mongoc.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

namespace doorstep {

namespace {

/// The driver's own lines are about connections: worth a throttled line of ours, never more.
void on_driver_line(mongoc_log_level_t level, const char* domain, const char* text, void*) {
  static log_throttle throttle;
  if (level > MONGOC_LOG_LEVEL_WARNING) return;
  if (const auto missed = throttle.pass())
    log_line(log_level::warn, "store", "driver").with("domain", domain).with("text", text).with("missed", *missed);
}

void start_driver() {
  static const bool once = [] {
    mongoc_init();
    mongoc_log_set_handler(on_driver_line, nullptr);
    return true;
  }();
  (void)once;
}

std::int32_t as_ms(milliseconds x) { return static_cast<std::int32_t>(x.count()); }

struct release {
  void operator()(mongoc_uri_t* x) const { mongoc_uri_destroy(x); }
  void operator()(mongoc_bulk_operation_t* x) const { mongoc_bulk_operation_destroy(x); }
  void operator()(mongoc_collection_t* x) const { mongoc_collection_destroy(x); }
  void operator()(mongoc_cursor_t* x) const { mongoc_cursor_destroy(x); }
  void operator()(mongoc_database_t* x) const { mongoc_database_destroy(x); }
};
template <class T>
using handle = std::unique_ptr<T, release>;

const bson_t* raw(const bson_out& x) { return reinterpret_cast<const bson_t*>(x.bytes()); }
bson_in read(const bson_t& x) { return bson_in(reinterpret_cast<const bson_document&>(x)); }

constexpr int duplicate_key = 11000;
/// Operations of one command: small enough that a slow server answers within the socket's timeout.
constexpr std::size_t bulk_operations = 1000;

/// Which operations of a bulk ran into a document that was there already; nothing where there was any other error.
std::optional<std::vector<bool>> duplicates_only(const bson_t& reply, std::size_t count) {
  bson_iter_t at, each;
  if (bson_iter_init_find(&at, &reply, "writeConcernErrors") && bson_iter_recurse(&at, &each) && bson_iter_next(&each)) return std::nullopt;
  std::vector<bool> found(count);
  bool any = false;
  if (!bson_iter_init_find(&at, &reply, "writeErrors") || !bson_iter_recurse(&at, &each)) return std::nullopt;
  while (bson_iter_next(&each)) {
    bson_iter_t code, index;
    if (!bson_iter_recurse(&each, &code) || !bson_iter_find(&code, "code") || bson_iter_as_int64(&code) != duplicate_key) return std::nullopt;
    if (!bson_iter_recurse(&each, &index) || !bson_iter_find(&index, "index")) return std::nullopt;
    const auto number = static_cast<std::size_t>(bson_iter_as_int64(&index));
    if (number >= count) return std::nullopt;
    found[number] = any = true;
  }
  if (!any) return std::nullopt;
  return found;
}

/// What to look at where a server is there and does not let us in; null where it is away.
const char* advice(const bson_error_t& why) {
  constexpr std::uint32_t unauthorized = 13, authentication_failed = 18;
  const std::string_view text(why.message);
  const auto says = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (why.code == unauthorized || why.code == authentication_failed ||
      (why.domain == MONGOC_ERROR_CLIENT && why.code == MONGOC_ERROR_CLIENT_AUTHENTICATE) || (why.domain == MONGOC_ERROR_SCRAM))
    return "look at user and password in store.uri: what is not a letter or digit is percent-encoded there, authSource names the database that has "
           "the user";
  if (says("TLS handshake failed"))
    return "look at the certificates: tlsCAFile in store.uri names the file with the authority of the server's, whose name is the host there";
  return nullptr;
}

/// The driver only says that something is wrong with them.
std::optional<std::string> unreadable_file(const mongoc_uri_t* uri) {
  for (const char* option : {"tlsCAFile", "tlsCertificateKeyFile"}) {
    const char* const path = mongoc_uri_get_option_as_utf8(uri, option, nullptr);
    if (path != nullptr && !std::ifstream(path)) return std::string(option) + " " + path + " cannot be read";
  }
  return std::nullopt;
}

failure bad_uri(const std::string& why) { return {ec::bad_config, "store.uri cannot be used: " + why, "store.uri"}; }

}  // namespace

struct mongo_pool::impl {
  explicit impl(mongoc_client_pool_t* x) : pool(x) {}
  ~impl() { mongoc_client_pool_destroy(pool); }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;
  mongoc_client_pool_t* const pool;
};

mongo_pool::mongo_pool(const store_config& options, std::unique_ptr<impl> x) : options_(options), impl_(std::move(x)) {}
mongo_pool::~mongo_pool() = default;

result<std::shared_ptr<mongo_pool>> mongo_pool::open(const store_config& options) {
  start_driver();
  if (options.uri.empty()) return failure{ec::bad_config, "store.engine = \"mongodb\" needs store.uri or store.uri_file", "store.uri"};
  bson_error_t why{};
  const handle<mongoc_uri_t> uri(mongoc_uri_new_with_error(options.uri.c_str(), &why));
  if (!uri) return bad_uri(why.message);
  if (auto fault = unreadable_file(uri.get())) return bad_uri(*fault);
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_SERVERSELECTIONTIMEOUTMS, as_ms(options.selection_timeout));
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_CONNECTTIMEOUTMS, as_ms(options.connect_timeout));
  mongoc_uri_set_option_as_int32(uri.get(), MONGOC_URI_SOCKETTIMEOUTMS, as_ms(options.socket_timeout));
  mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_SERVERSELECTIONTRYONCE, false);
  // Every write is safe to repeat, and who asked for it repeats it: the driver's own retries would need sessions.
  if (!mongoc_uri_has_option(uri.get(), MONGOC_URI_RETRYWRITES)) mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_RETRYWRITES, false);
  if (!mongoc_uri_has_option(uri.get(), MONGOC_URI_RETRYREADS)) mongoc_uri_set_option_as_bool(uri.get(), MONGOC_URI_RETRYREADS, false);
  auto* const pool = mongoc_client_pool_new(uri.get());
  if (!pool) return bad_uri("this libmongoc cannot do what it asks for (TLS, compression?)");
  mongoc_client_pool_max_size(pool, static_cast<std::uint32_t>(options.connections_max));
  mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
  mongoc_client_pool_set_appname(pool, "doorstep");
  return std::shared_ptr<mongo_pool>(new mongo_pool(options, std::make_unique<impl>(pool)));
}

constexpr std::array collection_names{"messages", "cursors", "dead_letters", "shards", "state", "dedup", "inboxes"};  // as in mongo_collection

struct mongo_connection::impl {
  explicit impl(std::shared_ptr<mongo_pool> from);
  ~impl();
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  mongoc_collection_t* at(mongo_collection x) const { return collections[static_cast<std::size_t>(x)].get(); }
  /// The field says which option to look at, where it is one.
  failure failed(const bson_error_t& why) const {
    failure out{ec::unavailable, "MongoDB, database " + pool->options().database + ": " + why.message + " (" + std::to_string(why.code) + ")", {}};
    if (const char* const more = advice(why)) {
      out.detail.append("; ").append(more);
      out.field = "store.uri";
    } else if (why.domain == MONGOC_ERROR_SERVER_SELECTION && !mongoc_uri_get_tls(mongoc_client_get_uri(client))) {
      out.detail += "; where it wants TLS, store.uri has to say tls=true";
    }
    return out;
  }
  result<void> each(mongoc_cursor_t* cursor, const std::function<result<void>(const bson_in&)>& take) const;
  result<mongo_bulk_counts> write_bulk(mongoc_collection_t* to, std::vector<const mongo_operation*> left) const;

  const std::shared_ptr<mongo_pool> pool;
  mongoc_client_t* const client;
  handle<mongoc_database_t> database;
  std::array<handle<mongoc_collection_t>, collection_names.size()> collections;
};

mongo_connection::impl::impl(std::shared_ptr<mongo_pool> from) : pool(std::move(from)), client(mongoc_client_pool_pop(pool->impl_->pool)) {
  database.reset(mongoc_client_get_database(client, pool->options().database.c_str()));
  auto* const durable = mongoc_write_concern_new();
  // The server says "not yet" before the socket gives up, so that fewer writes end in doubt.
  mongoc_write_concern_set_wmajority(durable, std::max<std::int32_t>(1, as_ms(pool->options().socket_timeout) * 8 / 10));
  mongoc_write_concern_set_journal(durable, true);
  auto* const majority = mongoc_read_concern_new();
  mongoc_read_concern_set_level(majority, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
  auto* const primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
  mongoc_database_set_write_concern(database.get(), durable);
  for (std::size_t i = 0; i < collection_names.size(); ++i) {
    auto& one = collections[i];
    one.reset(mongoc_database_get_collection(database.get(), collection_names[i]));
    mongoc_collection_set_write_concern(one.get(), durable);
    mongoc_collection_set_read_concern(one.get(), majority);
    mongoc_collection_set_read_prefs(one.get(), primary);
  }
  mongoc_read_prefs_destroy(primary);
  mongoc_read_concern_destroy(majority);
  mongoc_write_concern_destroy(durable);
}

mongo_connection::impl::~impl() {
  for (auto& one : collections) one.reset();
  database.reset();
  mongoc_client_pool_push(pool->impl_->pool, client);
}

result<void> mongo_connection::impl::each(mongoc_cursor_t* cursor, const std::function<result<void>(const bson_in&)>& take) const {
  const handle<mongoc_cursor_t> held(cursor);
  const bson_t* found = nullptr;
  while (mongoc_cursor_next(cursor, &found)) {
    if (result<void> taken = take(read(*found)); !taken) return taken;
  }
  bson_error_t why{};
  if (mongoc_cursor_error(cursor, &why)) return failed(why);
  return {};
}

/// The driver may name duplicates and keep silent about a connection that broke after them, so what is left is written again.
result<mongo_bulk_counts> mongo_connection::impl::write_bulk(mongoc_collection_t* to, std::vector<const mongo_operation*> left) const {
  mongo_bulk_counts counts;
  bson_out unordered, upsert, plain;
  unordered.flag("ordered", false);
  upsert.flag("upsert", true);
  while (!left.empty()) {
    const handle<mongoc_bulk_operation_t> bulk(mongoc_collection_create_bulk_operation_with_opts(to, raw(unordered)));
    bson_error_t why{};
    for (const auto* x : left) {
      const bool taken = x->what == mongo_operation::kind::remove
                             ? mongoc_bulk_operation_remove_one_with_opts(bulk.get(), raw(x->filter), raw(plain), &why)
                             : mongoc_bulk_operation_update_one_with_opts(bulk.get(), raw(x->filter), raw(x->change),
                                                                          raw(x->what == mongo_operation::kind::upsert ? upsert : plain), &why);
      if (!taken) return failure{ec::internal, std::string("the MongoDB driver refuses a document: ") + why.message, {}};
    }
    bson_t reply = BSON_INITIALIZER;
    bson_destroy(&reply);  // execute() makes it anew
    const bool done = mongoc_bulk_operation_execute(bulk.get(), &reply, &why) != 0;
    const auto duplicates = done ? std::nullopt : duplicates_only(reply, left.size());
    counts.upserted += read(reply).number("nUpserted");
    counts.removed += read(reply).number("nRemoved");
    bson_destroy(&reply);
    if (done) return counts;
    if (!duplicates) return failed(why);
    std::vector<const mongo_operation*> rest;
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (!(*duplicates)[i]) rest.push_back(left[i]);
    }
    left = std::move(rest);
  }
  return counts;
}

mongo_connection::mongo_connection(std::shared_ptr<mongo_pool> pool) : impl_(std::make_unique<impl>(std::move(pool))) {}
mongo_connection::~mongo_connection() = default;

result<void> mongo_connection::find(mongo_collection in, const bson_out& filter, const bson_out& options,
                                    const std::function<result<void>(const bson_in&)>& take) {
  return impl_->each(mongoc_collection_find_with_opts(impl_->at(in), raw(filter), raw(options), nullptr), take);
}

result<std::uint64_t> mongo_connection::count(mongo_collection in, const bson_out& filter) {
  bson_error_t why{};
  const auto found = mongoc_collection_count_documents(impl_->at(in), raw(filter), nullptr, nullptr, nullptr, &why);
  if (found < 0) return impl_->failed(why);
  return static_cast<std::uint64_t>(found);
}

result<void> mongo_connection::sum(mongo_collection in, const bson_out& filter, const char* field, std::uint64_t& into) {
  bson_out group, nothing;
  group.number("_id", 0).part("sum", bson_with("$sum", std::string("$") + field));
  std::vector<bson_out> steps;
  steps.push_back(bson_with("$match", filter));
  steps.push_back(bson_with("$group", group));
  bson_out pipeline;
  pipeline.parts("pipeline", steps);
  return impl_->each(mongoc_collection_aggregate(impl_->at(in), MONGOC_QUERY_NONE, raw(pipeline), raw(nothing), nullptr),
                     [&](const bson_in& x) -> result<void> {
                       into += x.count("sum");
                       return {};
                     });
}

result<void> mongo_connection::update_one(mongo_collection in, const bson_out& filter, const bson_out& change, bool upsert) {
  bson_out options;
  options.flag("upsert", upsert);
  bson_error_t why{};
  if (mongoc_collection_update_one(impl_->at(in), raw(filter), raw(change), raw(options), nullptr, &why)) return {};
  if (why.code == duplicate_key) return {};
  return impl_->failed(why);
}

result<mongo_bulk_counts> mongo_connection::write(mongo_collection to, const std::vector<mongo_operation>& all) {
  mongo_bulk_counts counts;
  for (std::size_t from = 0; from < all.size(); from += bulk_operations) {
    std::vector<const mongo_operation*> part;
    for (auto i = from; i < std::min(all.size(), from + bulk_operations); ++i) part.push_back(&all[i]);
    const auto done = impl_->write_bulk(impl_->at(to), std::move(part));
    if (!done) return done.error();
    counts.upserted += done->upserted;
    counts.removed += done->removed;
  }
  return counts;
}

result<void> mongo_connection::remove_all(mongo_collection from, const bson_out& filter) {
  bson_error_t why{};
  if (mongoc_collection_delete_many(impl_->at(from), raw(filter), nullptr, nullptr, &why)) return {};
  return impl_->failed(why);
}

result<void> mongo_connection::command(const bson_out& what) {
  bson_error_t why{};
  if (mongoc_database_write_command_with_opts(impl_->database.get(), raw(what), nullptr, nullptr, &why)) return {};
  return impl_->failed(why);
}

result<std::vector<std::string>> mongo_connection::index_names(mongo_collection in) {
  std::vector<std::string> out;
  auto listed = impl_->each(mongoc_collection_find_indexes_with_opts(impl_->at(in), nullptr), [&](const bson_in& x) -> result<void> {
    out.push_back(x.text("name"));
    return {};
  });
  if (!listed) return listed.error();
  return out;
}

}  // namespace doorstep
