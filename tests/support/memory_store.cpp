// SPDX-License-Identifier: Apache-2.0
// A message store in memory; callbacks run inside run() and with no lock held, so they may call the store again.
#include "tests/support/memory_store.hpp"

#include "runtime/devices.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace doorstep::test {

void memory_store::ask(answer x) {
  std::unique_lock lock(mutex_);
  if (stopped_) {
    lock.unlock();
    x(failure{ec::stopping, "the store is stopped", {}});
    return;
  }
  asked_.push_back(std::move(x));
}

void memory_store::read_later(answer x) {
  ask([this, x = std::move(x)](const std::optional<failure>& why) {
    if (reads_stopped_)
      x(failure{ec::stopping, "nothing is read any more", {}});
    else
      x(why);
  });
}

bool memory_store::run() {
  std::unique_lock lock(mutex_);
  const auto count = asked_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto next = std::move(asked_.front());
    asked_.pop_front();
    const auto why = failing_;
    lock.unlock();
    next(why);
    lock.lock();
  }
  return count > 0;
}

void memory_store::fail_with(std::optional<failure> why) {
  const std::lock_guard lock(mutex_);
  failing_ = std::move(why);
}

std::size_t memory_store::waiting() const {
  const std::lock_guard lock(mutex_);
  return asked_.size();
}

std::size_t memory_store::writes() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}

cursor_record memory_store::record_of(const address& user) const {
  const std::lock_guard lock(mutex_);
  const auto found = cursors_.find(user);
  if (found != cursors_.end()) return found->second;
  cursor_record none;
  none.user = user;
  return none;
}

inbox_record memory_store::inbox_of(const address& user) const {
  const auto record = record_of(user);
  const std::lock_guard lock(mutex_);
  if (const auto found = inboxes_.find(user); found != inboxes_.end()) return found->second;
  inbox_record none;
  none.user = user;
  take_over_read_upto(record, none);
  return none;
}

std::vector<dead_letter> memory_store::dead() const {
  const std::lock_guard lock(mutex_);
  return dead_;
}

bool memory_store::is_mirrored(const dead_letter& x) const {
  const std::lock_guard lock(mutex_);
  return mirrored_.contains({x.id, x.requeue});
}

std::vector<shard_position> memory_store::positions() const {
  const std::lock_guard lock(mutex_);
  std::vector<shard_position> out;
  for (std::uint32_t i = 0; i < shards_; ++i) {
    out.push_back({shard_id{i}, positions_[i].next_offset});
    for (const auto& [from, x] : positions_[i].origins) out.back().origins.push_back(x);
  }
  return out;
}

std::vector<message_ptr> memory_store::store(const store_batch& batch) {
  constexpr std::int64_t window = 24LL * 3600 * 1000;
  const std::lock_guard lock(mutex_);
  std::vector<message_ptr> duplicates;
  ++writes_;
  for (const auto& x : batch.messages) {
    if (batch.duplicates) {
      auto& known = keys_[x->id + '/' + std::to_string(x->requeue)];
      if (known && known->seq < x->seq && x->appended.value - known->appended.value < window) {
        duplicates.push_back(x);
        continue;
      }
      if (!known || known->seq < x->seq) known = x;
    }
    messages_[x->to].emplace(x->seq, x);
  }
  for (const auto& x : batch.cursors) {
    auto& at = cursors_[x.user];
    if (x.version > at.version) at = x;
  }
  for (const auto& x : batch.inboxes) {
    auto& at = inboxes_[x.user];
    if (x.version > at.version) at = x;
  }
  for (auto x : batch.dead) {
    const auto earlier = std::find_if(dead_.begin(), dead_.end(), [&](const dead_letter& y) { return y.id == x.id && y.requeue < x.requeue; });
    if (earlier != dead_.end()) {
      x.first = std::min(x.first, earlier->first);
      if (x.offset < 0) {
        x.source = earlier->source;
        x.topic = earlier->topic;
        x.partition = earlier->partition;
        x.offset = earlier->offset;
      }
    }
    std::erase_if(dead_, [&](const dead_letter& y) { return y.id == x.id && y.requeue < x.requeue; });
    if (std::none_of(dead_.begin(), dead_.end(), [&](const dead_letter& y) { return y.id == x.id; })) dead_.push_back(x);
  }
  for (const auto& x : batch.dead_changes) {
    const bool mirror = x.what == dead_letter_change::to::mirrored;
    const auto is_it = [&](const dead_letter& y) { return y.id == x.id && y.requeue == x.requeue && (mirror || !y.requeued); };
    if (mirror) {
      if (std::any_of(dead_.begin(), dead_.end(), is_it)) mirrored_.insert({x.id, x.requeue});
    } else if (x.what == dead_letter_change::to::purged)
      std::erase_if(dead_, is_it);
    else if (const auto found = std::find_if(dead_.begin(), dead_.end(), is_it); found != dead_.end())
      found->requeued = true;
  }
  for (const auto& x : batch.positions) {
    auto& at = positions_[static_cast<std::uint32_t>(x.shard)];
    if (x.next_offset < at.next_offset) continue;
    at.next_offset = x.next_offset;
    for (const auto& origin : x.origins) at.origins.insert_or_assign(origin.from, origin);
  }
  return duplicates;
}

