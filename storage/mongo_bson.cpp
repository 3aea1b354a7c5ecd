// SPDX-License-Identifier: Apache-2.0
#include "storage/mongo_bson.hpp"

#include <mongoc/mongoc.h>

namespace doorstep {

namespace {

bson_t* raw(bson_document* x) { return reinterpret_cast<bson_t*>(x); }
const bson_t* raw(const bson_document* x) { return reinterpret_cast<const bson_t*>(x); }

}  // namespace

void bson_out::release::operator()(bson_document* x) const { bson_destroy(raw(x)); }

bson_out::bson_out() : document_(reinterpret_cast<bson_document*>(bson_new())) {}

bson_out& bson_out::text(const char* key, std::string_view value) & {
  if (bson_utf8_validate(value.data(), value.size(), true))
    bson_append_utf8(raw(document_.get()), key, -1, value.data(), static_cast<int>(value.size()));
  else
    bson_append_binary(raw(document_.get()), key, -1, BSON_SUBTYPE_BINARY, reinterpret_cast<const std::uint8_t*>(value.data()),
                       static_cast<std::uint32_t>(value.size()));
  return *this;
}

bson_out& bson_out::number(const char* key, std::int64_t value) & {
  bson_append_int64(raw(document_.get()), key, -1, value);
  return *this;
}

bson_out& bson_out::flag(const char* key, bool value) & {
  bson_append_bool(raw(document_.get()), key, -1, value);
  return *this;
}

bson_out& bson_out::part(const char* key, const bson_out& value) & {
  bson_append_document(raw(document_.get()), key, -1, raw(value.bytes()));
  return *this;
}

bson_out& bson_out::numbers(const char* key, const std::vector<std::uint64_t>& value) & {
  bson_t list;
  bson_append_array_begin(raw(document_.get()), key, -1, &list);
  for (std::size_t i = 0; i < value.size(); ++i) bson_append_int64(&list, std::to_string(i).c_str(), -1, static_cast<std::int64_t>(value[i]));
  bson_append_array_end(raw(document_.get()), &list);
  return *this;
}

bson_out& bson_out::texts(const char* key, const std::vector<std::string>& value) & {
  bson_t list;
  bson_append_array_begin(raw(document_.get()), key, -1, &list);
  for (std::size_t i = 0; i < value.size(); ++i)
    bson_append_utf8(&list, std::to_string(i).c_str(), -1, value[i].data(), static_cast<int>(value[i].size()));
  bson_append_array_end(raw(document_.get()), &list);
  return *this;
}

bson_out& bson_out::parts(const char* key, const std::vector<bson_out>& value) & {
  bson_t list;
  bson_append_array_begin(raw(document_.get()), key, -1, &list);
  for (std::size_t i = 0; i < value.size(); ++i) bson_append_document(&list, std::to_string(i).c_str(), -1, raw(value[i].bytes()));
  bson_append_array_end(raw(document_.get()), &list);
  return *this;
}

bson_out bson_with(const char* key, std::string_view text) {
  bson_out out;
  out.text(key, text);
  return out;
}

bson_out bson_with(const char* key, std::int64_t number) {
  bson_out out;
  out.number(key, number);
  return out;
}

bson_out bson_with(const char* key, const bson_out& part) {
  bson_out out;
  out.part(key, part);
  return out;
}

bool bson_in::has(const char* key) const { return bson_has_field(raw(document_), key); }

std::string bson_in::text(const char* key) const {
  bson_iter_t at;
  if (!bson_iter_init_find(&at, raw(document_), key)) return {};
  std::uint32_t size = 0;
  if (BSON_ITER_HOLDS_UTF8(&at)) {
    const char* bytes = bson_iter_utf8(&at, &size);
    return std::string(bytes, size);
  }
  if (!BSON_ITER_HOLDS_BINARY(&at)) return {};
  const std::uint8_t* bytes = nullptr;
  bson_subtype_t subtype{};
  bson_iter_binary(&at, &subtype, &size, &bytes);
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::int64_t bson_in::number(const char* key) const {
  bson_iter_t at;
  return bson_iter_init_find(&at, raw(document_), key) ? bson_iter_as_int64(&at) : 0;
}

bool bson_in::flag(const char* key) const {
  bson_iter_t at;
  return bson_iter_init_find(&at, raw(document_), key) && bson_iter_as_bool(&at);
}

std::vector<std::uint64_t> bson_in::numbers(const char* key) const {
  std::vector<std::uint64_t> out;
  bson_iter_t at, inner;
  if (!bson_iter_init_find(&at, raw(document_), key) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &inner)) return out;
  while (bson_iter_next(&inner)) out.push_back(static_cast<std::uint64_t>(bson_iter_as_int64(&inner)));
  return out;
}

std::vector<std::string> bson_in::texts(const char* key) const {
  std::vector<std::string> out;
  bson_iter_t at, inner;
  if (!bson_iter_init_find(&at, raw(document_), key) || !BSON_ITER_HOLDS_DOCUMENT(&at) || !bson_iter_recurse(&at, &inner)) return out;
  while (bson_iter_next(&inner)) {
    std::uint32_t size = 0;
    if (BSON_ITER_HOLDS_UTF8(&inner)) {
      const char* const bytes = bson_iter_utf8(&inner, &size);
      out.emplace_back(bytes, size);
    }
  }
  return out;
}

}  // namespace doorstep
