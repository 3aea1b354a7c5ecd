// SPDX-License-Identifier: Apache-2.0
// The figures of a run in the order they were found: once as a table for people, once as a flat JSON object for bench/run. Pure.
#pragma once

#include <string>
#include <vector>

namespace bench {

class report {
public:
  /// @param name the JSON member; @param label what people read, with its unit.
  void add(std::string name, std::string label, double value, int decimals);
  void note(std::string text) { notes_.push_back(std::move(text)); }
  /// Why the figures do not count. Empty = they do.
  void spoil(std::string reason) { spoiled_.push_back(std::move(reason)); }
  bool is_void() const { return !spoiled_.empty(); }

  std::string table() const;
  std::string json() const;
  /// The table to stdout, and the JSON to a file where one is named.
  void print(const std::string& json_file) const;

private:
  struct figure {
    std::string name, label, value;
  };
  std::vector<figure> figures_;
  std::vector<std::string> notes_, spoiled_;
};

}  // namespace bench
