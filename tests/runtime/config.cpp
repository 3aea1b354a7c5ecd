// SPDX-License-Identifier: Apache-2.0
// The configuration: every option by every way in, and every error with its place.
#include "runtime/config.hpp"
#include "runtime/options.hpp"

#include <gmock/gmock.h>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

config loaded(std::string_view text, const std::vector<std::string>& environment = {}, const std::vector<override_value>& flags = {}) {
  auto x = load_config(text, "doorstep.toml", environment, flags);
  if (x) return *x;
  ADD_FAILURE() << x.error().detail;
  return {};
}

std::string wrong(std::string_view text, const std::vector<std::string>& environment = {}, const std::vector<override_value>& flags = {}) {
  const auto x = load_config(text, "doorstep.toml", environment, flags);
  if (x) return "it was taken";
  EXPECT_EQ(x.error().code, ec::bad_config);
  return x.error().detail;
}

std::string all_values(config x) {
  std::string out;
  for (const auto& which : all_options()) {
    for (std::size_t row = 0; row < (which.of_source() ? x.sources.size() : 1); ++row) {
      out.append(which.name).append(" = ").append(option_text(which, x, row)).append("\n");
    }
  }
  return out;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) text.replace(at, what.size(), by);
  return text;
}

std::filesystem::path in_tree(std::string_view path) { return std::filesystem::path(DOORSTEP_TREE) / path; }

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A text that its option takes and that is not the default.
std::string other_text(const option& x, config& defaults) {
  const auto current = option_text(x, defaults, 0);
  switch (x.kind) {
    case option_kind::boolean: return current == "true" ? "false" : "true";
    case option_kind::count: return std::to_string(x.most);
    case option_kind::size: return format_size(static_cast<std::uint64_t>(x.most));
    case option_kind::duration: return format_duration(milliseconds(x.most));
    case option_kind::choice: return std::string(x.choices.back());
    default: break;
  }
  if (x.name.ends_with("listen")) return "localhost:1234";
  if (x.name.ends_with("pointer")) return "/a/b~0c";
  if (x.name == "http.origins") return "https://a.example";
  if (x.name.starts_with("channels.start")) return x.kind == option_kind::texts ? "role:*=earliest" : "last 7";
  if (x.name.ends_with("kafka_options")) return "security.protocol=ssl";
  if (x.name.ends_with("_url")) return "https://a.example/x";
  if (x.name == "auth.algorithms") return "RS256";
  if (x.name == "auth.deny") return "role:x";
  return "something-long-enough-for-a-secret-or-key";
}