void memory_store::write(store_batch batch, urgency, store_done<void> done) {
  ask([this, batch = std::move(batch), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    if (auto duplicates = store(batch); !duplicates.empty()) batch.duplicates(std::move(duplicates));
    done({});
  });
}

std::vector<message_ptr> memory_store::messages_of(const address& user, sequence after) const {
  if (shared_) return shared_->messages_of(user, after, SIZE_MAX);
  const std::lock_guard lock(mutex_);
  std::vector<message_ptr> out;
  if (const auto found = messages_.find(user); found != messages_.end()) {
    for (auto it = found->second.upper_bound(after); it != found->second.end(); ++it) out.push_back(it->second);
  }
  return out;
}

stored_page memory_store::page_of(const address& user, sequence after, std::size_t limit) const {
  stored_page out;
  const auto shard = shard_of(user, shards_);
  std::uint64_t end = 0;
  std::uint32_t generation = 0;
  if (shared_) {
    end = shared_->end_offset(shard);
    generation = shared_->generation();
  } else {
    const std::lock_guard lock(mutex_);
    end = positions_[static_cast<std::uint32_t>(shard)].next_offset;
  }
  out.messages = messages_of(user, after);
  out.complete_to = sequence::before(generation, end);
  out.more = out.messages.size() > limit;
  if (out.more) out.messages.resize(limit);
  return out;
}

std::vector<cursor_record> memory_store::devices_of(const address& user) const {
  const std::lock_guard lock(mutex_);
  std::vector<cursor_record> out;
  for (const auto& [box, record] : cursors_)
    if (device_of(box) && user_of(box) == user && is_registered(record)) out.push_back(record);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.user < b.user; });
  return out;
}

std::vector<address> memory_store::owing(const message& x) const {
  if (x.to.is_channel()) return {};
  auto judges = devices_of(x.to);
  if (judges.empty()) judges.push_back(record_of(x.to));
  std::vector<address> out;
  for (const auto& judge : judges)
    if (!judge.acked.is_acked(x.seq)) out.push_back(judge.version == 0 ? x.to : judge.user);
  return out;
}

void memory_store::devices(address user, store_done<std::vector<cursor_record>> done) {
  read_later(
      [this, user = std::move(user), done = std::move(done)](const std::optional<failure>& why) { why ? done(*why) : done(devices_of(user)); });
}

reaped memory_store::forget_devices(const reap_step& step) {
  reaped out;
  const std::lock_guard lock(mutex_);
  std::vector<cursor_record> silent;
  for (const auto& [box, record] : cursors_)
    if (device_of(box) && is_registered(record) && record.seen < step.before) silent.push_back(record);
  for (const auto& x : silent) {
    cursors_.erase(x.user);
    const auto user = user_of(x.user);
    const bool was_last =
        std::none_of(cursors_.begin(), cursors_.end(), [&](const auto& y) { return device_of(y.first) && user_of(y.first) == user; });
    auto base = cursors_[user];
    base.user = user;
    cursors_[user] = base_without(base, x, was_last);
    ++out.removed;
  }
  return out;
}

