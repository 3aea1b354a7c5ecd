// SPDX-License-Identifier: Apache-2.0
// BSON documents made and read. Used by the mongo_*.cpp files only; the driver stays in mongo_bson.cpp and mongo_client.cpp.
// Every whole number is an int64: a server may hold 1 as int32 and 1 as int64 for different, or for equal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep {

/// The driver's bson_t under a name of ours.
struct bson_document;

/// A document in the making.
class bson_out {
public:
  bson_out();
  /// A string where the bytes are valid UTF-8, else binary; bson_in::text() reads both.
  bson_out& text(const char* key, std::string_view value) &;
  bson_out& number(const char* key, std::int64_t value) &;
  bson_out& number(const char* key, std::uint64_t value) & { return number(key, static_cast<std::int64_t>(value)); }
  bson_out& number(const char* key, std::uint32_t value) & { return number(key, static_cast<std::int64_t>(value)); }
  bson_out& number(const char* key, int value) & { return number(key, static_cast<std::int64_t>(value)); }
  bson_out& flag(const char* key, bool value) &;
  bson_out& part(const char* key, const bson_out& value) &;
  bson_out& numbers(const char* key, const std::vector<std::uint64_t>& value) &;
  bson_out& texts(const char* key, const std::vector<std::string>& value) &;
  bson_out& parts(const char* key, const std::vector<bson_out>& value) &;
  const bson_document* bytes() const { return document_.get(); }

private:
  struct release {
    void operator()(bson_document* x) const;
  };
  std::unique_ptr<bson_document, release> document_;
};

/// `{key: value}`, for filters and operators.
bson_out bson_with(const char* key, std::string_view text);
bson_out bson_with(const char* key, std::int64_t number);
bson_out bson_with(const char* key, const bson_out& part);

/// A document that somebody else keeps. A field that is missing, or of another type, reads as nothing.
class bson_in {
public:
  explicit bson_in(const bson_document& x) : document_(&x) {}
  bool has(const char* key) const;
  std::string text(const char* key) const;
  std::int64_t number(const char* key) const;
  std::uint64_t count(const char* key) const { return static_cast<std::uint64_t>(number(key)); }
  bool flag(const char* key) const;
  std::vector<std::uint64_t> numbers(const char* key) const;
  /// Every text of the document under `key`, whatever they are called.
  std::vector<std::string> texts(const char* key) const;

private:
  const bson_document* document_;
};

}  // namespace doorstep
