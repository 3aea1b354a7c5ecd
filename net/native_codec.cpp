// SPDX-License-Identifier: Apache-2.0
// The writing half of doorstep.v1, and what the protocol's numbers are called. The reading half is native_decoder.cpp.
#include "net/native_codec.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace doorstep {
namespace {

void append_number(std::string& out, std::uint64_t x) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, x).ptr);
}

/// How many bytes of valid UTF-8 (RFC 3629) start here; 0 when none do.
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i) { return i < s.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned a = byte(0);
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if (a >= 0xE0 && a <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    const unsigned b = byte(1);
    return (a == 0xE0 && b < 0xA0) || (a == 0xED && b > 0x9F) ? 0 : 3;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    const unsigned b = byte(1);
    return (a == 0xF0 && b < 0x90) || (a == 0xF4 && b > 0x8F) ? 0 : 4;
  }
  return 0;
}

void append_control(std::string& out, unsigned char c) {
  constexpr char hex[] = "0123456789abcdef";
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out += hex[c >> 4];
      out += hex[c & 15];
  }
}

/// JSON text that somebody else wrote. Line breaks in it can only be blanks between its tokens, and would end our line.
void append_json_text(std::string& out, std::string_view json) {
  const auto from = out.size();
  out += json;
  if (std::memchr(json.data(), '\n', json.size()) == nullptr && std::memchr(json.data(), '\r', json.size()) == nullptr) return;
  for (auto i = from; i < out.size(); ++i)
    if (out[i] == '\n' || out[i] == '\r') out[i] = ' ';
}

void append_text_member(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += ",\"";
  out += name;
  out += "\":";
  append_quoted(out, value);
}

/// {"id":4,"<name>":  -- the object is the caller's to close.
void open_object(std::string& out, request_id id, std::string_view name) {
  if (!out.empty()) out += '\n';
  out += '{';
  if (id != 0) {
    out += "\"id\":";
    append_number(out, id);
    out += ',';
  }
  out += '"';
  out += name;
  out += "\":";
}

void append_seqs(std::string& out, const seq_by_address& what) {
  out += '{';
  for (const auto& [to, seq] : what) {
    if (out.back() != '{') out += ',';
    append_quoted(out, to.text());
    out += ':';
    append_number(out, seq.value);
  }
  out += '}';
}

void append_message(std::string& out, const message& x, std::uint32_t attempt, bool redelivered) {
  static const event nothing;
  const event& what = x.what ? *x.what : nothing;
  out.reserve(out.size() + what.data.size() + 320);
  out += "{\"address\":";
  append_quoted(out, x.to.text());
  out += ",\"seq\":";
  append_number(out, x.seq.value);
  out += ",\"id\":";
  append_quoted(out, x.id);
  if (attempt != 0) {
    out += ",\"attempt\":";
    append_number(out, attempt);
    out += redelivered ? ",\"redelivered\":true" : ",\"redelivered\":false";
  }
  append_text_member(out, "event_id", what.id);
  append_text_member(out, "source", what.source);
  append_text_member(out, "type", what.type);
  append_text_member(out, "subject", what.subject);
  for (const auto& [name, value] : what.extensions)
    if (name == "title" || name == "body" || name == "link" || name == "icon") append_text_member(out, name, value);
  append_text_member(out, "time", what.time);
  if (!what.data.empty()) {
    out += what.data_is_base64 ? ",\"data_base64\":" : ",\"data\":";
    append_json_text(out, what.data);
  }
  out += '}';
}

void append_time(std::string& out, std::string_view name, unix_ms at) {
  append_quoted(out, name);
  out += ':';
  append_number(out, static_cast<std::uint64_t>(std::max<std::int64_t>(at.value, 0)));
}

/// ,"appended":1,"states":{"read":2}}  -- closes the message's object.
void append_states(std::string& out, const server::past& x) {
  out += ',';
  append_time(out, "appended", x.what->appended);
  out += ",\"states\":{";
  for (std::size_t i = 0; i < x.states.size(); ++i) {
    if (!x.states[i]) continue;
    if (out.back() != '{') out += ',';
    append_time(out, name(static_cast<inbox_mark>(i)), *x.states[i]);
  }
  out += "}}";
}

struct writer {
  std::string& out;

