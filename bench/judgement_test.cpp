// SPDX-License-Identifier: Apache-2.0
// The load generator judges others, so its own judgement is tested: the ledger, the histogram, and frames both ways.
#include "bench/crowd_ledger.hpp"
#include "bench/statistics.hpp"
#include "bench/websocket.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

TEST(ledger, counts_a_message_that_never_came_as_lost) {
  bench::ledger book(2);
  EXPECT_TRUE(book.delivered(0, 1, false));
  EXPECT_TRUE(book.delivered(0, 3, false));
  EXPECT_EQ(book.lost({3, 2}), 3U);
  EXPECT_EQ(book.first, 2U);
}

TEST(ledger, tells_a_flagged_repeat_from_one_without_the_flag) {
  bench::ledger book(1);
  book.delivered(0, 1, false);
  EXPECT_FALSE(book.delivered(0, 1, true));
  EXPECT_FALSE(book.delivered(0, 1, false));
  EXPECT_EQ(book.repeated_flagged, 1U);
  EXPECT_EQ(book.repeated_unflagged, 1U);
  EXPECT_EQ(book.lost({1}), 0U);
}

TEST(ledger, sees_a_first_delivery_out_of_order_once_and_a_repeat_never) {
  bench::ledger book(1);
  for (const std::uint32_t number : {1U, 3U, 2U, 4U, 3U}) book.delivered(0, number, false);
  EXPECT_EQ(book.reordered, 1U);
  EXPECT_EQ(book.repeated_unflagged, 1U);
}

class crowd_ledger : public testing::Test {
protected:
  /// To user 0 one, to role:crowd one, to all two. User 0 has the role, user 1 has not.
  const std::vector<std::uint32_t> sent_{1, 0, 1, 2};
  bench::crowd_ledger book_{2};

  void everything() {
    book_.delivered(0, "user:b0", 1, 5, false);
    book_.delivered(0, "role:crowd", 1, 7, false);
    for (const std::size_t user : {0U, 1U}) {
      book_.delivered(user, "all", 1, 8, false);
      book_.delivered(user, "all", 2, 9, false);
    }
  }
  void receipts() {
    book_.receipted(0, bench::crowd_ledger::mailbox, 5);
    book_.receipted(0, bench::crowd_ledger::role, 7);
    for (const std::size_t user : {0U, 1U}) book_.receipted(user, bench::crowd_ledger::all, 9);
  }
  std::vector<std::uint64_t> faults() const {
    return {book_.lost(sent_), book_.repeated_unflagged(), book_.reordered(), book_.unexpected, book_.without_receipt()};
  }
  static std::vector<std::uint64_t> only(std::size_t which, std::uint64_t count = 1) {
    std::vector<std::uint64_t> out(5);
    out[which] = count;
    return out;
  }
};

TEST_F(crowd_ledger, finds_nothing_in_a_run_where_everybody_got_and_acked_what_the_rules_owe) {
  everything();
  book_.delivered(0, "all", 2, 9, true);
  receipts();
  book_.greeted(0, bench::crowd_ledger::all, 9);
  EXPECT_EQ(faults(), only(0, 0));
  EXPECT_EQ(book_.owed(sent_), 6U);
  EXPECT_EQ(book_.first(), 6U);
  EXPECT_EQ(book_.repeated_flagged(), 1U);
}

TEST_F(crowd_ledger, counts_what_one_reader_of_a_channel_never_got_as_lost) {
  book_.delivered(0, "user:b0", 1, 5, false);
  book_.delivered(0, "role:crowd", 1, 7, false);
  for (const std::uint32_t number : {1U, 2U}) book_.delivered(0, "all", number, 7 + number, false);
  book_.delivered(1, "all", 2, 9, false);
  receipts();
  EXPECT_EQ(faults(), only(0));
}

TEST_F(crowd_ledger, tells_a_repeat_without_the_flag_from_the_same_message_at_another_reader) {
  everything();
  receipts();
  book_.delivered(1, "all", 2, 9, false);
  EXPECT_EQ(faults(), only(1));
}

