// SPDX-License-Identifier: Apache-2.0
// The program: reads the command line, chooses the concrete parts, waits for a signal, drains. No logic of its own.
// Exit codes: 0 ok, 1 runtime failure, 2 usage, 74 a failed fsync, 78 bad configuration; 128 + its number after a second signal.
#include "actors/house.hpp"
#include "identity_commands.hpp"
#include "net/admin_client.hpp"
#include "net/server.hpp"
#include "routes_command.hpp"
#include "runtime/config.hpp"
#include "runtime/huge_pages.hpp"
#include "runtime/json_text.hpp"
#include "runtime/log.hpp"
#include "storage/kafka_log.hpp"
#include "storage/kafka_sink.hpp"
#include "storage/kafka_source.hpp"
#include "storage/mongo_store.hpp"
#include "storage/sqlite_store.hpp"
#include "web/assets.hpp"

#include <CLI/CLI.hpp>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <thread>

extern char** environ;

namespace {

using namespace doorstep;

constexpr int exit_failure = 1, exit_usage = 2, exit_config = 78;
constexpr const char* version_text = "doorstep " DOORSTEP_VERSION;

int complain(const failure& why) {
  std::cerr << "doorstep: " << (why.code == ec::bad_config ? why.detail : to_string(why)) << "\n";
  return why.code == ec::bad_config ? exit_config : exit_failure;
}

std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** x = environ; *x != nullptr; ++x) all.emplace_back(*x);
  return all;
}

/// The flags that stand for options; each is the option's short name on the command line.
struct settings_flags {
  std::string file;
  std::vector<std::string> set;
  std::map<std::string, std::string> named;  // option -> value
  std::vector<std::string> topics;

  void add_file_to(CLI::App& app) {
    app.add_option("-c,--config", file, "TOML file; every option: doorstep default-config")->type_name("FILE");
    app.add_option("--set", set, "any option, e.g. --set delivery.window=16 (may be repeated)")->type_name("OPTION=VALUE")->allow_extra_args(false);
  }

  void add_to(CLI::App& app) {
    add_file_to(app);
    flag(app, "--listen", "http.listen", "public address");
    flag(app, "--internal-listen", "internal.listen", "internal address");
    flag(app, "--data", "store.path", "the SQLite file");
    flag(app, "--kafka", "sources.0.brokers", "brokers of a source, host:port[,host:port]");
    flag(app, "--group", "sources.0.group", "its consumer group");
    flag(app, "--format", "sources.0.format", "its format: cloudevents or json");
    app.add_option("--topic", topics, "topic of that source (may be repeated)")->type_name("NAME")->allow_extra_args(false);
    flag(app, "--log-level", "logging.level", "debug, info, warn, error or off");
  }

  result<config> load() const {
    std::string text;
    if (!file.empty()) {
      std::ifstream in(file);
      if (!in) return failure{ec::bad_config, file + ": cannot be read", {}};
      text.assign(std::istreambuf_iterator<char>(in), {});
    }
    std::vector<override_value> flags;
    for (const auto& [option, value] : named)
      if (!value.empty()) flags.push_back({option, value, "the flag for " + option});
    if (!topics.empty()) {
      std::string joined;
      for (const auto& x : topics) joined += (joined.empty() ? "" : ",") + x;
      flags.push_back({"sources.0.topics", joined, "--topic"});
    }
    for (const auto& x : set) {
      const auto equals = x.find('=');
      if (equals == std::string::npos) return failure{ec::bad_config, "--set " + x + ": write OPTION=VALUE", {}};
      flags.push_back({x.substr(0, equals), x.substr(equals + 1), "--set"});
    }
    return load_config(text, file, environment(), flags);
  }

private:
  void flag(CLI::App& app, const char* name, const char* option, const char* what) { app.add_option(name, named[option], what)->type_name("VALUE"); }
};

