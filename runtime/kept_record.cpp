// SPDX-License-Identifier: Apache-2.0
// The text is base64 of: the time, the key, then name and value of each header; each as its length, a blank and the bytes, no key as "-".
#include "runtime/kept_record.hpp"

#include "runtime/digest.hpp"
#include "runtime/json_text.hpp"
#include "runtime/number_text.hpp"

#include <optional>
#include <string_view>
#include <utility>

namespace doorstep {

namespace {

constexpr std::size_t kept_bytes_max = 16 * 1024;

void append_piece(std::string& to, std::string_view bytes) { to.append(std::to_string(bytes.size())).append(1, ' ').append(bytes); }

/// @returns none at the end, or where the text is cut off.
std::optional<std::string> take_piece(std::string_view& from) {
  const auto blank = from.find(' ');
  if (blank == std::string_view::npos) return std::nullopt;
  const auto size = number_in<std::size_t>(from.substr(0, blank));
  if (!size || *size > from.size() - blank - 1) return std::nullopt;
  std::string out(from.substr(blank + 1, *size));
  from.remove_prefix(blank + 1 + *size);
  return out;
}

failure cannot(std::string why) { return {ec::unsupported, std::move(why) + "; produce it again, corrected", "id"}; }

}  // namespace

std::string kept_record_text(const record_view& x) {
  std::string bytes;
  append_piece(bytes, std::to_string(x.timestamp.value));
  if (x.key)
    append_piece(bytes, *x.key);
  else
    bytes += '-';
  for (const auto& header : x.headers) {
    append_piece(bytes, header.name);
    append_piece(bytes, header.value);
  }
  return bytes.size() > kept_bytes_max ? std::string() : base64(bytes);
}

result<kept_record> kept_record::from(const dead_letter& x) {
  if (!x.what || x.offset < 0) return cannot("this is not a record of a source");
  const auto bytes = base64_decode(x.what->extension("recordkept"));
  if (!bytes || bytes->empty()) return cannot("its key and headers were not kept, so it cannot be read again");
  kept_record out;
  std::string_view rest = *bytes;
  const auto time = take_piece(rest);
  const auto timestamp = time ? number_in<std::int64_t>(*time) : std::nullopt;
  if (!timestamp) return cannot("it was not kept in a form that this version reads");
  out.timestamp_ = {*timestamp};
  if (rest.starts_with('-'))
    rest.remove_prefix(1);
  else
    out.key_ = take_piece(rest);
  while (!rest.empty()) {
    auto name = take_piece(rest), value = take_piece(rest);
    if (!name || !value) return cannot("it was not kept in a form that this version reads");
    out.headers_.push_back({std::move(*name), std::move(*value)});
  }
  if (const auto size = x.what->extension("valuebytes"); !size.empty()) {
    out.has_value_ = true;
    if (!x.what->data.starts_with('"')) return cannot("it was not kept in a form that this version reads");
    out.value_ = json_string_value(x.what->data);
    if (x.what->data_is_base64) out.value_ = base64_decode(out.value_).value_or("");
    if (size != std::to_string(out.value_.size()))
      return cannot("only the first " + std::to_string(out.value_.size()) + " of its " + std::string(size) + " bytes were kept");
  }
  out.topic_ = x.topic;
  out.partition_ = x.partition;
  out.offset_ = x.offset;
  if (const auto at = x.id.rfind('@'); at != std::string::npos)
    out.generation_ = number_in<std::uint32_t>(std::string_view(x.id).substr(at + 1)).value_or(0);
  return out;
}

record_view kept_record::view() const {
  header_views_.clear();
  for (const auto& x : headers_) header_views_.push_back({x.name, x.value});
  record_view out;
  out.topic = topic_;
  out.partition = partition_;
  out.offset = offset_;
  if (key_) out.key = *key_;
  out.headers = header_views_;
  if (has_value_) out.value = value_;
  out.timestamp = timestamp_;
  out.generation = generation_;
  return out;
}

}  // namespace doorstep
