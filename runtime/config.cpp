// SPDX-License-Identifier: Apache-2.0
// Loads the configuration: file, then environment, then flags, then what only the whole can tell. Reads the files that secrets stand in. At start, one thread.
#include "runtime/config.hpp"

#include "runtime/config_file.hpp"
#include "runtime/number_text.hpp"
#include "runtime/options.hpp"
#include "runtime/routes.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <utility>

namespace doorstep {

namespace {

using sv = std::string_view;
using problem = std::optional<failure>;

constexpr std::size_t sources_max = 100, routes_max = 10'000;
constexpr std::size_t secret_file_bytes_max = 64 * 1024;
constexpr sv variable_prefix = "DOORSTEP_";

enum class layer { defaults, file, environment, flags };

/// Who said it, for the error text.
struct said {
  layer by = layer::defaults;
  std::string from;  ///< a flag or a variable; empty for the file
  file_place key, value;
};

/// "sources.0.brokers" as its table name "sources.brokers" and row 0.
struct option_path {
  std::string section, key;
  std::optional<std::size_t> row;
  std::string name() const { return section + "." + key; }
};

option_path split_path(sv path) {
  option_path out;
  out.section = path.substr(0, path.find('.'));
  auto rest = path.substr(std::min(out.section.size() + 1, path.size()));
  if (out.section == "sources") {
    const auto number = rest.substr(0, rest.find('.'));
    if (const auto row = number_in<std::size_t>(number)) {
      out.row = *row;
      rest.remove_prefix(std::min(number.size() + 1, rest.size()));
    }
  }
  out.key = rest;
  return out;
}

std::string in_quotes(sv text) { return "\"" + std::string(text) + "\""; }

// Where a mistyped option belongs: the nearest of its section, or the same key in another one.
std::string suggestion(const option_path& typed) {
  std::vector<sv> keys;
  for (const auto& x : all_options()) {
    if (x.section() == typed.section) keys.push_back(x.key());
  }
  if (const auto nearest = nearest_name(typed.key, keys); !nearest.empty()) return "; did you mean " + in_quotes(nearest) + "?";
  for (const auto& x : all_options()) {
    if (x.key() == typed.key) return "; did you mean " + in_quotes(x.key()) + " in [" + std::string(x.section()) + "]?";
  }
  return "";
}

std::string unknown_section(sv section) {
  const auto names = option_sections();
  const auto nearest = nearest_name(section, names);
  return "unknown section [" + std::string(section) + "]" + (nearest.empty() ? "" : "; did you mean [" + std::string(nearest) + "]?");
}

bool is_section(sv name) {
  const auto names = option_sections();
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// DOORSTEP_SOURCES__0__BROKERS as sources.0.brokers.
std::string variable_option(sv name) {
  std::string out;
  name.remove_prefix(variable_prefix.size());
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 2) == "__") {
      out += '.';
      ++i;
    } else {
      out += name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
    }
  }
  return out;
}

class loader {
public:
  loader(sv text, sv name) : text_(text), name_(name) {}

  problem file() {
    const auto settings = read_config_file(text_, name_);
    if (!settings) return settings.error();
    for (const auto& x : *settings) {
      const said by{layer::file, "", x.key, x.at};
      if (x.path == "routes" || x.path.starts_with("routes.")) {
        if (auto wrong = route_setting(x)) return wrong;
        continue;
      }
      if (x.path == "routing.fallback") fallback_places_ = x.items;
      if (auto wrong = x.is_table ? table(x, by) : setting(x.path, by, &x.value, "")) return wrong;
    }
    return std::nullopt;
  }

  problem environment(std::vector<std::string> variables) {
    std::sort(variables.begin(), variables.end());
    for (const auto& x : variables) {
      const auto equals = x.find('=');
      if (!x.starts_with(variable_prefix) || equals == std::string::npos) continue;
      const auto name = x.substr(0, equals);
      const said by{layer::environment, name, {}, {}};
      const auto path = variable_option(name);
      if (path.find('.') != std::string::npos) {
        if (auto wrong = setting(path, by, nullptr, sv(x).substr(equals + 1))) return wrong;
      } else if (auto wrong = single_underscore(path, by)) {
        return wrong;
      }
    }
    return std::nullopt;
  }

  problem flags(const std::vector<override_value>& values) {
    for (const auto& x : values) {
      const said by{layer::flags, x.from.empty() ? x.option : x.from, {}, {}};
      if (auto wrong = setting(x.option, by, nullptr, x.value)) return wrong;
    }
    return std::nullopt;
  }

