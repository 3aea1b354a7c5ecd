// SPDX-License-Identifier: Apache-2.0
// What a batch of records, or a request, becomes: entries for the log, made step by step, so that one event for ten thousand users holds up nobody else.
// No actors: the ROUTER asks for a step and appends it. Runs on the intake lane.
#pragma once

#include "actors/messages.hpp"
#include "actors/services.hpp"
#include "runtime/routes.hpp"

#include <cstddef>
#include <vector>

namespace doorstep {

/// The rules as they stand (null: none, events name their recipients themselves) and the one who applies them.
struct rule_book {
  route_table_ptr table;
  route_evaluator evaluator{};
  std::vector<metrics::route_counters> numbers{};  ///< one a rule

  void use(route_table_ptr next, metrics& counts);
  void count(const route_outcome& x) const;
};

/// Who gets one event, and how far that has become entries.
class pending_deliveries {
public:
  void start(route_outcome&& what, origin from);
  void start(route_variant&& what, std::vector<address>&& to, origin from);
  std::size_t left() const { return to_.size() - at_; }
  /// @param bytes_most of the events in them, about; one entry is made in any case.
  void make_entries(std::size_t most, std::size_t bytes_most, unix_ms now, std::vector<log_entry>& out);

private:
  std::vector<route_delivery> to_;
  std::vector<route_variant> variants_;
  origin from_;
  std::size_t at_ = 0;
};

class fan_out {
public:
  virtual ~fan_out() = default;
  /// Adds entries until there are `most`. @returns false once nothing is left.
  virtual bool step(rule_book& rules, std::size_t most, std::vector<log_entry>& out) = 0;
};

/// Of a batch. A record is looked at when its turn comes, by the rules of that moment.
class batch_fan_out final : public fan_out {
public:
  batch_fan_out(route_records&& batch, const services& parts);
  bool step(rule_book& rules, std::size_t most, std::vector<log_entry>& out) override;
  const route_records& batch() const { return batch_; }

private:
  void take(const source_record& record, rule_book& rules, unix_ms now, std::vector<log_entry>& out);

  route_records batch_;
  const services* parts_;
  const source_config* source_;
  std::size_t next_ = 0;
  pending_deliveries pending_;
  std::size_t routed_ = 0, malformed_ = 0, nobody_ = 0, unmatched_ = 0;  ///< of this step, for the counters
};

/// Of a request: its events have been looked at before it was taken, all or none.
class request_fan_out final : public fan_out {
public:
  /// @returns the failure of the first event that cannot be taken, its place in the field.
  static result<request_fan_out> open(const publish_events& x, rule_book& rules, const services& parts);
  bool step(rule_book& rules, std::size_t most, std::vector<log_entry>& out) override;
  std::size_t entries() const { return entries_; }
  /// Of the verdicts of all entries, in their order.
  std::vector<publish_outcome> outcomes(const std::vector<appended>& verdicts) const;

private:
  struct item {
    std::string id;
    std::size_t count = 0;
    bool unmatched = false, dead = false;
    pending_deliveries pending{};
  };
  std::size_t step_bytes_ = 0;
  std::vector<item> items_;
  std::size_t next_ = 0, entries_ = 0;
};

}  // namespace doorstep