const asset* demo_file(std::string_view path) {
  static const auto all = [] {
    std::map<std::string, asset, std::less<>> files;
    for (const char* x : {"/", "/index.html", "/demo.css", "/demo.js", "/doorstep-client.js", "/icon.svg"})
      if (const auto* file = find_web_asset(x)) files.emplace(x, asset{std::string(file->content_type), std::string(file->body)});
    return files;
  }();
  const auto found = all.find(path);
  return found == all.end() ? nullptr : &found->second;
}

std::vector<std::unique_ptr<loop>> start_loops(std::size_t wanted) {
  const auto count = wanted > 0 ? wanted : std::max<std::size_t>(1, std::thread::hardware_concurrency() / 2);
  std::vector<std::unique_ptr<loop>> loops;
  loops.reserve(count);
  for (std::size_t i = 0; i < count; ++i) loops.push_back(std::make_unique<loop>("lane-" + std::to_string(i)));
  return loops;
}

template <class T>
std::vector<T*> pointers(const std::vector<std::unique_ptr<T>>& all) {
  std::vector<T*> raw;
  raw.reserve(all.size());
  for (const auto& x : all) raw.push_back(x.get());
  return raw;
}

/// Waits for SIGTERM or SIGINT, or for a failure that ends the process.
class ending {
public:
  ending() : signals_(io_, SIGTERM, SIGINT), hangups_(io_, SIGHUP) {
    signals_.async_wait([this](boost::system::error_code ec, int) {
      if (!ec) io_.stop();
    });
    await_hangup();
  }
  /// What SIGHUP does while wait() waits; one that came before does it then.
  void on_hangup(std::function<void()> what) { hangup_ = std::move(what); }
  void fail(std::string why) {
    boost::asio::post(io_, [this, why = std::move(why)] {
      why_ = why;
      io_.stop();
    });
  }
  /// @returns what failed, or an empty text after a signal. From then on a second signal ends the process at once.
  std::string wait() {
    io_.run();
    signals_.cancel();
    signals_.clear();
    for (int x : {SIGTERM, SIGINT}) std::signal(x, [](int number) { std::_Exit(128 + number); });
    return why_;
  }

private:
  void await_hangup() {
    hangups_.async_wait([this](boost::system::error_code ec, int) {
      if (ec) return;
      if (hangup_) hangup_();
      await_hangup();
    });
  }

  boost::asio::io_context io_;
  boost::asio::signal_set signals_, hangups_;
  std::function<void()> hangup_;
  std::string why_;
};

/// Readiness off, intake off, clients away, everything saved. In time or not: what was accepted is durable.
bool drain(const config& options, house& home, http_server& server, metrics& counts) {
  const auto deadline = std::chrono::steady_clock::now() + options.runtime.drain_timeout;
  const auto left = [&] { return std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now())); };
  log_line(log_level::info, "main", "draining").with("deadline", format_duration(options.runtime.drain_timeout));
  server.stop_accepting();
  home.stop_intake();
  home.send_clients_away(options.runtime.reconnect_spread);
  const auto goodbye = std::chrono::steady_clock::now() + options.runtime.drain_timeout / 2;
  while (counts.sessions.value() > 0 && std::chrono::steady_clock::now() < goodbye) std::this_thread::sleep_for(milliseconds{5});
  server.stop();
  return home.drain(left());
}

/// A log in Kafka and whichever store.
result<engines> open_beside_kafka(const config& options, metrics& counts) {
  auto log = kafka_log::open(options, counts);
  if (!log) return log.error();
  auto store = options.store.engine == "mongodb" ? open_mongo_store(options, (*log)->identity(), counts)
                                                 : open_sqlite_store(options, (*log)->identity(), counts);
  if (!store) return store.error();
  if (auto claimed = (*log)->claim(**store); !claimed) return claimed.error();
  return engines{nullptr, std::move(*log), std::move(*store)};
}