  problem whole() {
    if (auto wrong = secrets()) return wrong;
    if (out_.delivery.retry_max < out_.delivery.retry_base)
      return wrong_value("delivery.retry_max", "delivery.retry_max is less than delivery.retry_base");
    if (out_.delivery.device_ttl < 2 * out_.delivery.passivate_after)
      return wrong_value("delivery.device_ttl", "delivery.device_ttl is less than twice delivery.passivate_after");
    if (out_.http.listen == out_.internal.listen && !out_.http.listen.ends_with(":0")) {
      return wrong_value("internal.listen", "internal.listen is the same as http.listen");
    }
    if (auto wrong = certificates()) return wrong;
    if (auto wrong = sources()) return wrong;
    if (auto wrong = mirror()) return wrong;
    return routes();
  }

  config take() { return std::move(out_); }

private:
  failure bad(const said& by, const file_place& place, sv what) const {
    if (by.by == layer::file) return {ec::bad_config, show_place(text_, name_, place, what), ""};
    return {ec::bad_config, by.from.empty() ? std::string(what) : by.from + ": " + std::string(what), ""};
  }

  failure wrong_value(const std::string& path, sv what) const {
    const auto found = said_.find(path);
    return found == said_.end() ? bad({}, {}, what) : bad(found->second, found->second.value, what);
  }

  problem table(const file_setting& x, const said& by) {
    const auto path = split_path(x.path);
    if (!is_section(path.section)) return bad(by, by.key, unknown_section(path.section));
    if (path.section == "sources" && !path.row) return bad(by, by.key, "sources are written [[sources]], one block a source");
    if (!path.key.empty()) return bad(by, by.key, "unknown section [" + x.path + "]");
    return path.row ? make_row(*path.row, by) : std::nullopt;
  }

  problem make_row(std::size_t row, const said& by) {
    if (row >= sources_max) return bad(by, by.key, "there can be " + std::to_string(sources_max) + " sources at most");
    if (row >= out_.sources.size()) out_.sources.resize(row + 1);
    said_.emplace("sources." + std::to_string(row), by);
    return std::nullopt;
  }

  // `value` is from the file; without one it is `text`.
  problem setting(const std::string& full_path, const said& by, const option_value* value, sv text) {
    const auto path = split_path(full_path);
    if (path.key.empty() && value != nullptr && !is_section(path.section)) return bad(by, by.key, unknown_outside(path.section));
    if (!is_section(path.section)) return bad(by, by.key, unknown_section(path.section));
    if (path.section == "sources" && !path.row) {
      const auto* list = std::get_if<std::vector<std::string>>(value);
      const bool empty_list = path.key.empty() && list != nullptr && list->empty();
      if (empty_list) return std::nullopt;
      return bad(by, by.key, value ? "sources are written [[sources]], one block a source" : "sources have a number: sources.0." + path.key);
    }
    const auto* which = find_option(path.name());
    if (which == nullptr) {
      return bad(by, by.key, "unknown option " + in_quotes(path.key) + " in [" + path.section + "]" + suggestion(path));
    }
    if (path.row) {
      if (auto wrong = make_row(*path.row, by)) return wrong;
    }
    const auto row = path.row.value_or(0);
    const auto wrong = value != nullptr ? set_option(*which, out_, row, *value) : set_option_text(*which, out_, row, text);
    if (wrong) return bad(by, by.value, *wrong);
    said_[full_path] = by;
    return std::nullopt;
  }

  static std::string unknown_outside(sv key) {
    std::string out = "unknown option " + in_quotes(key) + " outside of a section";
    for (const auto& x : all_options()) {
      if (x.key() == key) return out + "; did you mean it in [" + std::string(x.section()) + "]?";
    }
    return out;
  }

  // DOORSTEP_HTTP_LISTEN: nearly an option. Other variables of ours (DOORSTEP_TEST_KAFKA) are none of the configuration's business.
  problem single_underscore(const std::string& typed, const said& by) const {
    for (const auto& x : all_options()) {
      std::string name(x.name);
      std::replace(name.begin(), name.end(), '.', '_');
      if (name != typed) continue;
      auto meant = by.from;
      meant.insert(variable_prefix.size() + x.section().size(), "_");
      return bad(by, {}, "unknown option; did you mean " + meant + "?");
    }
    return std::nullopt;
  }

  layer said_by(const std::string& path) const {
    const auto found = said_.find(path);
    return found == said_.end() ? layer::defaults : found->second.by;
  }

  problem secret_text(const std::string& path, const std::string& file, std::string& out) const {
    std::ifstream in(file, std::ios::binary);
    out.resize(secret_file_bytes_max + 1);
    in.read(out.data(), static_cast<std::streamsize>(out.size()));  // a folder opens, but cannot be read
    if (!in.is_open() || in.bad()) return wrong_value(path, path + ": cannot read " + in_quotes(file));
    out.resize(static_cast<std::size_t>(in.gcount()));
    if (out.size() > secret_file_bytes_max)
      return wrong_value(path, path + ": " + in_quotes(file) + " is larger than " + format_size(secret_file_bytes_max));
    return std::nullopt;
  }

