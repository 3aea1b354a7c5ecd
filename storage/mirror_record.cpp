// SPDX-License-Identifier: Apache-2.0
#include "storage/mirror_record.hpp"

#include "runtime/digest.hpp"
#include "runtime/event.hpp"
#include "runtime/json_text.hpp"

#include <string>
#include <utility>

namespace doorstep {

namespace {

/// The bytes of a record that could not be understood, as they came: its dead letter holds them as a JSON string.
std::string record_bytes(const event& x) {
  if (!x.data.starts_with('"') || !fault_of_json(x.data).empty()) return x.data;
  auto text = json_string_value(x.data);
  if (!x.data_is_base64) return text;
  auto bytes = base64_decode(text);
  return bytes ? std::move(*bytes) : text;
}

}  // namespace

encoded_record mirror_record(const dead_letter& x) {
  encoded_record out;
  const auto say = [&](const char* name, std::string value) { out.headers.push_back({name, std::move(value)}); };
  const bool is_message = !x.to.empty() && !x.to.is_dead_letters();
  out.key = x.id;
  say("doorstep-id", x.id);
  say("doorstep-reason", std::string(name(x.reason)));
  say("doorstep-detail", x.detail);
  if (is_message) say("doorstep-address", std::string(x.to.text()));
  if (x.offset >= 0) {
    say("doorstep-source", x.source);
    say("doorstep-topic", x.topic);
    say("doorstep-partition", std::to_string(x.partition));
    say("doorstep-offset", std::to_string(x.offset));
  }
  say("doorstep-attempts", std::to_string(x.attempts));
  say("doorstep-first", std::to_string(x.first.value));
  say("doorstep-last", std::to_string(x.last.value));
  if (x.requeue > 0) say("doorstep-requeue", std::to_string(x.requeue));
  if (!x.what) return out;
  if (is_message) {
    out.value = to_json(*x.what);
    say("content-type", "application/cloudevents+json");
    return out;
  }
  out.value = record_bytes(*x.what);
  if (const auto key = x.what->extension("recordkey"); !key.empty()) say("doorstep-record-key", std::string(key));
  // Of a very large record only the first bytes were kept.
  if (const auto bytes = x.what->extension("valuebytes"); !bytes.empty() && bytes != std::to_string(out.value.size()))
    say("doorstep-value-bytes", std::string(bytes));
  return out;
}

encoded_record without_value(encoded_record x) {
  x.headers.push_back({"doorstep-value-omitted", std::to_string(x.value.size())});
  x.value.clear();
  return x;
}

}  // namespace doorstep