/// Log and store: one file, the log's file and a store in MongoDB, or a topic and either store.
result<engines> open_engines(const config& options, metrics& counts) {
  if (options.log.engine == "kafka") return open_beside_kafka(options, counts);
  if (options.store.engine != "mongodb") return open_embedded(options, counts);
  auto engines = open_embedded_log(options, counts);
  if (!engines) return engines;
  auto store = open_mongo_store(options, identity_of(*engines->log, engines->database->id()), counts);
  if (!store) return store.error();
  engines->store = std::move(*store);
  return engines;
}

/// Null where dead letters have no mirror.
result<std::unique_ptr<record_sink>> make_mirror(const dead_letters_config& options, metrics& counts) {
  if (options.mirror_topic.empty()) return std::unique_ptr<record_sink>();
  return make_kafka_sink({"dead-letter mirror", options.mirror_brokers, options.mirror_topic, options.mirror_kafka_options,
                          "dead letters wait in the store until they can be mirrored; nothing else is affected"},
                         counts);
}

int serve(const config& options, const settings_flags& flags) {
  set_log_output(options.logging.level, options.logging.format);
  if (!options.auth.knows_anybody())
    return complain(
        {ec::bad_config,
         "auth.hs256_secret or auth.hs256_secret_file must be set, or auth.keys, auth.key_files, auth.jwks_url or auth.hook_url: without any "
         "of them no client can prove who it is",
         {}});
  if (options.internal.api_keys.empty() && options.internal.tls_clients.empty())
    return complain({ec::bad_config, "internal.api_keys or internal.api_keys_file must be set: without it nobody can publish or look", {}});

  if (options.runtime.huge_pages && !prefer_huge_pages())
    log_line(log_level::debug, "main", "no-huge-pages").with("effect", "more CPU a message; nothing else");

  ending end;
  metrics counts;
  auto engines = open_engines(options, counts);
  if (!engines) return complain(engines.error());
  std::vector<std::unique_ptr<record_source>> sources;
  for (const auto& x : options.sources) {
    auto made = make_kafka_source(x, counts);
    if (!made) return complain(made.error());
    sources.push_back(std::move(*made));
  }
  auto mirror = make_mirror(options.dead_letters, counts);
  if (!mirror) return complain(mirror.error());
  auto loops = start_loops(options.runtime.lanes);
  int code = 0;
  {
    services parts{options, counts, *engines->log, *engines->store};
    parts.read_again = [&flags] { return flags.load(); };
    parts.mirror = mirror->get();
    http_server* doors = nullptr;  // made after those who reload it
    parts.prepare_identity = [&doors](const config& next) { return doors->prepare_reload(next); };
    house home(parts, pointers(loops), pointers(sources));
    home.start([&end](std::string why) { end.fail(std::move(why)); });
    http_server server(options, pointers(loops), home, home, home, counts, demo_file);
    doors = &server;
    if (auto up = server.start(); !up) {
      home.drain(milliseconds{2000});
      code = complain(up.error());
    } else {
      home.start_sources();
      log_line(log_level::info, "main", "ready")
          .with("version", DOORSTEP_VERSION)
          .with("public", server.public_port())
          .with("internal", server.internal_port())
          .with("sources", sources.size())
          .with("lanes", loops.size());
      end.on_hangup([&home] {
        log_line(log_level::audit, "audit", "reload").with("who", "SIGHUP");
        home.reload([](const result<std::string>&) {});  // says itself in the log what came of it
      });
      const auto why = end.wait();
      if (!drain(options, home, server, counts)) {
        log_line(log_level::error, "main", "drain-timed-out")
            .with("sessions", counts.sessions.value())
            .with("mailboxes", counts.mailboxes.value())
            .with("store_queue", counts.store_queue.value())
            .with("log_queue", counts.log_queue.value())
            .with("actors", home.running())
            .with("effect", "nothing accepted is lost; some pushes will be repeated, flagged");
        std::_Exit(exit_failure);  // to stop them in order would wait for the very write that did not end
      }
      if (!why.empty()) code = exit_failure;
    }
    if (*mirror) (*mirror)->stop();
    engines->log->stop();
    engines->store->stop();
    for (auto& x : loops) x->stop();
  }
  log_line(log_level::info, "main", "stopped").with("code", code);
  return code;
}