  problem secrets() {
    if (auto wrong = hs256_secret()) return wrong;
    if (auto wrong = store_uri()) return wrong;
    if (auto wrong = key_files()) return wrong;
    return api_keys();
  }

  problem key_files() {
    const std::string path = "auth.key_files";
    for (const auto& file : out_.auth.key_files) {
      std::string text;
      if (auto wrong = secret_text(path, file, text)) return wrong;
      if (text.empty()) return wrong_value(path, path + ": " + in_quotes(file) + " is empty");
      out_.auth.keys.push_back(std::move(text));
    }
    return std::nullopt;
  }

  problem api_keys() {
    if (out_.internal.api_keys_file.empty()) return std::nullopt;
    const std::string path = "internal.api_keys_file";
    std::string text;
    if (auto wrong = secret_text(path, out_.internal.api_keys_file, text)) return wrong;
    config checked;
    const auto* which = find_option("internal.api_keys");
    for (sv rest = text; !rest.empty();) {
      const auto end = std::min(rest.find('\n'), rest.size());
      auto key = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      while (!key.empty() && (key.back() == '\r' || key.back() == ' ')) key.remove_suffix(1);
      if (key.empty() || key.front() == '#') continue;
      if (const auto wrong = set_option(*which, checked, 0, std::vector<std::string>{std::string(key)})) {
        return wrong_value(path, path + ": a key in " + in_quotes(out_.internal.api_keys_file) + " cannot be used: " + *wrong);
      }
      out_.internal.api_keys.emplace_back(key);
    }
    return std::nullopt;
  }

  // Of a secret and a file with one, the higher layer counts.
  problem hs256_secret() {
    auto& auth = out_.auth;
    const std::string path = "auth.hs256_secret_file";
    if (auth.hs256_secret_file.empty()) return std::nullopt;
    if (!auth.hs256_secret.empty()) {
      const auto text_by = said_by("auth.hs256_secret");
      if (text_by == said_by(path)) return wrong_value(path, "both auth.hs256_secret and auth.hs256_secret_file are given");
      if (text_by > said_by(path)) return std::nullopt;
    }
    std::string text;
    if (auto wrong = secret_text(path, auth.hs256_secret_file, text)) return wrong;
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    if (const auto wrong = text.empty() ? std::optional<std::string>("is empty") : set_option(*find_option("auth.hs256_secret"), out_, 0, text)) {
      return wrong_value(path, path + ": what is in " + in_quotes(auth.hs256_secret_file) + " cannot be used: " + *wrong);
    }
    return std::nullopt;
  }

  // Of the URI and a file with it, the higher layer counts.
  problem store_uri() {
    auto& store = out_.store;
    const std::string path = "store.uri_file";
    if (store.uri_file.empty()) return std::nullopt;
    if (!store.uri.empty()) {
      const auto text_by = said_by("store.uri");
      if (text_by == said_by(path)) return wrong_value(path, "both store.uri and store.uri_file are given");
      if (text_by > said_by(path)) return std::nullopt;
    }
    if (auto wrong = secret_text(path, store.uri_file, store.uri)) return wrong;
    while (!store.uri.empty() && (store.uri.back() == '\n' || store.uri.back() == '\r')) store.uri.pop_back();
    if (store.uri.empty()) return wrong_value(path, path + ": " + in_quotes(store.uri_file) + " is empty");
    return std::nullopt;
  }

  /// `[[routes]]` stand in the file only, and are not options: what is below them is theirs.
  problem route_setting(const file_setting& x) {
    constexpr sv head = "routes.";
    const auto rest = sv(x.path).substr(std::min(head.size(), x.path.size()));
    const auto number = rest.substr(0, rest.find('.'));
    const auto* list = std::get_if<std::vector<std::string>>(&x.value);
    if (rest.empty() && list != nullptr && list->empty()) return std::nullopt;
    const auto row = number_in<std::size_t>(number);
    if (!row) return bad(in_file(x), x.key, "routes are written [[routes]], one block a rule");
    if (*row >= routes_max) return bad(in_file(x), x.key, "there can be " + std::to_string(routes_max) + " routes at most");
    if (*row >= routes_.size()) routes_.resize(*row + 1);
    const auto fault = take_route_setting(routes_[*row], rest.substr(std::min(number.size() + 1, rest.size())), x);
    return fault ? problem(bad(in_file(x), fault->at, fault->what)) : std::nullopt;
  }
  static said in_file(const file_setting& x) { return {layer::file, "", x.key, x.at}; }

