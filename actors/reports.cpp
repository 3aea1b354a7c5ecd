// SPDX-License-Identifier: Apache-2.0
#include "actors/reports.hpp"

#include "runtime/devices.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

namespace doorstep {

namespace json = boost::json;

namespace {

json::object head(const address& user, bool loaded) {
  json::object x;
  x["user"] = json::string(user.id().data(), user.id().size());
  x["address"] = json::string(user.text().data(), user.text().size());
  x["loaded"] = loaded;
  return x;
}

json::object message_of(const message& m) {
  json::object x;
  x["seq"] = m.seq.value;
  x["id"] = m.id;
  x["type"] = m.what->type;
  x["appended_ms"] = m.appended.value;
  return x;
}

json::object actor_of(const actor_report& a) {
  json::object x;
  x["kind"] = a.kind;
  x["id"] = a.id;
  json::object state;
  for (const auto& [name, value] : a.numbers) state[name] = value;
  x["state"] = std::move(state);
  x["restarts"] = a.restarts;
  x["queue"] = a.queue;
  x["age_ms"] = a.age.count();
  if (!a.children.empty()) {
    json::array children;
    for (const auto& child : a.children) children.push_back(actor_of(child));
    x["children"] = std::move(children);
  }
  return x;
}

json::object letter_of(const dead_letter& d) {
  json::object x;
  x["id"] = d.id;
  x["reason"] = json::string(name(d.reason).data(), name(d.reason).size());
  x["detail"] = d.detail;
  x["state"] = d.requeued ? "requeued" : "dead";
  x["requeue"] = d.requeued ? d.requeue + 1 : d.requeue;
  if (!d.to.empty() && !d.to.is_dead_letters()) {
    x["address"] = json::string(d.to.text().data(), d.to.text().size());
    x["seq"] = d.seq.value;
  }
  if (d.offset >= 0) {
    x["source"] = d.source;
    x["topic"] = d.topic;
    x["partition"] = d.partition;
    x["offset"] = d.offset;
  }
  x["first_ms"] = d.first.value;
  x["last_ms"] = d.last.value;
  x["attempts"] = d.attempts;
  if (d.what) x["event"] = json::parse(to_json(*d.what));
  return x;
}

}  // namespace

std::string describe_mailbox(const address& user, const outbox& owed, std::span<const std::uint32_t> given_up, std::uint64_t superseded,
                             std::size_t sessions, steady_time now) {
  auto x = head(user, true);
  x["sessions"] = sessions;
  x["floor"] = owed.floor().value;
  x["unread"] = owed.unread();
  x["unseen"] = owed.unseen();
  // More than these may wait in the store; `more` says so.
  x["owed"] = owed.in_flight_count() + owed.queued_count();
  x["more"] = owed.is_behind();
  x["owed_with_stored"] = owed.owed_count();
  if (owed.owed_bytes() != 0) x["owed_bytes"] = owed.owed_bytes();
  json::object dead;
  for (std::size_t i = 1; i < given_up.size(); ++i)
    if (given_up[i] != 0) dead[name(static_cast<dead_reason>(i))] = given_up[i];
  x["given_up"] = std::move(dead);
  x["superseded"] = superseded;
  json::array flight;
  for (const auto& f : owed.in_flight()) {
    auto m = message_of(*f.what);
    m["attempt"] = f.attempt;
    if (f.next_retry)
      m["next_retry_ms"] = std::max<std::int64_t>(0, std::chrono::duration_cast<milliseconds>(*f.next_retry - now).count());
    else
      m["next_retry_ms"] = nullptr;
    flight.push_back(std::move(m));
  }
  x["in_flight"] = std::move(flight);
  return json::serialize(x);
}

std::string with_channels(const std::string& report, reader_reports channels) {
  std::sort(channels.of.begin(), channels.of.end(), [](const auto& a, const auto& b) { return a.channel.text() < b.channel.text(); });
  json::array all;
  for (const auto& x : channels.of) {
    json::object one;
    one["address"] = json::string(x.channel.text().data(), x.channel.text().size());
    one["floor"] = x.floor.value;
    one["sessions"] = x.sessions;
    one["in_flight"] = x.in_flight;
    one["owed"] = x.unacked;
    one["more"] = x.more;
    all.push_back(std::move(one));
  }
  auto whole = json::parse(report).as_object();
  whole["channels"] = std::move(all);
  return json::serialize(whole);
}

std::string describe_stored(const address& user, const stored_mailbox& what) {
  auto x = head(user, false);
  x["sessions"] = 0;
  x["floor"] = what.record.acked.floor().value;
  x["unread"] = what.unread;
  x["unseen"] = what.unseen;
  x["owed"] =
      std::count_if(what.page.messages.begin(), what.page.messages.end(), [&](const message_ptr& m) { return !what.record.acked.is_acked(m->seq); });
  x["more"] = what.page.more;
  x["in_flight"] = json::array();
  return json::serialize(x);
}

std::string describe_devices(const std::string& whole, const std::vector<cursor_record>& devices, const std::vector<std::string>& each) {
  auto x = json::parse(whole).as_object();
  for (const auto* of_devices : {"floor", "owed", "more", "owed_with_stored", "owed_bytes", "in_flight", "given_up", "superseded"})
    x.erase(of_devices);
  json::array all;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    json::object one;
    one["device"] = json::string(device_of(devices[i].user).value_or(""));
    one["seen_ms"] = devices[i].seen.value;
    one["since"] = devices[i].since.value;
    const auto report = json::parse(each[i]);
    for (const auto& [name, value] : report.as_object())
      if (name != "user" && name != "address" && name != "unread" && name != "unseen") one[name] = value;
    all.push_back(std::move(one));
  }
  x["devices"] = std::move(all);
  return json::serialize(x);
}

std::string describe_dead_letters(const std::vector<dead_letter>& page, std::size_t limit) {
  json::array all;
  for (const auto& d : page) all.push_back(letter_of(d));
  json::object whole;
  whole["next"] = page.size() < limit ? std::string{} : page.back().id;
  whole["dead_letters"] = std::move(all);
  return json::serialize(whole);
}

std::string describe_dead_letter(const dead_letter& x) { return json::serialize(letter_of(x)); }

std::string describe_actors(const actor_report& top) { return json::serialize(actor_of(top)); }

}  // namespace doorstep