TEST_F(crowd_ledger, sees_a_first_delivery_below_one_that_came_before_by_number_or_by_seq) {
  book_.delivered(0, "all", 2, 9, false);
  book_.delivered(0, "all", 1, 10, false);
  EXPECT_EQ(book_.reordered(), 1U) << "the number";
  book_.delivered(1, "all", 1, 10, false);
  book_.delivered(1, "all", 2, 9, false);
  EXPECT_EQ(book_.reordered(), 2U) << "the seq";
}

TEST_F(crowd_ledger, takes_nothing_that_the_user_may_not_read_nor_a_message_under_two_seqs) {
  everything();
  receipts();
  EXPECT_FALSE(book_.delivered(1, "role:crowd", 1, 7, false));
  EXPECT_FALSE(book_.delivered(1, "user:b0", 1, 5, false));
  EXPECT_FALSE(book_.delivered(1, "role:other", 1, 7, false));
  EXPECT_EQ(faults(), only(3, 3));
  book_.delivered(0, "all", 1, 11, true);
  EXPECT_EQ(book_.unexpected, 4U);
}

TEST_F(crowd_ledger, misses_the_receipt_of_what_came_and_a_floor_that_went_down) {
  everything();
  EXPECT_EQ(faults(), only(4, 4));
  receipts();
  book_.greeted(0, bench::crowd_ledger::all, 8);
  EXPECT_EQ(faults(), only(3));
}

TEST_F(crowd_ledger, does_not_take_a_repeat_of_what_its_connection_was_greeted_with_as_acked) {
  everything();
  receipts();
  book_.greeted(0, bench::crowd_ledger::all, 9);
  book_.delivered(0, "all", 2, 9, true);
  EXPECT_EQ(faults(), only(3));
}

TEST(histogram, is_within_two_per_cent_at_every_size) {
  for (std::int64_t x = 1; x < 100'000'000; x = x * 3 / 2 + 1) {
    bench::histogram one;
    one.add(x);
    EXPECT_NEAR(one.at(0.5), static_cast<double>(x), static_cast<double>(x) * 0.02) << x;
  }
}

TEST(histogram, puts_the_percentiles_where_they_are) {
  bench::histogram many;
  for (int i = 1; i <= 1000; ++i) many.add(i * 100);
  EXPECT_NEAR(many.at(0.5), 50'000, 1'000);
  EXPECT_NEAR(many.at(0.99), 99'000, 2'000);
  EXPECT_EQ(many.largest(), 100'000);
}

TEST(frames, come_back_as_they_were_sent_at_every_length_of_the_header) {
  for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U}) {
    const std::string payload(size, 'p');
    std::string bytes;
    bench::append_client_frame(bytes, bench::opcode::text, payload, 0x01020304);
    for (const std::size_t missing : {std::size_t{1}, bytes.size() - 1}) {
      std::string part = bytes.substr(0, bytes.size() - missing);
      EXPECT_FALSE(bench::parse_frame(part.data(), part.size()));
    }
    const auto masked = bench::parse_frame(bytes.data(), bytes.size());
    ASSERT_TRUE(masked);
    EXPECT_EQ(masked->payload, payload);
    EXPECT_EQ(masked->size, bytes.size());

    std::array<char, bench::server_header_bytes_max> header;
    const char* begin = bench::write_server_header(header.data() + header.size(), bench::opcode::text, size);
    std::string plain = std::string(begin, static_cast<std::size_t>(header.data() + header.size() - begin)) + payload;
    const auto unmasked = bench::parse_frame(plain.data(), plain.size());
    ASSERT_TRUE(unmasked);
    EXPECT_EQ(unmasked->payload, payload);
  }
}

TEST(handshake, has_the_accept_key_of_the_specification) { EXPECT_EQ(bench::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); }

TEST(handshake, finds_headers_whatever_their_case) {
  constexpr std::string_view head = "GET / HTTP/1.1\r\nHost: a\r\nSEC-WebSocket-Key:  k \r\n";
  EXPECT_EQ(bench::header_value(head, "sec-websocket-key"), "k");
  EXPECT_EQ(bench::header_value(head, "authorization"), "");
}

TEST(tokens, name_their_user) { EXPECT_EQ(bench::user_of_token(bench::make_token("secret", "b17", 1)), "b17"); }

}  // namespace