  problem routes() {
    if (routes_.empty()) return std::nullopt;
    const auto by = said_.find("routing.fallback");
    placed_texts fallback;
    for (std::size_t i = 0; i < out_.routing.fallback.size(); ++i) {
      const bool in_list = by != said_.end() && by->second.by == layer::file && i < fallback_places_.size();
      fallback.push_back({out_.routing.fallback[i], in_list ? fallback_places_[i] : file_place{}});
    }
    auto made = compile_routes(routes_, out_.routing, fallback);
    if (made) {
      out_.routes = std::move(*made);
      return std::nullopt;
    }
    const auto& [where, inside] = made.error();
    if (where.at.line == 0) return wrong_value("routing.fallback", where.what);
    return bad({layer::file, "", where.at, where.at}, place_inside(text_, where.at, inside), where.what);
  }

  problem certificates() const {
    const auto in_pairs = [this](const std::string& section, const std::string& certificate, const std::string& key) -> problem {
      if (certificate.empty() == key.empty()) return std::nullopt;
      const auto path = section + (key.empty() ? ".tls_certificate" : ".tls_key");
      return wrong_value(path, section + ".tls_certificate and " + section + ".tls_key are given together or not at all");
    };
    if (auto wrong = in_pairs("http", out_.http.tls_certificate, out_.http.tls_key)) return wrong;
    if (auto wrong = in_pairs("internal", out_.internal.tls_certificate, out_.internal.tls_key)) return wrong;
    if (!out_.internal.tls_client_ca.empty() && out_.internal.tls_certificate.empty())
      return wrong_value("internal.tls_client_ca", "internal.tls_client_ca needs internal.tls_certificate");
    if (!out_.internal.tls_clients.empty() && out_.internal.tls_client_ca.empty())
      return wrong_value("internal.tls_clients", "internal.tls_clients needs internal.tls_client_ca");
    return std::nullopt;
  }

  problem sources() {
    std::set<std::string> names;
    for (std::size_t row = 0; row < out_.sources.size(); ++row) {
      auto& x = out_.sources[row];
      const auto path = "sources." + std::to_string(row);
      const auto begun = said_.find(path);
      const auto by = begun == said_.end() ? said{} : begun->second;
      if (x.brokers.empty()) return bad(by, by.key, path + " has no brokers");
      if (x.topics.empty()) return bad(by, by.key, path + " has no topics");
      if (x.name.empty()) x.name = x.topics.front();
      if (!names.insert(x.name).second) return bad(by, by.key, "two sources are called " + in_quotes(x.name) + "; give each a name of its own");
    }
    return std::nullopt;
  }

  /// Where no brokers are named it goes where the log is, or where the first source reads.
  problem mirror() {
    auto& x = out_.dead_letters;
    if (x.mirror_topic.empty()) return std::nullopt;
    const bool log_in_kafka = out_.log.engine == "kafka";
    if (x.mirror_brokers.empty()) {
      const auto borrow = [&](const std::string& brokers, const std::vector<std::string>& kafka_options) {
        x.mirror_brokers = brokers;
        if (x.mirror_kafka_options.empty()) x.mirror_kafka_options = kafka_options;
      };
      if (log_in_kafka)
        borrow(out_.log.brokers, out_.log.kafka_options);
      else if (!out_.sources.empty())
        borrow(out_.sources.front().brokers, out_.sources.front().kafka_options);
    }
    if (x.mirror_brokers.empty())
      return wrong_value(
          "dead_letters.mirror_topic",
          "dead_letters.mirror_topic needs dead_letters.mirror_brokers: there is neither a log in Kafka nor a source to take them from");
    if (log_in_kafka && x.mirror_topic == out_.log.topic)
      return wrong_value("dead_letters.mirror_topic", "dead_letters.mirror_topic is log.topic, which nobody else may write to");
    for (const auto& source : out_.sources)
      if (source.brokers == x.mirror_brokers && std::find(source.topics.begin(), source.topics.end(), x.mirror_topic) != source.topics.end())
        return wrong_value("dead_letters.mirror_topic", "dead_letters.mirror_topic is read by the source " + in_quotes(source.name) +
                                                            ", so dead letters would come back for ever");
    return std::nullopt;
  }

  sv text_, name_;
  config out_;
  std::map<std::string, said> said_;
  std::vector<route_config> routes_;
  std::vector<file_place> fallback_places_;
};

}  // namespace

result<config> load_config(sv file_text, sv file_name, const std::vector<std::string>& environment, const std::vector<override_value>& flags) {
  loader x(file_text, file_name);
  if (auto wrong = x.file()) return *wrong;
  if (auto wrong = x.environment(environment)) return *wrong;
  if (auto wrong = x.flags(flags)) return *wrong;
  if (auto wrong = x.whole()) return *wrong;
  return x.take();
}

}  // namespace doorstep
