// SPDX-License-Identifier: Apache-2.0
#include "bench/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>

namespace bench {

namespace {

std::string in_quotes(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

std::string array_of(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& x : texts) out += (out.size() > 1 ? "," : "") + in_quotes(x);
  return out + "]";
}

}  // namespace

void report::add(std::string name, std::string label, double value, int decimals) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%.*f", decimals, std::isfinite(value) ? value : 0.0);
  figures_.push_back({std::move(name), std::move(label), text.data()});
}

std::string report::table() const {
  std::string out;
  for (const figure& x : figures_) out += "  " + x.label + std::string(x.label.size() < 44 ? 44 - x.label.size() : 1, ' ') + x.value + "\n";
  for (const std::string& x : notes_) out += "  note: " + x + "\n";
  for (const std::string& x : spoiled_) out += "  VOID: " + x + "\n";
  return out;
}

std::string report::json() const {
  std::string out = "{";
  for (const figure& x : figures_) out += in_quotes(x.name) + ":" + x.value + ",";
  return out + "\"notes\":" + array_of(notes_) + ",\"void\":" + array_of(spoiled_) + "}\n";
}

void report::print(const std::string& json_file) const {
  std::fputs(table().c_str(), stdout);
  if (!json_file.empty()) std::ofstream(json_file) << json();
}

}  // namespace bench
