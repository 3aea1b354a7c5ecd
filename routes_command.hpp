// SPDX-License-Identifier: Apache-2.0
// doorstep routes test | lint: rules tried on an event, and rules looked at for what can never match. No server is asked.
#pragma once

#include "runtime/config.hpp"

#include <string>
#include <vector>

namespace doorstep {

struct routes_test_request {
  std::string record_file;           ///< "-": standard input
  std::string topic;                 ///< empty: as if it came over HTTP
  std::string key;                   ///< of the record
  std::vector<std::string> headers;  ///< name=value
};

/// What `doorstep routes test` prints. The file holds a CloudEvent in JSON, or, for the topic of a source with format "json", a plain value.
result<std::string> try_routes(const config& options, const routes_test_request& what);
/// What `doorstep routes lint` prints: a line a finding; empty when there is none.
std::string lint_text(const config& options, const std::string& file_name);

}  // namespace doorstep