void memory_store::load(address box, std::size_t limit, store_done<stored_mailbox> done) {
  read_later([this, box = std::move(box), limit, done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    const auto user = user_of(box);
    stored_mailbox out;
    out.record = record_of(box);
    out.devices = devices_of(user).size();
    if (device_of(box) && !is_registered(out.record))
      out.record = start_of_device(out.record, record_of(user), out.devices != 0, page_of(user, {}, 0).complete_to);
    out.inbox = inbox_of(user);
    out.page = page_of(user, out.record.acked.floor(), limit);
    auto all = page_of(user, out.record.acked.floor(), SIZE_MAX);
    out.owed = amount_owed(out.record.acked, all);
    std::vector<sequence> seqs;
    for (const auto& x : messages_of(user, {})) seqs.push_back(x->seq);
    out.unread = count_in(unread_ranges(out.inbox), seqs, out.page.complete_to);
    out.unseen = count_in(unseen_ranges(out.inbox), seqs, out.page.complete_to);
    done(std::move(out));
  });
}

void memory_store::cursors(std::vector<address> keys, store_done<std::vector<cursor_record>> done) {
  read_later([this, keys = std::move(keys), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    std::vector<cursor_record> out;
    out.reserve(keys.size());
    for (const auto& key : keys) out.push_back(record_of(key));
    done(std::move(out));
  });
}

void memory_store::locate(address user, std::vector<sequence> seqs, store_done<stored_places> done) {
  read_later([this, user = std::move(user), seqs = std::move(seqs), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    stored_places out;
    out.complete_to = page_of(user, {}, 0).complete_to;
    sequence before;
    for (const auto& x : messages_of(user, {})) {
      if (std::find(seqs.begin(), seqs.end(), x->seq) != seqs.end()) out.found.push_back({x->seq, before});
      before = x->seq;
    }
    done(std::move(out));
  });
}

void memory_store::history(address box, history_query query, store_done<stored_history> done) {
  read_later([this, box = std::move(box), query, done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    const auto user = user_of(box);
    stored_history out;
    const auto& whose = query.reader.empty() ? box : query.reader;
    out.acked = record_of(whose).acked;
    out.since = record_of(whose).since;
    out.inbox = inbox_of(query.reader.empty() ? user : query.reader);
    for (auto& x : messages_of(user, query.after)) {
      if ((query.before && x->seq >= query.before) || x->appended < query.since || (query.until.value != 0 && x->appended >= query.until)) continue;
      out.messages.push_back(std::move(x));
    }
    out.more = out.messages.size() > query.limit;
    const auto over = static_cast<std::ptrdiff_t>(out.more ? out.messages.size() - query.limit : 0);
    if (query.newest)
      out.messages.erase(out.messages.begin(), out.messages.begin() + over);
    else
      out.messages.erase(out.messages.end() - over, out.messages.end());
    if (user.is_channel()) {
      out.gone_to = record_of(gone_key(user)).acked.floor();
    } else {
      const std::lock_guard lock(mutex_);
      out.gone_to = gone_to_[shard_of(user, shards_)];
    }
    done(std::move(out));
  });
}

std::vector<message_ptr> memory_store::older_than(unix_ms before) const {
  std::vector<message_ptr> old;
  if (shared_) {
    old = shared_->older_than(before);
  } else {
    const std::lock_guard lock(mutex_);
    for (const auto& [user, messages] : messages_)
      for (const auto& [seq, x] : messages)
        if (x->appended < before) old.push_back(x);
  }
  return old;
}

/// All in one step.
reaped memory_store::find_expired(const reap_step& step) const {
  const bool named = step.what == reap_kind::expired_named;
  reaped out;
  for (const auto& x : older_than(named ? unix_ms{INT64_MAX} : step.before)) {
    const auto expires = x->what->expires;
    if (named ? expires.value == 0 || expires >= step.before : expires > step.now) continue;
    const auto owe = owing(*x);
    out.kept += owe.empty() ? 0 : 1;
    for (const auto& box : owe) {
      auto found = std::find_if(out.expired.begin(), out.expired.end(), [&](const overdue& y) { return y.user == box; });
      if (found == out.expired.end()) found = out.expired.insert(found, {box, x->seq, x->seq});
      found->first = std::min(found->first, x->seq);
      found->last = std::max(found->last, x->seq);
    }
  }
  return out;
}

