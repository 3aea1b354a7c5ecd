// SPDX-License-Identifier: Apache-2.0
// Durations and sizes as people write them, and the two texts made from the option table: conf/doorstep.toml and docs/configuration.md. Pure, any thread.
#include "runtime/options.hpp"

#include <array>
#include <charconv>
#include <limits>

namespace doorstep {

namespace {

using sv = std::string_view;

struct unit {
  sv name;
  std::uint64_t value;
};

// The larger before the smaller, as in "1h30m".
constexpr std::array<unit, 5> time_units{{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<unit, 9> size_units{{{"", 1},
                                          {"KiB", 1024},
                                          {"MiB", 1024 * 1024},
                                          {"GiB", 1024 * 1024 * 1024},
                                          {"TiB", 1024ULL * 1024 * 1024 * 1024},
                                          {"kB", 1000},
                                          {"MB", 1'000'000},
                                          {"GB", 1'000'000'000},
                                          {"TB", 1'000'000'000'000}}};

failure bad_value(sv text, sv what) { return {ec::malformed, "\"" + std::string(text) + "\" " + std::string(what), ""}; }

// Takes digits from the front. False when there are none or they do not fit.
bool take_number(sv& text, std::uint64_t& out) {
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (wrong != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool multiply_add(std::uint64_t& sum, std::uint64_t count, std::uint64_t by, std::uint64_t most) {
  if (count > (most - sum) / by) return false;
  sum += count * by;
  return true;
}

// A source with nothing said, for the defaults of its options.
config with_one_source() {
  config out;
  out.sources.emplace_back();
  return out;
}

std::string sentence_with_range(const option& x) {
  auto out = std::string(x.sentence);
  const auto range = option_range(x);
  if (range.empty()) return out;
  out.pop_back();
  return out + " (" + range + ").";
}

// Comment lines of at most 120 bytes.
void append_comment(std::string& out, sv text) {
  constexpr std::size_t width = 118;
  while (text.size() > width) {
    const auto end = text.rfind(' ', width);
    out.append("# ").append(text.substr(0, end)).append("\n");
    text.remove_prefix(end + 1);
  }
  out.append("# ").append(text).append("\n");
}

// A "|" would end the cell.
std::string cell(sv text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

constexpr sv toml_head =
    R"(# Doorstep's configuration: every option with its default. Made by `doorstep default-config`; docs/configuration.md has the same as a table.
# Flags go over the environment (DOORSTEP_HTTP__LISTEN is http.listen), the environment over this file, this file over the defaults.
# An option that is not known, or a value that cannot be, stops the start with the line and a mark under the place.
# Durations: "500ms", "30s", "5m", "24h", "7d", "1h30m". Sizes: "64KiB", "1MiB", "10MB", or bytes as a number.
)";

constexpr sv page_head = R"(# Configuration

<!-- Made from the option tables in runtime/options.cpp and runtime/options_identity.cpp. Change them there, then: DOORSTEP_WRITE_PAGES=1 build/dev/tests/runtime/runtime_config_test -->

Doorstep reads one TOML file. What is not in it has its default; `doorstep default-config` prints a file with every option, which is also
[conf/doorstep.toml](../conf/doorstep.toml), and `doorstep check-config` says whether a file can be used.

- **Order:** a flag goes over the environment, the environment over the file, the file over the defaults.
- **Environment:** `DOORSTEP_`, then the option in capitals with `__` for the dot: `DOORSTEP_HTTP__LISTEN=0.0.0.0:8000`. Lists are separated by commas. A source's option has
  the source's number: `DOORSTEP_SOURCES__0__BROKERS`; a source that the file does not have is added. Variables without `__` are not options.
- **Durations** are texts: `"500ms"`, `"30s"`, `"5m"`, `"24h"`, `"7d"`, and sums such as `"1h30m"`. **Sizes** are texts, `"64KiB"`, `"1MiB"`, `"2GiB"` (powers of 1024) or `"10kB"`,
  `"1MB"`, `"2GB"` (powers of 1000), or a number of bytes.
- **Secrets** can stand in a file of their own: `auth.hs256_secret_file`, `internal.api_keys_file`. They are never logged, and not shown in errors.
- **Errors:** an unknown option, a wrong type or a value out of range stops the start with exit code 78 and says where:
```
doorstep.toml:12:1: unknown option "listn" in [http]; did you mean "listen"?
 12 | listn = "0.0.0.0:8000"
    | ^~~~~
```
)";

}  // namespace

result<milliseconds> parse_duration(sv text) {
  constexpr sv wrong = "is not a duration; write \"500ms\", \"30s\", \"5m\", \"24h\", \"7d\" or \"1h30m\"";
  constexpr std::uint64_t most = std::numeric_limits<milliseconds::rep>::max();
  if (text.empty()) return bad_value(text, wrong);
  std::uint64_t sum = 0;
  std::size_t next_unit = 0;
  for (auto rest = text; !rest.empty();) {
    std::uint64_t count = 0;
    if (!take_number(rest, count)) return bad_value(text, wrong);
    const auto name = rest.substr(0, rest.find_first_of("0123456789"));
    while (next_unit < time_units.size() && time_units[next_unit].name != name) ++next_unit;
    if (next_unit == time_units.size()) return bad_value(text, wrong);
    if (!multiply_add(sum, count, time_units[next_unit].value, most)) return bad_value(text, "is too long");
    rest.remove_prefix(name.size());
    ++next_unit;
  }
  return milliseconds(static_cast<milliseconds::rep>(sum));
}

result<std::uint64_t> parse_size(sv text) {
  constexpr sv wrong = "is not a size; write \"64KiB\", \"1MiB\", \"2GiB\", \"10MB\" or bytes";
  auto rest = text;
  std::uint64_t count = 0;
  if (!take_number(rest, count)) return bad_value(text, wrong);
  for (const auto& x : size_units) {
    std::uint64_t bytes = 0;
    if (x.name != rest) continue;
    if (!multiply_add(bytes, count, x.value, std::numeric_limits<std::uint64_t>::max())) return bad_value(text, "is too large");
    return bytes;
  }
  return bad_value(text, wrong);
}

std::string format_duration(milliseconds x) {
  if (x.count() == 0) return "0s";
  std::string out = x.count() < 0 ? "-" : "";
  auto rest = x.count() < 0 ? -static_cast<std::uint64_t>(x.count()) : static_cast<std::uint64_t>(x.count());
  for (const auto& unit : time_units) {
    if (const auto count = rest / unit.value; count > 0) out.append(std::to_string(count)).append(unit.name);
    rest %= unit.value;
  }
  return out;
}

std::string format_size(std::uint64_t bytes) {
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return std::to_string(bytes) + std::string(size_units[unit].name);
}

std::string default_config_text() {
  auto defaults = with_one_source();
  std::string out{toml_head};
  for (const auto section : option_sections()) {
    const bool rows = section == "sources";
    out += "\n";
    append_comment(out, section_sentence(section));
    out.append(rows ? "#[[sources]]\n" : "[" + std::string(section) + "]\n");
    for (const auto& x : all_options()) {
      if (x.section() != section) continue;
      append_comment(out, sentence_with_range(x));
      auto value = option_text(x, defaults, 0);
      if (x.name == "sources.brokers") value = "\"localhost:9092\"";
      if (x.name == "sources.topics") value = "[\"events\"]";
      out.append(rows ? "#" : "").append(x.key()).append(" = ").append(value).append("\n");
    }
  }
  return out;
}

std::string configuration_page() {
  auto defaults = with_one_source();
  std::string out{page_head};
  for (const auto section : option_sections()) {
    const bool rows = section == "sources";
    out.append("\n## ").append(rows ? "[[sources]]" : "[" + std::string(section) + "]").append("\n");
    out.append(section_sentence(section)).append("\n\n| option | default | allowed | what it does |\n|---|---|---|---|\n");
    for (const auto& x : all_options()) {
      if (x.section() != section) continue;
      const auto range = option_range(x);
      out.append("| `").append(x.key()).append("` | `").append(cell(option_text(x, defaults, 0))).append("` | ");
      out.append(range.empty() ? kind_name(x.kind) : range).append(" | ").append(cell(x.sentence)).append(" |\n");
    }
  }
  return out;
}

}  // namespace doorstep
