// SPDX-License-Identifier: Apache-2.0
#include "net/admin_client.hpp"

#include "net/http_client.hpp"

#include <boost/url/encode.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>
#include <boost/url/url_view.hpp>

#include <atomic>

namespace doorstep {

std::string url_encoded(const std::string& text) { return boost::urls::encode(text, boost::urls::unreserved_chars); }

result<admin_answer> ask_server(const server_address& where, const std::string& target, const std::string& body) {
  const auto url = boost::urls::parse_uri(where.url);
  if (!url || (url->scheme() != "http" && url->scheme() != "https") || url->host().empty() || url->has_query() ||
      (!url->path().empty() && url->path() != "/"))
    return failure{ec::malformed, "write http://host:port or https://host:port of the internal address", "--url"};
  fetch_request what{where.url.substr(0, where.url.find_last_not_of('/') + 1) + target};
  if (!body.empty()) what.body = body;
  what.authorization = "Bearer " + where.api_key;
  what.timeout = milliseconds{10'000};
  what.bytes_max = std::size_t{256} * 1024 * 1024;
  what.ca_file = where.ca_file;
  what.certificate = where.certificate;
  what.certificate_key = where.certificate_key;
  const std::atomic<bool> never{false};
  auto answer = fetch(what, never);
  if (!answer) return failure{ec::unavailable, where.url + ": " + answer.error().detail, "--url"};
  return admin_answer{answer->status, std::move(answer->body)};
}

}  // namespace doorstep