  void operator()(const server::connected& x) const {
    open_object(out, x.id, "connected");
    out += "{\"session\":";
    append_quoted(out, x.session);
    out += ",\"user\":";
    append_quoted(out, x.user);
    out += ",\"addresses\":";
    append_seqs(out, x.addresses);
    out += ",\"window\":";
    append_number(out, x.window);
    out += ",\"ack_timeout_ms\":";
    append_number(out, static_cast<std::uint64_t>(x.ack_timeout.count()));
    out += ",\"ping_interval_ms\":";
    append_number(out, static_cast<std::uint64_t>(x.ping_interval.count()));
    if (x.expires_at) out += ",\"expires_at\":" + std::to_string(*x.expires_at);
    if (!x.info.empty()) out += ",\"info\":" + x.info;
    out += "}}";
  }
  void operator()(const server::push& x) const { append_push(out, x); }
  void operator()(const server::receipt& x) const {
    open_object(out, x.id, "receipt");
    out += '{';
    if (!x.up_to.empty()) {
      out += "\"up_to\":";
      append_seqs(out, x.up_to);
    }
    if (!x.ids.empty()) {
      out += x.up_to.empty() ? "\"ids\":[" : ",\"ids\":[";
      for (const auto& id : x.ids) {
        if (out.back() != '[') out += ',';
        append_quoted(out, id);
      }
      out += ']';
    }
    out += "}}";
  }
  void operator()(const server::counts& x) const {
    open_object(out, 0, "counts");
    out += "{\"unread\":";
    append_number(out, x.unread);
    out += ",\"unseen\":";
    append_number(out, x.unseen);
    out += "}}";
  }
  void operator()(const server::history& x) const {
    open_object(out, x.id, "history");
    out += "{\"messages\":[";
    for (const auto& one : x.messages) {
      if (out.back() != '[') out += ',';
      append_message(out, *one.what, 0, false);
      out.pop_back();
      append_states(out, one);
    }
    out += x.more ? "],\"more\":true" : "],\"more\":false";
    if (x.gone) {
      out += ",\"gap\":{\"from\":";
      append_number(out, x.gone->after.value + 1);
      out += ",\"to\":";
      append_number(out, x.gone->upto.value);
      out += ",\"reason\":\"retention\"}";
    }
    out += "}}";
  }
  void operator()(const server::done& x) const {
    open_object(out, x.id, "done");
    out += "{}}";
  }
  void operator()(const server::pong& x) const {
    open_object(out, x.id, "pong");
    out += "{}}";
  }
  void operator()(const server::gap& x) const {
    open_object(out, 0, "gap");
    out += "{\"address\":";
    append_quoted(out, x.of.text());
    out += ",\"from\":";
    append_number(out, x.from.value);
    out += ",\"to\":";
    append_number(out, x.to.value);
    append_text_member(out, "reason", x.reason);
    out += "}}";
  }
  void operator()(const server::joined& x) const {
    open_object(out, x.id, "joined");
    append_seqs(out, x.addresses);
    out += '}';
  }
  void operator()(const server::left& x) const {
    open_object(out, x.id, "left");
    out += '[';
    for (const auto& of : x.addresses) {
      if (out.back() != '[') out += ',';
      append_quoted(out, of.text());
    }
    out += "]}";
  }
  void operator()(const server::error& x) const {
    open_object(out, x.id, "error");
    out += "{\"code\":";
    append_quoted(out, name(x.what.code));
    append_text_member(out, "message", x.what.detail.empty() ? describe(x.what.code) : std::string_view(x.what.detail));
    out += is_temporary(x.what.code) ? ",\"temporary\":true}}" : ",\"temporary\":false}}";
  }
};

}  // namespace

std::string_view name(close_code x) {
  switch (x) {
    case close_code::too_large: return "too-large";
    case close_code::going_away: return "going-away";
    case close_code::slow_client: return "slow-client";
    case close_code::ping_timeout: return "ping-timeout";
    case close_code::connect_timeout: return "connect-timeout";
    case close_code::token_expired: return "token-expired";
    case close_code::too_many_devices: return "too-many-devices";
    case close_code::internal_error: return "internal-error";
    case close_code::too_many_frames: return "too-many-frames";
    case close_code::too_many_connections: return "too-many-connections";
    case close_code::try_later: return "try-later";
    case close_code::disconnected: return "disconnected";
    case close_code::bad_token: return "bad-token";
    case close_code::protocol_error: return "protocol-error";
    case close_code::forbidden: return "forbidden";
  }
  return "unknown";
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0;  // where the run of bytes that stand for themselves began
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      if (const auto length = utf8_length(text.substr(i))) {
        i += length;
        continue;
      }
    }
    out.append(text, plain, i - plain);
    if (c >= 0x80) {
      out += "\xEF\xBF\xBD";
    } else if (c < 0x20) {
      append_control(out, c);
    } else {
      out += '\\';
      out += static_cast<char>(c);
    }
    plain = ++i;
  }
  out.append(text, plain);
  out += '"';
}

void append_push(std::string& out, const server::push& what) {
  open_object(out, 0, "message");
  append_message(out, *what.what, what.attempt == 0 ? 1 : what.attempt, what.redelivered);
  out += '}';
}

void append_event(std::string& out, const server::event& what) { std::visit(writer{out}, what); }

void append_disconnect(std::string& out, close_code code, std::string_view reason, milliseconds delay) {
  open_object(out, 0, "disconnect");
  out += "{\"code\":";
  append_number(out, static_cast<std::uint64_t>(code));
  out += ",\"reason\":";
  append_quoted(out, reason);
  out += may_reconnect(code) ? ",\"reconnect\":true,\"delay_ms\":" : ",\"reconnect\":false,\"delay_ms\":";
  append_number(out, static_cast<std::uint64_t>(delay.count() < 0 ? 0 : delay.count()));
  out += "}}";
}

}  // namespace doorstep