/// doorstep dead-letters list|show|requeue|purge: a running server is asked, and its answer printed.
struct dead_letters_command {
  server_address server{"http://127.0.0.1:9000", {}, {}, {}, {}};
  std::string key_file, after, state;
  std::vector<std::string> ids;
  std::map<std::string, std::string> filter;
  std::size_t limit = 100;
  bool all = false;
  CLI::App *self = nullptr, *list = nullptr, *show = nullptr, *requeue = nullptr, *purge = nullptr;

  void add_to(CLI::App& app) {
    self = app.add_subcommand("dead-letters", "look at what was given up, take it back, or delete it");
    self->require_subcommand(1);
    list = command("list", "print a page of them, oldest first");
    show = command("show", "print one, whole");
    requeue = command("requeue", "deliver them again");
    purge = command("purge", "delete them");
    for (auto* x : {list, requeue, purge}) {
      for (const char* part : {"reason", "user", "topic"})
        x->add_option(std::string("--") + part, filter[part], "only those of this " + std::string(part));
      x->add_option("--since", filter["since"], "only those given up at this time (RFC 3339) or later");
      x->add_option("--until", filter["until"], "only those given up before");
      x->add_option("--limit", limit, "at most so many")->check(CLI::Range(1, 1000))->capture_default_str();
    }
    list->add_option("--after", after, "`next` of the page before");
    list->add_option("--state", state, "dead, or all: with those taken back")->check(CLI::IsMember({"dead", "all"}));
    show->add_option("id", ids, "which")->required()->expected(1);
    for (auto* x : {requeue, purge}) {
      x->add_option("id", ids, "which");
      x->add_flag("--all", all, "every one that is still dead, up to the limit");
    }
  }

  int run() {
    if (!key_file.empty()) {
      std::ifstream in(key_file);
      if (!std::getline(in, server.api_key)) return complain({ec::bad_config, key_file + ": cannot be read", {}});
    }
    const std::string path = "/v1/dead-letters";
    if (list->parsed()) return print(ask_server(server, path + query()));
    if (show->parsed()) return print(ask_server(server, path + "/" + url_encoded(ids.front())));
    return print(ask_server(server, path + (requeue->parsed() ? "/requeue" : "/purge"), body()));
  }

private:
  CLI::App* command(const char* name, const char* what) {
    auto* made = self->add_subcommand(name, what);
    made->add_option("--url", server.url, "the server's internal address")->capture_default_str();
    made->add_option("--ca", server.ca_file, "a PEM file with the authority of its certificate, if not the system's");
    made->add_option("--certificate", server.certificate, "a PEM file with a certificate to show it");
    made->add_option("--certificate-key", server.certificate_key, "and one with its private key");
    made->add_option("--api-key", server.api_key, "one of internal.api_keys (seen by everybody who can list processes)");
    made->add_option("--api-key-file", key_file, "a file whose first line is one");
    return made;
  }
  std::string query() const {
    std::string text = "?limit=" + std::to_string(limit);
    for (const auto& [part, value] : filter)
      if (!value.empty()) text += "&" + part + "=" + url_encoded(value);
    if (!after.empty()) text += "&after=" + url_encoded(after);
    return state.empty() ? text : text + "&state=" + state;
  }
  std::string body() const {
    std::string text = "{\"limit\":" + std::to_string(limit);
    if (all) text += ",\"all\":true";
    for (const auto& [part, value] : filter) {
      if (value.empty()) continue;
      text += ",\"" + part + "\":";
      append_json_string(text, value);
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      text += i == 0 ? ",\"ids\":[" : ",";
      append_json_string(text, ids[i]);
    }
    return text + (ids.empty() ? "}" : "]}");
  }
  static int print(const result<admin_answer>& answer) {
    if (!answer) return complain(answer.error());
    const bool good = answer->status < 300;
    (good ? std::cout : std::cerr) << answer->body << "\n";
    return good ? 0 : exit_failure;
  }
};

