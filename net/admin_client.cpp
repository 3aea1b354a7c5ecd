// SPDX-License-Identifier: Apache-2.0
#include "net/admin_client.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>
#include <boost/url/url_view.hpp>

#include <chrono>

namespace doorstep {

namespace http = boost::beast::http;
using tcp = boost::asio::ip::tcp;

std::string url_encoded(const std::string& text) { return boost::urls::encode(text, boost::urls::unreserved_chars); }

result<admin_answer> ask_server(const std::string& url, const std::string& api_key, const std::string& target, const std::string& body) {
  const auto where = boost::urls::parse_uri(url);
  if (!where || where->scheme() != "http" || where->host().empty() || (!where->path().empty() && where->path() != "/"))
    return failure{ec::malformed, "write http://host:port of the internal address", "--url"};
  const std::string host = where->host_address(), port = where->has_port() ? std::string(where->port()) : "80";
  http::request<http::string_body> request{body.empty() ? http::verb::get : http::verb::post, target, 11};
  request.set(http::field::host, host + ":" + port);
  request.set(http::field::authorization, "Bearer " + api_key);
  request.set(http::field::connection, "close");
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();

  boost::asio::io_context io;
  boost::beast::tcp_stream stream(io);
  boost::beast::flat_buffer buffer;
  http::response_parser<http::string_body> response;
  response.body_limit(256 * 1024 * 1024);
  boost::system::error_code error;
  const auto found = tcp::resolver(io).resolve(host, port, error);
  if (error) return failure{ec::unavailable, host + ": " + error.message(), "--url"};
  // Only asynchronous operations know the deadline.
  stream.expires_after(std::chrono::seconds{10});
  stream.async_connect(found, [&](boost::system::error_code why, const tcp::endpoint&) {
    if (error = why; error) return;
    http::async_write(stream, request, [&](boost::system::error_code wrote, std::size_t) {
      if (error = wrote; error) return;
      http::async_read(stream, buffer, response, [&](boost::system::error_code read, std::size_t) { error = read; });
    });
  });
  io.run();
  if (error) return failure{ec::unavailable, url + ": " + error.message(), "--url"};
  return admin_answer{response.get().result_int(), response.get().body()};
}

}  // namespace doorstep