reaped memory_store::reap_dead_letters(const reap_step& step) {
  const std::lock_guard lock(mutex_);
  reaped out;
  out.removed = std::erase_if(dead_, [&](const dead_letter& x) {
    if (x.last >= step.before) return false;
    const bool stays = step.mirrored_only && !mirrored_.contains({x.id, x.requeue});
    out.kept += stays ? 1 : 0;
    return !stays;
  });
  return out;
}

/// In the order of seqs; a step goes on behind the seq that is named.
reaped memory_store::reap_some(const reap_step& step) {
  if (step.what == reap_kind::dead_letters) return reap_dead_letters(step);
  if (step.what == reap_kind::devices) return forget_devices(step);
  if (step.what != reap_kind::messages) return find_expired(step);
  auto old = older_than(step.before);
  std::sort(old.begin(), old.end(), [](const auto& a, const auto& b) { return std::pair(a->seq, a->to) < std::pair(b->seq, b->to); });
  auto at = old.begin();
  if (!step.from.empty()) at = std::find_if(old.begin(), old.end(), [&](const auto& x) { return x->seq.value > std::stoull(step.from); });
  reaped out;
  for (std::size_t looked_at = 0; at != old.end(); ++at) {
    // All of one seq at once, so that the seq says where to go on.
    if (looked_at >= step.limit && (*at)->seq != (*std::prev(at))->seq) {
      out.next = std::to_string((*std::prev(at))->seq.value);
      break;
    }
    ++looked_at;
    const auto& x = **at;
    const auto shard = shard_of(x.to, shards_);
    const bool may_be_read_again = x.seq.offset() >= positions()[static_cast<std::uint32_t>(shard)].next_offset;
    if (may_be_read_again || !owing(x).empty()) {
      ++out.kept;
      continue;
    }
    ++out.removed;
    if (shared_) shared_->forget(x);
    const std::lock_guard lock(mutex_);
    gone_to_[shard] = std::max(gone_to_[shard], x.seq);
    if (x.to.is_channel()) {
      auto& mark = cursors_[gone_key(x.to)];
      mark = {gone_key(x.to), cursor(std::max(mark.acked.floor(), x.seq), {}), {}, {}, x.seq.value};
    }
    if (!shared_) messages_[x.to].erase(x.seq);
  }
  return out;
}

void memory_store::reap(reap_step step, store_done<reaped> done) {
  ask([this, step = std::move(step), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    done(reap_some(step));
  });
}

void memory_store::read(address user, sequence after, std::size_t limit, store_done<stored_page> done) {
  read_later([this, user = std::move(user), after, limit, done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    auto page = page_of(user, after, limit);
    if (user.is_channel()) page.gone_to = record_of(gone_key(user)).acked.floor();
    done(std::move(page));
  });
}

void memory_store::dead_letters(dead_letter_query query, store_done<std::vector<dead_letter>> done) {
  read_later([this, query = std::move(query), done = std::move(done)](const std::optional<failure>& why) {
    if (why) return done(*why);
    const auto all = dead();
    auto from = all.begin();
    if (!query.after.empty()) {
      from = std::find_if(all.begin(), all.end(), [&](const dead_letter& x) { return x.id == query.after; });
      from = from == all.end() ? from : std::next(from);
    }
    std::vector<dead_letter> page;
    std::size_t bytes = 0;
    for (; from != all.end() && page.size() < query.limit && bytes < query.bytes_max; ++from) {
      if (!query.id.empty() && from->id != query.id) continue;
      if (!query.address.empty() && from->to.text() != query.address) continue;
      if (!query.topic.empty() && from->topic != query.topic) continue;
      if (query.reason && from->reason != *query.reason) continue;
      if ((query.since && from->last < *query.since) || (query.until && from->last >= *query.until)) continue;
      if (from->requeued && !query.requeued_too) continue;
      if (query.unmirrored && is_mirrored(*from)) continue;
      bytes += memory_of(*from);
      page.push_back(*from);
    }
    done(std::move(page));
  });
}

void memory_store::stop_reading() { reads_stopped_ = true; }

void memory_store::stop() {
  while (run()) {}
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

}  // namespace doorstep::test