/// doorstep routes test|lint.
struct routes_command {
  settings_flags test_flags, lint_flags;
  routes_test_request request;
  CLI::App *self = nullptr, *test = nullptr, *lint = nullptr;

  void add_to(CLI::App& app) {
    self = app.add_subcommand("routes", "try the routing rules of a configuration, without a server");
    self->require_subcommand(1);
    test = self->add_subcommand("test", "which rules match an event, who gets what, and why the other rules do not match");
    test_flags.add_file_to(*test);
    test->add_option("--record", request.record_file, "a CloudEvent in JSON, or a value as in the topic; - is standard input")->required();
    test->add_option("--topic", request.topic, "as if it came from this topic; without it, over HTTP");
    test->add_option("--key", request.key, "the record's key");
    test->add_option("--header", request.headers, "a header of it (may be repeated)")->type_name("NAME=VALUE")->allow_extra_args(false);
    lint = self->add_subcommand("lint", "find rules that can never match or never deliver");
    lint_flags.add_file_to(*lint);
  }

  int run() const {
    const auto& flags = test->parsed() ? test_flags : lint_flags;
    const auto options = flags.load();
    if (!options) return complain(options.error());
    if (test->parsed()) {
      const auto text = try_routes(*options, request);
      if (!text) return complain(text.error());
      std::cout << *text;
      return 0;
    }
    const auto findings = lint_text(*options, flags.file);
    std::cout << (findings.empty() ? "ok\n" : findings);
    return findings.empty() ? 0 : exit_failure;
  }
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Doorstep: Kafka events, brought to every user's door, and signed for."};
  app.require_subcommand(1);

  settings_flags serve_flags, check_flags;
  auto* serve_command = app.add_subcommand("serve", "run the server");
  serve_flags.add_to(*serve_command);
  auto* check_command = app.add_subcommand("check-config", "read the configuration as serve would, and say what is wrong with it");
  check_flags.add_to(*check_command);
  auto* default_command = app.add_subcommand("default-config", "print every option with its default");
  auto* page_command = app.add_subcommand("config-page", "print docs/configuration.md");
  auto* version_command = app.add_subcommand("version", "print the version");

  token_command tokens;
  tokens.add_to(app);
  key_command keys;
  keys.add_to(app);
  dead_letters_command dead_letters;
  dead_letters.add_to(app);
  routes_command routes;
  routes.add_to(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& why) {
    const int code = app.exit(why);
    return code == 0 ? 0 : exit_usage;
  }

  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is a write that fails, as on a full disk
  if (version_command->parsed()) {
    std::cout << version_text << "\n";
  } else if (default_command->parsed()) {
    std::cout << default_config_text();
  } else if (page_command->parsed()) {
    std::cout << configuration_page();
  } else if (tokens.self->parsed()) {
    const auto token = tokens.run();
    if (!token) return complain(token.error());
    std::cout << *token << "\n";
  } else if (keys.self->parsed()) {
    const auto text = keys.run();
    if (!text) return complain(text.error());
    std::cout << *text;
  } else if (dead_letters.self->parsed()) {
    return dead_letters.run();
  } else if (routes.self->parsed()) {
    return routes.run();
  } else {
    const auto options = (serve_command->parsed() ? serve_flags : check_flags).load();
    if (!options) return complain(options.error());
    if (serve_command->parsed()) return serve(*options, serve_flags);
    if (const auto usable = check_identity(*options); !usable) return complain(usable.error());
    if (options->store.engine == "mongodb")
      if (const auto usable = check_mongo_uri(options->store); !usable) return complain(usable.error());
    std::cout << "ok\n";
  }
  return 0;
}
