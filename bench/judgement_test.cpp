// SPDX-License-Identifier: Apache-2.0
// The load generator judges others, so its own judgement is tested: the ledger, the histogram, and frames both ways.
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