class config_files : public testing::Test {
protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / ("doorstep-config-" + std::string(test->name()) + "-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, std::string_view text) const {
    const auto path = folder_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::filesystem::path folder_;
};

// The pages made from the table.

TEST(config_pages, the_committed_files_are_what_the_table_says) {
  if (std::getenv("DOORSTEP_WRITE_PAGES") != nullptr) {
    std::ofstream(in_tree("conf/doorstep.toml"), std::ios::binary) << default_config_text();
    std::ofstream(in_tree("docs/configuration.md"), std::ios::binary) << configuration_page();
  }
  EXPECT_EQ(file_text(in_tree("conf/doorstep.toml")), default_config_text()) << "run again with DOORSTEP_WRITE_PAGES=1";
  EXPECT_EQ(file_text(in_tree("docs/configuration.md")), configuration_page()) << "run again with DOORSTEP_WRITE_PAGES=1";
}

TEST(config_pages, the_default_file_loads_and_changes_nothing) {
  EXPECT_EQ(all_values(loaded(default_config_text())), all_values(config{}));
  EXPECT_TRUE(loaded(default_config_text()).sources.empty());
}

TEST(config_pages, the_commented_source_is_a_source_when_the_marks_are_taken_away) {
  auto text = default_config_text();
  const auto at = text.find("#[[sources]]");
  ASSERT_NE(at, std::string::npos);
  text = text.substr(0, at) + replaced(replaced(text.substr(at), "\n# ", "\n#### "), "#[[sources]]", "[[sources]]");
  for (const auto& x : all_options()) {
    if (x.of_source()) text = replaced(text, "\n#" + std::string(x.key()) + " = ", "\n" + std::string(x.key()) + " = ");
  }
  auto expected = source_config{};
  expected.name = "events";
  expected.brokers = "localhost:9092";
  expected.topics = {"events"};
  config with_it;
  with_it.sources.push_back(expected);
  EXPECT_EQ(all_values(loaded(text)), all_values(with_it));
}

TEST(config_pages, every_option_is_in_both_with_a_sentence) {
  const auto text = default_config_text();
  const auto page = configuration_page();
  for (const auto& x : all_options()) {
    EXPECT_TRUE(x.sentence.ends_with('.')) << x.name;
    EXPECT_THAT(text, HasSubstr(std::string(x.of_source() ? "\n#" : "\n") + std::string(x.key()) + " = ")) << x.name;
    EXPECT_THAT(page, HasSubstr("| `" + std::string(x.key()) + "` | ")) << x.name;
  }
}

TEST(config_pages, the_development_file_has_the_demo_on_and_no_secrets) {
  const auto x = loaded(file_text(in_tree("conf/dev.toml")));
  EXPECT_TRUE(x.demo.enabled);
  EXPECT_TRUE(x.auth.hs256_secret.empty());
  EXPECT_TRUE(x.internal.api_keys.empty());
  EXPECT_FALSE(config{}.demo.enabled);
}

// The ways in.
TEST(config_values, every_option_can_be_set_by_flag_and_by_environment) {
  config defaults;
  defaults.sources.emplace_back();
  for (const auto& x : all_options()) {
    const auto text = other_text(x, defaults);
    std::string path(x.name), variable = "DOORSTEP_";
    if (x.of_source()) path.insert(path.find('.'), ".0");
    for (const char c : replaced(path, ".", "__")) variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::vector<override_value> by_flag{{path, text, "--set"}};
    std::vector<std::string> by_variable{"UNRELATED=1", variable + "=" + text};
    if (x.key() == "hs256_secret_file" || x.key() == "api_keys_file" || x.key() == "uri_file" || x.key() == "key_files")
      continue;  // those are read: see config_files
    if (x.of_source()) {
      const bool topics = x.key() == "topics", brokers = x.key() == "brokers";
      if (!brokers) by_flag.push_back({"sources.0.brokers", "b:1", "--kafka"}), by_variable.emplace_back("DOORSTEP_SOURCES__0__BROKERS=b:1");
      if (!topics) by_flag.push_back({"sources.0.topics", "t", "--topic"}), by_variable.emplace_back("DOORSTEP_SOURCES__0__TOPICS=t");
    }
    if (x.name == "delivery.retry_base")
      by_flag.push_back({"delivery.retry_max", "1d", ""}), by_variable.emplace_back("DOORSTEP_DELIVERY__RETRY_MAX=1d");
    if (x.name == "dead_letters.mirror_topic")
      by_flag.push_back({"dead_letters.mirror_brokers", "b:1", ""}), by_variable.emplace_back("DOORSTEP_DEAD_LETTERS__MIRROR_BROKERS=b:1");
    if (x.key().starts_with("tls_")) continue;  // none of them stands alone: see identity_options
    auto from_flag = loaded("", {}, by_flag);
    auto from_variable = loaded("", by_variable);
    const bool has_another = x.kind != option_kind::choice || x.choices.size() > 1;
    EXPECT_EQ(option_text(x, from_flag, 0) != option_text(x, defaults, 0), has_another) << x.name;
    EXPECT_EQ(option_text(x, from_flag, 0), option_text(x, from_variable, 0)) << x.name;
    EXPECT_THAT(option_text(x, from_flag, 0), HasSubstr(text)) << x.name;
  }
}

TEST(config_values, flags_go_over_environment_over_file_over_defaults) {
  const std::string file = "[http]\nlisten = \"a:1\"\nconnections_max = 1\nheader_bytes_max = \"2KiB\"\n";
  const auto x = loaded(file, {"DOORSTEP_HTTP__LISTEN=b:2", "DOORSTEP_HTTP__CONNECTIONS_MAX=2"}, {{"http.listen", "c:3", "--listen"}});
  EXPECT_EQ(x.http.listen, "c:3");
  EXPECT_EQ(x.http.connections_max, 2U);
  EXPECT_EQ(x.http.header_bytes_max, 2048U);
  EXPECT_EQ(x.http.request_timeout, 10s);
}

TEST(config_values, every_toml_type_is_read) {
  const auto x = loaded(
      "ws.compression = true\n[http]\norigins = ['https://a', \"*\"]\n[delivery]\nwindow = 0x40\nack_timeout = \"1m30s\"\n"
      "[store]\ncache_bytes = 2097152\n[logging]\nformat = \"json\"\r\n");
  EXPECT_TRUE(x.ws.compression);
  EXPECT_THAT(x.http.origins, ElementsAre("https://a", "*"));
  EXPECT_EQ(x.delivery.window, 64U);
  EXPECT_EQ(x.delivery.ack_timeout, 90s);
  EXPECT_EQ(x.store.cache_bytes, 2U * 1024 * 1024);
  EXPECT_EQ(x.logging.format, "json");
}

TEST(config_values, nothing_at_all_is_the_defaults) {
  for (const auto* text : {"", "\n", " \r\n\t", "# only this"}) EXPECT_EQ(all_values(loaded(text)), all_values(config{}));
}

TEST(config_values, lists_in_the_environment_are_separated_by_commas) {
  EXPECT_THAT(loaded("", {"DOORSTEP_HTTP__ORIGINS= https://a , https://b,"}).http.origins, ElementsAre("https://a", "https://b"));
  EXPECT_TRUE(loaded("", {"DOORSTEP_HTTP__ORIGINS="}).http.origins.empty());
}

TEST(config_values, a_flag_or_a_variable_makes_the_source_that_the_file_does_not_have) {
  const auto flags = loaded("", {}, {{"sources.0.brokers", "k:9092", "--kafka"}, {"sources.0.topics", "a,b", "--topic"}});
  ASSERT_EQ(flags.sources.size(), 1U);
  EXPECT_EQ(flags.sources[0].brokers, "k:9092");
  EXPECT_THAT(flags.sources[0].topics, ElementsAre("a", "b"));
  EXPECT_EQ(flags.sources[0].name, "a");
  const auto variables = loaded("[[sources]]\nbrokers = \"f:1\"\ntopics = [\"t\"]\n",
                                {"DOORSTEP_SOURCES__1__TOPICS=u", "DOORSTEP_SOURCES__1__BROKERS=g:2", "DOORSTEP_SOURCES__0__GROUP=h"});
  ASSERT_EQ(variables.sources.size(), 2U);
  EXPECT_EQ(variables.sources[0].group, "h");
  EXPECT_EQ(variables.sources[1].brokers, "g:2");
}

TEST(config_values, variables_without_a_section_are_none_of_ours_unless_they_nearly_are) {
  EXPECT_EQ(all_values(loaded("", {"DOORSTEP_TEST_KAFKA=localhost:9092", "DOORSTEP_REQUIRE_PEERS=1", "DOORSTEPS__X=1", "DOORSTEP_"})),
            all_values(config{}));
  EXPECT_EQ(wrong("", {"DOORSTEP_HTTP_LISTEN=a:1"}), "DOORSTEP_HTTP_LISTEN: unknown option; did you mean DOORSTEP_HTTP__LISTEN?");
}

// Errors.

TEST(config_errors, an_unknown_option_is_shown_with_its_place_and_the_nearest_name) {
  EXPECT_EQ(wrong("# a\n[http]\n  listn = \"x\"\n"),
            "doorstep.toml:3:3: unknown option \"listn\" in [http]; did you mean \"listen\"?\n"
            " 3 |   listn = \"x\"\n"
            "   |   ^~~~~");
}

TEST(config_errors, a_wrong_value_is_marked_where_it_stands) {
  EXPECT_EQ(wrong("[http]\n\n\n\n\n\n\n\n\n\n\trequest_timeout = \"10x\" # soon\n"),
            "doorstep.toml:11:20: http.request_timeout: \"10x\" is not a duration; write \"500ms\", \"30s\", \"5m\", \"24h\", \"7d\" or \"1h30m\"\n"
            " 11 | \trequest_timeout = \"10x\" # soon\n"
            "    | \t                  ^~~~~");
}

TEST(config_errors, the_mark_stands_right_behind_letters_of_many_bytes) {
  EXPECT_EQ(wrong("[auth]\n\"käse\" = 1\n"),
            "doorstep.toml:2:2: unknown option \"käse\" in [auth]\n"
            " 2 | \"käse\" = 1\n"
            "   |  ^~~~");
}

struct error_row {
  std::string_view text, expected;
};

TEST(config_errors, what_is_wrong_in_a_file_is_said) {
  const error_row table[] = {
      {"[htp]\nlisten = 1\n", "doorstep.toml:1:2: unknown section [htp]; did you mean [http]?"},
      {"[nothing-like-it]\n", "doorstep.toml:1:2: unknown section [nothing-like-it]"},
      {"[http.tls]\n", "unknown section [http.tls]"},
      {"listen = \"a:1\"\n", "doorstep.toml:1:1: unknown option \"listen\" outside of a section; did you mean it in [http]?"},
      {"[log]\nlevel = \"info\"\n", "doorstep.toml:2:1: unknown option \"level\" in [log]; did you mean \"level\" in [logging]?"},
      {"[http]\nlisten = 8000\n", "doorstep.toml:2:10: http.listen is a text in quotes, not a whole number"},
      {"[http]\nlisten = \"8000\"\n", "doorstep.toml:2:10: http.listen: \"8000\" is not host:port"},
      {"[http]\norigins = \"*\"\n", "http.origins is a list of texts such as [\"a\", \"b\"], not a text"},
      {"[http]\norigins = [1]\n", "http.origins is a list of texts such as [\"a\", \"b\"], not a list with something else than texts in it"},
      {"[http]\norigins = [\"a.example\"]\n", "http.origins: \"a.example\" is not an origin"},
      {"[http]\nrequest_timeout = 10\n", "http.request_timeout is a duration such as \"30s\", not a whole number"},
      {"[http]\nrequest_timeout = \"1d\"\n", "http.request_timeout must be 10ms to 5m, not 1d"},
      {"[http]\nconnections_max = 0\n", "doorstep.toml:2:19: http.connections_max must be 1 to 1000000, not 0"},
      {"[http]\nconnections_max = -1\n", "http.connections_max must be 1 to 1000000, not -1"},
      {"[http]\nconnections_max = 1.5\n", "http.connections_max is a whole number, not a float"},
      {"[http]\nconnections_max = \"1\"\n", "http.connections_max is a whole number, not a text"},
      {"[http]\nheader_bytes_max = \"64kb\"\n", "http.header_bytes_max: \"64kb\" is not a size"},
      {"[http]\nheader_bytes_max = -5\n", "http.header_bytes_max must be 1KiB to 1MiB"},
      {"[ws]\ncompression = \"yes\"\n", "ws.compression is true or false, not a text"},
      {"[ws]\ncompression = 2026-01-01\n", "ws.compression is true or false, not a date or time"},
      {"[ws]\ncompression = {a = 1}\n", "unknown section [ws.compression]"},
      {"[log]\nengine = \"kafak\"\n", "log.engine must be \"embedded\" or \"kafka\", not \"kafak\""},
      {"[log]\ntopic = \"a b\"\n", "log.topic: \"a b\" is not a Kafka name"},
      {"[log]\nkafka_options = [\"acks=1\"]\n", "log.kafka_options names acks, which Doorstep sets itself"},
      {"[delivery]\noverflow = \"drop\"\n", "delivery.overflow must be \"dead_letter_oldest\" or \"reject_newest\", not \"drop\""},
      {"[store]\nengine = \"sqlit\"\n", "store.engine must be \"sqlite\" or \"mongodb\", not \"sqlit\""},
      {"[store]\ndatabase = \"a.b\"\n", "is not the name of a MongoDB database"},
      {"[store]\npath = \"\"\n", "store.path must not be empty"},
      {"[logging]\nformat = \"xml\"\n", "logging.format must be \"text\" or \"json\", not \"xml\""},
      {"[delivery]\nretry_base = \"10s\"\nretry_max = \"5s\"\n", "doorstep.toml:3:13: delivery.retry_max is less than delivery.retry_base"},
      {"[dead_letters]\nmirror_topic = \"dead\"\n",
       "doorstep.toml:2:16: dead_letters.mirror_topic needs dead_letters.mirror_brokers: there is neither a log in Kafka nor a source"},
      {"[dead_letters]\nmirror_topic = \"t\"\n[[sources]]\nbrokers = \"b\"\ntopics = [\"t\"]\n", "is read by the source \"t\""},
      {"[log]\nengine = \"kafka\"\nbrokers = \"b\"\ntopic = \"t\"\n[dead_letters]\nmirror_topic = \"t\"\n",
       "is log.topic, which nobody else may write to"},
      {"[internal]\nlisten = \"127.0.0.1:8000\"\n", "doorstep.toml:2:10: internal.listen is the same as http.listen"},
      {"[sources]\nbrokers = \"b\"\n", "sources are written [[sources]], one block a source"},
      {"sources = 1\n", "sources are written [[sources]], one block a source"},
      {"[[http]]\nlisten = \"a:1\"\n", "unknown section [http.0]"},
      {"\n[[sources]]\ntopics = [\"t\"]\n", "doorstep.toml:2:3: sources.0 has no brokers"},
      {"[[sources]]\nbrokers = \"b\"\n", "doorstep.toml:1:3: sources.0 has no topics"},
      {"[[sources]]\nbrokers = \"b\"\ntopics = []\n", "doorstep.toml:1:3: sources.0 has no topics"},
      {"[[sources]]\nbrokers = \"b\"\ntopics = [\"t\"]\n[[sources]]\nbrokers = \"b\"\ntopics = [\"t\"]\n",
       "doorstep.toml:4:3: two sources are called \"t\"; give each a name of its own"},
      {"[[sources]]\nbrokers = \"b\"\ntopics = [\"^t.*\"]\n", "sources.topics: \"^t.*\" is not a Kafka name"},
      {"[[sources]]\nformat = \"xml\"\n", "sources.format must be \"cloudevents\" or \"json\", not \"xml\""},
      {"[[sources]]\nrecipient_pointer = \"user\"\n", "sources.recipient_pointer: \"user\" is not a JSON Pointer (RFC 6901)"},
      {"[[sources]]\nid_pointer = \"/a~2\"\n", "sources.id_pointer: \"/a~2\" is not a JSON Pointer (RFC 6901)"},
      {"[[sources]]\nbroker = \"b\"\n", "doorstep.toml:2:1: unknown option \"broker\" in [sources]; did you mean \"brokers\"?"},
      {"[[sources]]\nkafka_options = [\"ssl\"]\n", "sources.kafka_options is not name=value"},
      {"[[sources]]\nkafka_options = [\"enable.auto.commit=true\"]\n", "sources.kafka_options names enable.auto.commit, which Doorstep sets itself"},
  };
  for (const auto& x : table) EXPECT_THAT(wrong(x.text), HasSubstr(x.expected)) << x.text;
}

TEST(config_errors, what_is_not_toml_is_said_with_its_line) {
  const error_row table[] = {
      {"[http]\nlisten = \"abc\nx = 1\n", "doorstep.toml:2:"},
      {"[http]\nlisten = 127.0.0.1:8000\n", "doorstep.toml:2:15: not TOML: "},
      {"[http]\nrequest_timeout = 30s\n", "texts, durations and sizes stand in quotes"},
      {"[http\n", "doorstep.toml:1:"},
      {"listen\n", "doorstep.toml:1:"},
      {"[http]\nlisten = \"a:1\"\nlisten = \"a:2\"\n", "doorstep.toml:3:"},
      {"[http]\n[http]\n", "doorstep.toml:2:1: not TOML: "},
      {"\xff\xfe = 1\n", "doorstep.toml:1:"},
      {"[http]\nconnections_max = 99999999999999999999\n", "doorstep.toml:2:"},
  };
  for (const auto& x : table) {
    const auto detail = wrong(x.text);
    EXPECT_THAT(detail, HasSubstr(x.expected)) << x.text;
    EXPECT_THAT(detail, Not(HasSubstr("toml::"))) << x.text;
    EXPECT_EQ(std::count(detail.begin(), detail.end(), '\n'), 2) << detail;
  }
}

TEST(config_errors, the_first_error_of_the_file_is_the_one_shown) {
  EXPECT_THAT(wrong("[zzz]\na = 1\n[http]\nlisten = 1\n[aaa]\n"), HasSubstr("doorstep.toml:1:2: unknown section [zzz]"));
}

TEST(config_errors, flags_and_variables_are_named_instead_of_a_place) {
  EXPECT_EQ(wrong("", {}, {{"http.listn", "a:1", "--set"}}), "--set: unknown option \"listn\" in [http]; did you mean \"listen\"?");
  EXPECT_EQ(wrong("", {}, {{"sources.0.topics", "t", "--topic"}}), "--topic: sources.0 has no brokers");
  EXPECT_EQ(wrong("", {"DOORSTEP_HTTP__CONNECTIONS_MAX=many"}),
            "DOORSTEP_HTTP__CONNECTIONS_MAX: http.connections_max is a whole number, not \"many\"");
  EXPECT_EQ(wrong("", {"DOORSTEP_HTP__LISTEN=a:1"}), "DOORSTEP_HTP__LISTEN: unknown section [htp]; did you mean [http]?");
  EXPECT_EQ(wrong("", {"DOORSTEP_DEMO__ENABLED=yes"}), "DOORSTEP_DEMO__ENABLED: demo.enabled is true or false, not \"yes\"");
  EXPECT_EQ(wrong("", {"DOORSTEP_SOURCES__BROKERS=b"}), "DOORSTEP_SOURCES__BROKERS: sources have a number: sources.0.brokers");
  EXPECT_EQ(wrong("", {"DOORSTEP_SOURCES__100__BROKERS=b"}), "DOORSTEP_SOURCES__100__BROKERS: there can be 100 sources at most");
  EXPECT_EQ(wrong("", {"DOORSTEP_SOURCES__99999999999999999999__BROKERS=b"}).find("DOORSTEP_SOURCES__"), 0U);
}

// Secrets.

TEST(config_secrets, short_ones_are_refused_and_none_is_ever_shown) {
  for (const auto* text : {"[auth]\nhs256_secret = \"hunter2\"\n", "[internal]\napi_keys = [\"hunter2\"]\n", "[auth]\n  hs256_secret = hunter2\n",
                           "auth.hs256_secret = \"hunter2\"\n", "[auth]\nhs256_secret = \"hunter2\n", "[[sources]]\nkafka_options = [\"hunter2\"]\n",
                           "auth = {hs256_secret = \"hunter2\"}\n", "auth = { user_claim = 1, \"hs256_secret\" = \"hunter2\" }\n",
                           "[[sources]]\nkafka_options = [\n  # ours\n  \"a=b\",\n  \"sasl.password=hunter2\" \"c=d\"\n]\n",
                           "[internal]\napi_keys = [\n  \"hunter2\n]\n", "[auth]\nhs256_secret = \"\"\"\nhunter2 \\q\n"}) {
    EXPECT_THAT(wrong(text), Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(wrong("", {"DOORSTEP_AUTH__HS256_SECRET=hunter2"}), Not(HasSubstr("hunter2")));
  EXPECT_THAT(wrong("[auth]\nhs256_secret = \"hunter2\"\n"), HasSubstr("auth.hs256_secret is shorter than 32 bytes"));
  EXPECT_THAT(wrong("[internal]\napi_keys = [\"0123456789abcde\"]\n"), HasSubstr("internal.api_keys is shorter than 16 bytes"));
  EXPECT_EQ(loaded("[internal]\napi_keys = [\"0123456789abcdef\"]\n").internal.api_keys.size(), 1U);
  EXPECT_EQ(loaded("[auth]\nhs256_secret = \"0123456789abcdef0123456789abcdef\"\n").auth.hs256_secret.size(), 32U);
}

TEST_F(config_files, a_secret_is_read_without_its_line_end) {
  const std::string secret = "0123456789abcdef0123456789abcde ";
  EXPECT_EQ(loaded("[auth]\nhs256_secret_file = '" + file("a", secret + "\n") + "'\n").auth.hs256_secret, secret);
  EXPECT_EQ(loaded("[auth]\nhs256_secret_file = '" + file("b", secret + "\r\n") + "'\n").auth.hs256_secret, secret);
  EXPECT_EQ(loaded("[auth]\nhs256_secret_file = '" + file("c", secret) + "'\n").auth.hs256_secret, secret);
}

TEST_F(config_files, a_secret_file_that_is_missing_short_or_empty_is_an_error) {
  EXPECT_THAT(wrong("[auth]\nhs256_secret_file = '/nowhere/at/all'\n"),
              HasSubstr("doorstep.toml:2:21: auth.hs256_secret_file: cannot read \"/nowhere/at/all\""));
  EXPECT_THAT(wrong("[auth]\nhs256_secret_file = '" + folder_.string() + "'\n"), HasSubstr("cannot"));
  EXPECT_THAT(wrong("[auth]\nhs256_secret_file = '" + file("s", "short\n") + "'\n"), HasSubstr("is shorter than 32 bytes"));
  EXPECT_THAT(wrong("[auth]\nhs256_secret_file = '" + file("e", "\n") + "'\n"), HasSubstr("is empty"));
}

TEST_F(config_files, of_a_secret_and_a_secret_file_the_higher_layer_counts) {
  const std::string in_file(32, 'f'), in_text(32, 't');
  const auto path = file("secret", in_file);
  const auto text_line = "[auth]\nhs256_secret = \"" + in_text + "\"\n";
  EXPECT_EQ(loaded(text_line, {"DOORSTEP_AUTH__HS256_SECRET_FILE=" + path}).auth.hs256_secret, in_file);
  EXPECT_EQ(loaded("[auth]\nhs256_secret_file = '" + path + "'\n", {"DOORSTEP_AUTH__HS256_SECRET=" + in_text}).auth.hs256_secret, in_text);
  EXPECT_THAT(wrong(text_line + "hs256_secret_file = '" + path + "'\n"), HasSubstr("both auth.hs256_secret and auth.hs256_secret_file are given"));
}

TEST_F(config_files, the_uri_of_the_store_may_come_from_a_file) {
  const std::string uri = "mongodb://doorstep:swordfish@127.0.0.1/?tls=true";
  const auto path = file("uri", uri + "\n");
  EXPECT_EQ(loaded("[store]\nuri_file = '" + path + "'\n").store.uri, uri);
  EXPECT_EQ(loaded("[store]\nuri_file = '" + path + "'\n", {"DOORSTEP_STORE__URI=mongodb://b"}).store.uri, "mongodb://b");
  EXPECT_EQ(loaded("[store]\nuri = \"mongodb://b\"\n", {"DOORSTEP_STORE__URI_FILE=" + path}).store.uri, uri);
  EXPECT_THAT(wrong("[store]\nuri = \"mongodb://b\"\nuri_file = '" + path + "'\n"), HasSubstr("both store.uri and store.uri_file are given"));
  EXPECT_THAT(wrong("[store]\nuri_file = '" + file("e", "\n") + "'\n"), HasSubstr("is empty"));
}

// Durations and sizes.

TEST(durations, are_read_and_written) {
  const std::pair<std::string_view, milliseconds> table[] = {
      {"500ms", 500ms},      {"30s", 30s},     {"5m", 5min}, {"24h", 24h},
      {"7d", 168h},          {"1h30m", 90min}, {"0s", 0ms},  {"1d1h1m1s1ms", 90'061'001ms},
      {"1m500ms", 60'500ms}, {"0ms", 0ms},     {"90s", 90s}, {"9223372036854775807ms", milliseconds::max()},
  };
  for (const auto& [text, value] : table) {
    ASSERT_TRUE(parse_duration(text)) << text;
    EXPECT_EQ(*parse_duration(text), value) << text;
    EXPECT_EQ(*parse_duration(format_duration(value)), value) << text;
  }
  EXPECT_EQ(format_duration(90s), "1m30s");
  EXPECT_EQ(format_duration(24h), "1d");
  EXPECT_EQ(format_duration(0ms), "0s");
  EXPECT_EQ(format_duration(-1500ms), "-1s500ms");
}

TEST(durations, that_are_garbage_negative_or_too_long_are_refused) {
  for (const auto* text : {"",
                           "s",
                           "10",
                           "10x",
                           "-5s",
                           "+5s",
                           "1.5s",
                           " 5s",
                           "5s ",
                           "5 s",
                           "5S",
                           "1m1h",
                           "5s5s",
                           "1e3s",
                           "5s,",
                           "9223372036854775808ms",
                           "99999999999999999999s",
                           "106751991168d",
                           "9223372036854775807ms1ms",
                           "\xd9\xa5s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(sizes, are_read_and_written) {
  constexpr std::uint64_t kib = 1024;
  const std::pair<std::string_view, std::uint64_t> table[] = {
      {"0", 0},
      {"4096", 4096},
      {"64KiB", 64 * kib},
      {"1MiB", kib * kib},
      {"2GiB", 2 * kib * kib * kib},
      {"10kB", 10'000},
      {"1MB", 1'000'000},
      {"3GB", 3'000'000'000},
      {"1025", 1025},
      {"1TiB", kib * kib * kib * kib},
      {"5TB", 5'000'000'000'000},
      {"18446744073709551615", std::numeric_limits<std::uint64_t>::max()},
  };
  for (const auto& [text, value] : table) {
    ASSERT_TRUE(parse_size(text)) << text;
    EXPECT_EQ(*parse_size(text), value) << text;
    EXPECT_EQ(*parse_size(format_size(value)), value) << text;
  }
  EXPECT_EQ(format_size(65536), "64KiB");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(0), "0");
}

TEST(sizes, that_are_garbage_negative_or_too_large_are_refused) {
  for (const auto* text : {"", "KiB", "-1", "64kb", "64KB", "64K", "1.5MiB", "64 KiB", " 1", "1 ", "18446744073709551616", "18446744073709551615KiB",
                           "17179869184GiB", "0x10"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
  EXPECT_EQ(*parse_size("17179869183GiB"), 17179869183ULL << 30);
}

TEST(config, the_mirror_goes_to_the_brokers_of_the_log_else_of_the_first_source_unless_it_names_its_own) {
  const std::string source = "[[sources]]\nbrokers = \"s:1\"\ntopics = [\"t\"]\nkafka_options = [\"security.protocol=ssl\"]\n";
  const std::string mirror = "[dead_letters]\nmirror_topic = \"dead\"\n";
  const auto loaded = [](const std::string& text) { return load_config(text, "doorstep.toml", {}, {}).value().dead_letters; };
  EXPECT_EQ(loaded(mirror + source).mirror_brokers, "s:1");
  EXPECT_EQ(loaded(mirror + source).mirror_kafka_options, std::vector<std::string>{"security.protocol=ssl"});
  EXPECT_EQ(loaded("[log]\nengine = \"kafka\"\nbrokers = \"l:1\"\n" + mirror + source).mirror_brokers, "l:1");
  EXPECT_EQ(loaded(mirror + "mirror_brokers = \"m:1\"\n" + source).mirror_brokers, "m:1");
  EXPECT_TRUE(loaded(mirror + "mirror_brokers = \"m:1\"\n" + source).mirror_kafka_options.empty());
}

}  // namespace
}  // namespace doorstep
