// SPDX-License-Identifier: Apache-2.0
// The reading half of doorstep.v1. A frame is parsed object by object into memory on the stack; what is wrong inside one object is that object's error,
// what is not an object at all is the frame's.
#include "net/native_codec.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/stream_parser.hpp>
#include <boost/json/value.hpp>

#include <cstdint>
#include <optional>

namespace doorstep {
namespace {

namespace json = boost::json;
using namespace native_limits;
constexpr std::uint64_t number_max = (std::uint64_t{1} << 53) - 1;

failure malformed(std::string what) { return {ec::malformed, std::move(what), {}}; }

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::optional<std::uint64_t> whole_number(const json::value& x) {
  if (const auto* n = x.if_int64(); n && *n >= 0 && static_cast<std::uint64_t>(*n) <= number_max) return static_cast<std::uint64_t>(*n);
  return {};
}

/// The members of one request. The first thing found wrong is kept; what is read after it does not matter.
class members {
public:
  members(const json::object& of, std::string_view request) : of_(of), request_(request) {}

  bool has(std::string_view name) const { return of_.if_contains(name) != nullptr; }
  std::string text(std::string_view name, std::size_t bytes_max, bool required) {
    const auto* x = member(name, required);
    if (!x) return {};
    if (!x->is_string()) return wrong(name, "must be a string"), std::string();
    const auto& value = x->get_string();
    if (value.size() > bytes_max) return wrong(name, "is over " + std::to_string(bytes_max) + " bytes"), std::string();
    if (required && value.empty()) return wrong(name, "is empty"), std::string();
    return {value.data(), value.size()};
  }
  bool truth(std::string_view name) {
    const auto* x = member(name, false);
    if (x && !x->is_bool()) wrong(name, "must be true or false");
    return x && x->is_bool() && x->get_bool();
  }
  std::uint64_t number(std::string_view name, std::uint64_t from, std::uint64_t to, std::uint64_t otherwise) {
    const auto* x = member(name, false);
    if (!x) return otherwise;
    const auto n = whole_number(*x);
    if (!n || *n < from || *n > to) {
      wrong(name, "must be " + std::to_string(from) + " to " + std::to_string(to));
      return otherwise;
    }
    return *n;
  }
  address one_address(std::string_view name) {
    auto to = address::parse(text(name, address::id_bytes_max + 64, true));
    if (to) return *to;
    wrong(name, "is not an address: " + to.error().detail);
    return {};
  }
  seq_by_address seqs(std::string_view name, bool required) {
    seq_by_address found;
    const auto* x = member(name, required);
    if (!x) return found;
    if (!x->is_object()) return wrong(name, "must be an object of address and seq"), found;
    if (x->get_object().size() > entries_max) return wrong(name, "has over 1000 entries"), found;
    found.reserve(x->get_object().size());
    for (const auto& [key, value] : x->get_object()) {
      auto to = address::parse({key.data(), key.size()});
      if (!to) return wrong(name, "holds what is not an address: " + to.error().detail), found;
      const auto seq = whole_number(value);
      if (!seq) return wrong(name, "holds a seq that is not a whole number below 2^53"), found;
      found.emplace_back(std::move(*to), sequence{*seq});
    }
    return found;
  }
  seqs_by_address seq_lists(std::string_view name) {
    seqs_by_address found;
    const auto* x = member(name, false);
    if (!x) return found;
    if (!x->is_object()) return wrong(name, "must be an object of address and seqs"), found;
    std::size_t count = 0;
    for (const auto& [key, value] : x->get_object()) {
      auto to = address::parse({key.data(), key.size()});
      if (!to) return wrong(name, "holds what is not an address: " + to.error().detail), found;
      if (!value.is_array()) return wrong(name, "must be an object of address and seqs"), found;
      auto& list = found.emplace_back(std::move(*to), std::vector<sequence>{}).second;
      for (const auto& one : value.get_array()) {
        const auto seq = whole_number(one);
        if (!seq || *seq == 0) return wrong(name, "holds what is not a seq"), found;
        list.push_back({*seq});
      }
      count += list.size();
    }
    if (count == 0) wrong(name, "is empty");
    if (count > seqs_max) wrong(name, "has over 100 entries; use up_to");
    return found;
  }
  std::vector<std::string> ids(std::string_view name, bool required) {
    std::vector<std::string> found;
    const auto* x = member(name, required);
    if (!x) return found;
    if (!x->is_array()) return wrong(name, "must be an array of message ids"), found;
    const auto& list = x->get_array();
    if (list.size() > entries_max) return wrong(name, "has over 1000 entries"), found;
    if (required && list.empty()) return wrong(name, "is empty"), found;
    found.reserve(list.size());
    for (const auto& id : list) {
      if (!id.is_string() || id.get_string().empty() || id.get_string().size() > message_id_bytes_max)
        return wrong(name, "holds what is not a message id"), found;
      found.emplace_back(id.get_string().data(), id.get_string().size());
    }
    return found;
  }
  void wrong(std::string_view member, std::string_view how) {
    if (!first_) first_ = malformed(std::string(request_) + "." + std::string(member) + " " + std::string(how));
  }
  const std::optional<failure>& first_wrong() const { return first_; }

private:
  const json::value* member(std::string_view name, bool required) {
    const auto* x = of_.if_contains(name);
    if (!x && required) wrong(name, "is missing");
    return x;
  }
  const json::object& of_;
  std::string_view request_;
  std::optional<failure> first_;
};

struct mark_request {
  std::string_view name;
  inbox_mark mark;
  bool on;
};
constexpr mark_request marks[] = {{"read", inbox_mark::read, true},
                                  {"unread", inbox_mark::read, false},
                                  {"seen", inbox_mark::seen, true},
                                  {"archive", inbox_mark::archived, true},
                                  {"unarchive", inbox_mark::archived, false}};

client::mark read_mark(request_id id, inbox_mark mark, bool on, members& from) {
  client::mark x{id, mark, on, from.seqs("up_to", false), from.seq_lists("seqs"), from.truth("all")};
  const auto ways = int{from.has("up_to")} + int{from.has("seqs")} + int{x.all};
  // Whoever opens the list has seen what there is.
  if (mark == inbox_mark::seen && ways == 0)
    x.all = true;
  else if (ways != 1)
    from.wrong("up_to", "or seqs or all: one of them must be there");
  return x;
}

client::history read_history(request_id id, members& from) {
  client::history x{id, {}, {}, from.truth("inbox")};
  if (!x.inbox)
    x.of = from.one_address("address");
  else if (from.has("address") || from.has("after") || from.has("before"))
    from.wrong("inbox", "is one list over all addresses: page it by since and until");
  x.what.after = {from.number("after", 0, number_max, 0)};
  x.what.before = {from.number("before", 1, number_max, 0)};
  x.what.since = {static_cast<std::int64_t>(from.number("since", 0, number_max, 0))};
  x.what.until = {static_cast<std::int64_t>(from.number("until", 1, number_max, 0))};
  x.what.limit = static_cast<std::size_t>(from.number("limit", 1, 1000, 100));
  x.what.newest = !from.has("after") && !from.has("since") && (from.has("before") || from.has("until"));
  return x;
}

client::command read_request(std::string_view what, request_id id, members& from) {
  if (what == "connect") {
    client::connect x{id, from.text("token", SIZE_MAX, false), from.text("device", device_bytes_max, false), from.seqs("resume", false), false};
    x.counts = from.truth("counts");
    return x;
  }
  if (what == "ack") {
    client::ack x{id, from.seqs("up_to", false), from.ids("ids", false)};
    if (!from.has("up_to") && !from.has("ids")) from.wrong("up_to", "or ack.ids is missing");
    return x;
  }
  if (what == "nack") {
    client::nack x{id, from.ids("ids", true), from.text("reason", reason_bytes_max, false), {}};
    if (from.has("retry_in")) x.retry_in = milliseconds{from.number("retry_in", 0, retry_in_ms_max, 0)};
    return x;
  }
  if (what == "in_progress") return client::in_progress{id, from.ids("ids", true)};
  for (const auto& [name, mark, on] : marks)
    if (what == name) return read_mark(id, mark, on, from);
  if (what == "history") return read_history(id, from);
  if (what == "subscribe") return client::subscribe{id, from.one_address("address")};
  if (what == "unsubscribe") return client::unsubscribe{id, from.one_address("address")};
  if (what == "refresh") return client::refresh{id, from.text("token", SIZE_MAX, true)};
  return client::ping{id};
}

constexpr std::string_view requests[] = {"connect", "ack",       "nack",    "in_progress", "read", "unread",    "seen",
                                         "archive", "unarchive", "history", "refresh",     "ping", "subscribe", "unsubscribe"};

void read_object(const json::object& object, decoded_frame& frame) {
  request_id id = 0;
  std::string_view what, unknown;
  std::size_t known = 0;
  const auto refuse = [&](failure why) { frame.refused.push_back({id, std::move(why)}); };
  if (const auto* x = object.if_contains("id")) {
    const auto n = whole_number(*x);
    if (!n || *n == 0) return refuse(malformed("id must be 1 to 9007199254740991"));
    id = *n;
  }
  for (const auto& member : object) {
    const std::string_view key(member.key().data(), member.key().size());
    bool is_known = false;
    for (const auto& one : requests) is_known |= one == key;
    if (is_known) {
      what = key;
      ++known;
    } else if (key != "id" && unknown.empty()) {
      unknown = key;
    }
  }
  if (object.empty()) {
    frame.commands.push_back(client::pong{});
  } else if (known > 1) {
    refuse(malformed("an object holds one request"));
  } else if (known == 1) {
    const auto& body = object.at(what);
    if (!body.is_object()) return refuse(malformed(std::string(what) + " must be an object"));
    members from(body.get_object(), what);
    auto command = read_request(what, id, from);
    if (from.first_wrong()) return refuse(*from.first_wrong());
    frame.commands.push_back(std::move(command));
  } else if (!unknown.empty()) {
    frame.commands.push_back(client::unsupported{id, std::string(unknown.substr(0, 64))});
  } else {
    refuse(malformed("the object holds no request"));
  }
}

}  // namespace

result<decoded_frame> decode_frame(std::string_view text) {
  decoded_frame frame;
  if (text == "{}") {  // the commonest frame of an idle client
    frame.commands.push_back(client::pong{});
    return frame;
  }
  unsigned char tree[4096], scratch[1024];
  json::monotonic_resource memory(tree, sizeof tree);
  json::parse_options options;
  options.max_depth = depth_max;
  json::stream_parser parser({}, options, scratch, sizeof scratch);
  for (std::size_t count = 0;; ++count) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    if (text.empty()) break;
    if (count == objects_max) return failure{ec::too_large, "a frame holds at most 1000 objects", {}};
    parser.reset(&memory);
    boost::system::error_code error;
    text.remove_prefix(parser.write_some(text.data(), text.size(), error));
    if (!error && !parser.done()) parser.finish(error);
    if (error) return malformed("not JSON: " + error.message());
    const json::value value = parser.release();
    if (!value.is_object()) return malformed("not a JSON object");
    read_object(value.get_object(), frame);
  }
  if (frame.commands.empty() && frame.refused.empty()) return malformed("an empty frame");
  return frame;
}

}  // namespace doorstep
