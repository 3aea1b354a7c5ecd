// SPDX-License-Identifier: Apache-2.0
// An outbox with short words for what may happen to it. Pushes are written "slot:seq", with '!' where flagged and '#n' from the second attempt on.
#pragma once

#include "runtime/outbox.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace doorstep::test {

using namespace std::chrono_literals;

inline message_ptr message_at(std::uint64_t seq) {
  auto x = std::make_shared<message>();
  x->seq = {seq};
  x->id = "m" + std::to_string(seq);
  return x;
}

inline std::vector<message_ptr> messages(std::vector<std::uint64_t> seqs) {
  std::vector<message_ptr> all;
  for (auto seq : seqs) all.push_back(message_at(seq));
  return all;
}

inline std::vector<std::string> ids(std::vector<std::uint64_t> seqs) {
  std::vector<std::string> all;
  for (auto seq : seqs) all.push_back("m" + std::to_string(seq));
  return all;
}

inline stored_page page_of(std::vector<std::uint64_t> seqs, std::uint64_t complete_to, bool more = false) {
  return {messages(std::move(seqs)), more, {complete_to}};
}

/// The store's answer to a count.
inline stored_mailbox counted(std::uint64_t unread, std::uint64_t complete_to) {
  stored_mailbox x;
  x.unread = x.unseen = unread;
  x.page.complete_to = {complete_to};
  return x;
}

inline std::string text(const outbox_effects& x) {
  std::string all;
  for (const auto& p : x.pushes)
    all += (all.empty() ? "" : " ") + std::to_string(p.slot) + ":" + std::to_string(p.what->seq.value) + (p.redelivered ? "!" : "") +
           (p.attempt > 1 ? "#" + std::to_string(p.attempt) : "");
  return all;
}

class outbox_test : public testing::Test {
protected:
  explicit outbox_test(outbox_options options = {.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100})
      : box(options, [this] { return random; }) {}

  /// Answers the first read of the store.
  std::string load(stored_page page = {}, cursor_record record = {}, std::uint64_t open_horizon = 0, std::uint64_t unread = 0) {
    out.clear();
    box.load({std::move(record), std::move(page), unread, {}, unread}, {open_horizon}, now, out);
    return text(out);
  }
  unsigned attach(std::uint64_t resume = 0) {
    out.clear();
    return box.attach({resume}, now, out).value();
  }
  std::string deliver(std::vector<std::uint64_t> seqs) {
    out.clear();
    box.deliver(messages(std::move(seqs)), now, out);
    return text(out);
  }
  std::string page(stored_page x) {
    out.clear();
    box.page(x, now, out);
    return text(out);
  }
  std::string ack_up_to(unsigned slot, std::uint64_t up_to, std::uint64_t request = 0) {
    out.clear();
    box.ack(slot, request, {up_to}, {}, now, out);
    return text(out);
  }
  std::string ack_ids(unsigned slot, std::vector<std::uint64_t> seqs, std::uint64_t request = 0) {
    out.clear();
    box.ack(slot, request, {}, ids(std::move(seqs)), now, out);
    return text(out);
  }
  std::string nack(unsigned slot, std::vector<std::uint64_t> seqs) {
    out.clear();
    box.nack(ids(std::move(seqs)), now, out, slot);
    return text(out);
  }
  std::string pass(milliseconds time) {
    now += time;
    out.clear();
    box.tick(now, out);
    return text(out);
  }
  void begin_save() {
    out.clear();
    written = box.begin_save({}, out);
  }
  std::string saved() {
    out.clear();
    box.saved(now, out);
    return text(out);
  }
  std::string save() {
    begin_save();
    return saved();
  }
  /// Loaded with nothing stored, one session, the horizon open.
  unsigned begin() {
    load();
    const auto slot = attach();
    save();
    return slot;
  }
  /// The next life of the mailbox, from what was written last.
  std::string reborn(stored_page page, std::uint64_t open_horizon) {
    box = outbox({.window = 4, .ack_timeout = 30s, .retry = {1s, 60s}, .backlog_max = 8, .holes_max = 100}, [this] { return random; });
    return load(std::move(page), written, open_horizon);
  }

  std::uint64_t random = 500;  // a delay of 500 ms after the first attempt
  steady_time now{1h};
  outbox_effects out;
  cursor_record written;
  outbox box;
};

}  // namespace doorstep::test
