// SPDX-License-Identifier: Apache-2.0
// What the HTTP paths answer: publishing, health, metrics and looks on the internal port; the demo page on the public one.
// From a request to an answer, no sockets: http_session carries both.
#pragma once

#include "runtime/error.hpp"
#include "runtime/event.hpp"

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace doorstep {

struct site;
using tcp_socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
using http_request = boost::beast::http::request<boost::beast::http::string_body>;

struct http_answer {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<header> headers;
};
using http_reply = std::function<void(http_answer)>;

/// application/problem+json (RFC 9457) with the failure's code and field; Retry-After where the same may work later.
http_answer problem_answer(const failure& why);
http_answer problem_answer(unsigned status, const failure& why);

struct connection_facts;

/// A refusal that needs no body to be read: no valid key, or one that does not allow this.
std::optional<http_answer> refuse_internal_early(const site& at, const http_request& head, const connection_facts& facts);
/// Answers once, from any thread, possibly before it returns.
void answer_internal(site& at, const http_request& request, const connection_facts& facts, http_reply done);
/// Everything on the public port but the upgrade of /v1/ws.
http_answer answer_public(site& at, const http_request& request);

}  // namespace doorstep
